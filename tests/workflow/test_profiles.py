"""The profiles of clusters, as Snakemake takes them in a dry run."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.workflow.campaigns import NEVER_RUN, ROOT, job, make_campaign, protein
from workflow.batches import Batch, Plan
from workflow.campaign import Campaign
from workflow.dag import Batches
from workflow.engine.ladder import RETRIES
from workflow.resources import Card, Limits
from workflow.survey import Survey

CLUSTERS = {"slurm": "slurm_partition=gpu", "lsf": "lsf_queue=gpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign of one job, never planned, that wants many threads for searching."""
    inputs = {"one.fasta": ">villin\nVNSIDEDDKAVFGQTRRAFSNNPLWKQQNLKKEKGLF\n"}
    campaign = make_campaign(
        tmp_path_factory.mktemp("profiles") / "c", inputs, network=NEVER_RUN
    )
    config = campaign / "config.yaml"
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["search"]["threads"] = 300
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return campaign


@pytest.fixture(scope="module", params=list(CLUSTERS))
def jobs(request: pytest.FixtureRequest, folder: Path) -> tuple[str, dict[str, str]]:
    """A cluster, and what Snakemake would run on it: a text for every rule."""
    output = dry_run(folder, ROOT / "config/profiles" / request.param)
    texts = output.split("\nrule ")[1:]
    return request.param, {text.split(":")[0]: text for text in texts}


def dry_run(folder: Path, profile: Path) -> str:
    """What Snakemake says it would do."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "-n", "--profile", str(profile)),
            *("--configfile", str(folder / "config.yaml")),
            *("--directory", str(folder), "--snakefile", str(ROOT / "Snakefile")),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout + result.stderr


def test_only_predictions_wait_for_gpus(jobs: tuple[str, dict[str, str]]) -> None:
    cluster, texts = jobs
    assert [rule for rule in texts if CLUSTERS[cluster] in texts[rule]] == ["predict"]


def test_a_cluster_has_more_devices_than_this_machine(
    jobs: tuple[str, dict[str, str]],
) -> None:
    assert "devices=0" in jobs[1]["predict"]


def test_threads_are_not_those_of_this_machine(
    jobs: tuple[str, dict[str, str]],
) -> None:
    assert "threads: 300\n" in jobs[1]["search"]


@pytest.mark.parametrize("profile", ["default", *CLUSTERS])
def test_a_batch_is_submitted_as_often_as_its_remedies_count_on(profile: str) -> None:
    path = ROOT / "config/profiles" / profile / "config.yaml"
    assert f"\nrestart-times: {RETRIES}\n" in path.read_text(encoding="utf-8")


def test_profiles_use_no_job_arrays() -> None:
    """All tasks would get what the first asks for; see docs/cluster.md."""
    for path in (ROOT / "config/profiles").glob("*/config.yaml"):
        assert not [key for key in yaml.safe_load(path.read_text()) if "array" in key]


def test_no_request_exceeds_the_profiles_limit(folder: Path, tmp_path: Path) -> None:
    profile = yaml.safe_load((ROOT / "slurm/config.yaml").read_text(encoding="utf-8"))
    profile["set-resources"]["predict"] |= {"max_mem_mb": 5000, "max_runtime": 7}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    text = dry_run(folder, tmp_path).split("\nrule predict:")[1].split("\nrule ")[0]
    assert " mem_mb=5000," in text and " runtime=7," in text


CARDS = "large gpu:h100:1 80; small gpu:rtx:1 8; middle gpu:a30:1 24"


def with_cards(folder: Path, cards: str) -> Path:
    """The profile for Slurm with these kinds of card; returns its folder."""
    profile = yaml.safe_load((ROOT / "slurm/config.yaml").read_text(encoding="utf-8"))
    of_predict = profile["set-resources"]["predict"]
    del of_predict["slurm_partition"], of_predict["gres"]
    of_predict["cards"] = cards
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(profile), encoding="utf-8")
    return folder


def test_a_job_goes_to_the_smallest_card_that_holds_it(tmp_path: Path) -> None:
    lengths = {"small": 300, "middle": 2000, "large": 4500}
    inputs = {
        f"{card}.json": job(card, protein("GA" * (length // 2)))
        for card, length in lengths.items()
    }
    folder = make_campaign(tmp_path / "c", inputs, network=NEVER_RUN)
    (tmp_path / "profile").mkdir()
    profile = with_cards(tmp_path / "profile", CARDS)
    (tmp_path / "profile/no").mkdir()
    sizes = {}
    for job_text in dry_run(folder, profile).split("\nrule predict:")[1:]:
        partition, gres, memory = (
            re.search(rf"{name}=([\w:]+)", job_text)[1]
            for name in ("slurm_partition", "gres", "mem_mb")
        )
        sizes[partition, gres] = int(memory)
    assert sorted(sizes, key=sizes.__getitem__) == [
        ("small", "gpu:rtx:1"),
        ("middle", "gpu:a30:1"),
        ("large", "gpu:h100:1"),
    ]


def test_a_later_submission_goes_to_a_larger_card_and_the_largest_at_last() -> None:
    cards = tuple(
        Card(name, f"gpu:{name}:1", gb) for name, gb in (("a", 24), ("b", 80))
    )
    plan = Plan(jobs={"x": Batch(("j.1",), bucket=256)})
    batches = Batches(Campaign(), plan, Survey(), Limits(cards=cards), "")
    where = batches.card("partition")
    wildcards = SimpleNamespace(batch="x")
    assert [where(wildcards, attempt) for attempt in (1, 2, 3)] == ["a", "b", "b"]


@pytest.mark.parametrize("cards", ["gpu", "gpu gpu:1", "gpu gpu:1 80 GB", "a b 24;"])
def test_cards_that_are_not_said_rightly_are_refused(
    cards: str, tmp_path, folder
) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        dry_run(folder, with_cards(tmp_path, cards))
    said = refused.value.stdout + refused.value.stderr
    assert "set-resources.predict.cards" in said and "PARTITION GRES GB" in said
