"""Mistakes are told before anything is computed, all at once, each with its remedy."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from af3_core.model.checkpoint import check_checkpoint
from tests.workflow.campaigns import DATABASES, ROOT, job, make_campaign, protein
from workflow import preflight
from workflow.machine import minutes_of
from workflow.planning.memory import holds
from workflow.preflight import Problem, find_problems
from workflow.settings import check_settings

INPUTS = {"good.json": job("good", protein("MKVLAAGG"))}


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """One with databases of its own."""
    shutil.copytree(DATABASES.parent, tmp_path / "databases")
    table = str(tmp_path / "databases/databases.tsv")
    return make_campaign(tmp_path / "campaign", INPUTS, search={"databases": table})


def problems(
    folder: Path, profile: Path | None = None, **blocks: dict
) -> list[Problem]:
    """What is found wrong with the campaign once these settings are changed."""
    raw = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    for block, keys in blocks.items():
        raw[block] = {**raw.get(block, {}), **keys} if isinstance(keys, dict) else keys
    return find_problems(check_settings(raw, source="config.yaml"), folder, profile)


def told(found: list[Problem]) -> str:
    return "\n".join(map(str, found))


def test_a_good_campaign_has_no_problem(campaign: Path) -> None:
    assert problems(campaign) == []


def test_weights_that_are_not_there(campaign: Path) -> None:
    (found,) = problems(campaign, model={"checkpoint": "af3.bin.zst"})
    assert found.stops
    assert "af3.bin.zst: no such file" in str(found)


def test_a_folder_without_weights_is_no_checkpoint(campaign: Path) -> None:
    (campaign / "empty").mkdir()
    (found,) = problems(campaign, model={"checkpoint": "empty"})
    assert "no checkpoint" in str(found)


def test_weights_cut_short(campaign: Path) -> None:
    file = campaign / "toy.bin.zst"
    file.write_bytes(file.read_bytes()[:-1000])
    (found,) = problems(campaign)
    assert "file ends after" in str(found)


def test_a_database_that_is_gone_and_one_that_has_changed(campaign: Path) -> None:
    folder = campaign.parent / "databases"
    (folder / "uniref90.fasta").unlink()
    with (folder / "mgnify.fasta").open("a") as file:
        file.write(">new\nMKV\n")
    found = problems(campaign)
    assert [problem.where for problem in found] == [
        "database uniref90",
        "database mgnify",
    ]


def test_no_table_of_databases(campaign: Path) -> None:
    (found,) = problems(campaign, search={"databases": "nowhere.tsv"})
    assert "nowhere.tsv" in str(found)


def test_inputs_and_references_that_are_not_there(campaign: Path) -> None:
    (campaign / "none").mkdir()
    found = problems(
        campaign, inputs=["gone.json", "none"], score={"references": "known"}
    )
    assert "gone.json is not there" in told(found)
    assert "the folder none is empty" in told(found)
    assert "known is no folder" in told(found)


def test_all_mistakes_are_told_at_once(campaign: Path) -> None:
    found = problems(
        campaign,
        inputs=["gone.json"],
        model={"checkpoint": "gone.bin"},
        search={"databases": "gone.tsv"},
        score={"references": "gone"},
    )
    assert len(found) == 4


def test_what_is_the_demos_in_a_campaign_of_ones_own_is_a_warning(
    campaign: Path,
) -> None:
    demo = str(ROOT / "config/demo/model/trained.bin.zst")
    found = problems(campaign, model={"checkpoint": demo})
    assert [problem.stops for problem in found] == [False]
    assert "is the demo's" in told(found)


def test_a_campaign_of_the_demo_alone_is_not_warned(campaign: Path) -> None:
    settings = yaml.safe_load((ROOT / "config/config.yaml").read_text("utf-8"))
    assert find_problems(check_settings(settings, source="config"), ROOT) == []


def test_a_profile_without_slurm_here_is_told(
    campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = problems(campaign, ROOT / "config/profiles/slurm")
    assert "sinfo is not there" in told(found)


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [
        ("30:00", 30),
        ("1:00:00", 60),
        ("2-00:00:00", 2880),
        ("1-12:30:00", 2190),
        ("infinite", float("inf")),
    ],
)
def test_slurm_writes_time_limits_so(limit: str, minutes: float) -> None:
    """As `sinfo --format=%l` does: days-hours:minutes:seconds."""
    assert minutes_of(limit) == minutes


def on_a_machine(
    campaign: Path, monkeypatch: pytest.MonkeyPatch, *gpus: str, dtype: str = "bfloat16"
) -> list[Problem]:
    """What is found where `nvidia-smi` lists these, and the network is a large one."""
    network = check_checkpoint(campaign / "toy.bin.zst")
    monkeypatch.setattr(preflight, "ModelConfig", lambda: network)
    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    program = campaign / "bin/nvidia-smi"
    program.parent.mkdir()
    lines = "".join(f"echo '{line}'\n" for line in gpus)
    program.write_text(f"#!/bin/sh\n{lines or 'exit 9'}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return problems(campaign, predict={"dtype": dtype})


A100 = "0, GPU-5c2f, NVIDIA A100-SXM4-40GB, 40960, 550.54.15, 8.0"
"""As `nvidia-smi --query-gpu=… --format=csv,noheader,nounits` writes it."""


def test_a_large_network_on_a_machine_without_a_gpu_is_a_warning(
    campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = on_a_machine(campaign, monkeypatch)
    assert not found.stops
    assert "no GPU here" in str(found)


def test_a_gpu_without_cudas_libraries_is_told(
    campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_OLDEST_DRIVERS", {"no-such-plugin": 0})
    (found,) = on_a_machine(campaign, monkeypatch, A100)
    assert found.stops
    assert "GPU NVIDIA A100-SXM4-40GB: CUDA's libraries are not installed" in str(found)


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        (A100.replace("550.54.15", "470.82.01"), "driver 470.82.01 is older than 525"),
        ("0, GPU-7, Tesla V100, 32768, 550.54.15, 7.0", "7.0 has no bfloat16"),
        (A100, ""),
    ],
)
def test_a_gpu_that_cannot_compute_it_is_told(
    campaign: Path, monkeypatch: pytest.MonkeyPatch, gpu: str, said: str
) -> None:
    monkeypatch.setattr(preflight, "_cuda_plugin", lambda: "jax-cuda12-plugin")
    assert said in told(on_a_machine(campaign, monkeypatch, gpu))


def test_the_smallest_gpu_of_a_machine_has_to_hold_the_largest_job(
    campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_cuda_plugin", lambda: "jax-cuda12-plugin")
    for name in ("one", "two"):
        text = job(name, protein("MKVA" * 1000))
        (campaign / f"inputs/{name}.json").write_text(text)
    small = "1, GPU-8, NVIDIA A2, 16384, 550.54.15, 8.6"
    (found,) = on_a_machine(campaign, monkeypatch, A100, small)
    assert not found.stops
    assert "2 jobs may not fit on the GPU: 4000 tokens take about" in found.said
    assert "NVIDIA A2 has 17 GB" in found.said
    least = int(re.search(r"write (\d+)", found.remedy)[1])
    assert holds(17.18, least) and not holds(17.18, least + 16)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert problems(campaign, predict={"dtype": "bfloat16"}) == []


def test_a_filter_on_a_gpu_that_is_not_here_is_told(
    campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (found,) = problems(campaign, search={"filter": "triton"})
    assert "search.filter: triton, and no GPU here" in str(found) and not found.stops
    assert problems(campaign, search={"filter": "cpu"}) == []


def test_a_profile_whose_filter_asks_for_no_gpu_is_told(
    campaign: Path, tmp_path: Path
) -> None:
    profile = tmp_path / "site"
    profile.mkdir()
    came = (ROOT / "config/profiles/slurm/config.yaml").read_text("utf-8")
    said = "search.filter asks for a GPU"
    for text, is_told in ((came, False), (came.replace("  filter:", "  other:"), True)):
        (profile / "config.yaml").write_text(text)
        found = problems(campaign, profile, search={"filter": "triton"})
        assert (said in told(found)) is is_told


def test_refused_inputs_are_told_and_stop_nothing(campaign: Path) -> None:
    (campaign / "inputs/bad.json").write_text("{")
    settings = check_settings(
        yaml.safe_load((campaign / "config.yaml").read_text("utf-8")), source="c"
    )
    assert find_problems(settings, campaign) == []
    (found,) = find_problems(settings, campaign, with_inputs=True)
    assert not found.stops and "bad.json" in found.where
    (campaign / "toy.bin.zst").unlink()
    weights, bad = find_problems(settings, campaign, with_inputs=True)
    assert weights.stops and bad == found, "whatever else is wrong"
