"""The profiles of clusters, as Snakemake takes them in a dry run."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow.campaigns import NEVER_RUN, ROOT, make_campaign
from workflow.engine.ladder import RETRIES

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


def test_no_request_exceeds_the_profiles_limit(folder: Path, tmp_path: Path) -> None:
    profile = yaml.safe_load((ROOT / "slurm/config.yaml").read_text(encoding="utf-8"))
    profile["set-resources"]["predict"] |= {"max_mem_mb": 5000, "max_runtime": 7}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    text = dry_run(folder, tmp_path).split("\nrule predict:")[1].split("\nrule ")[0]
    assert " mem_mb=5000," in text and " runtime=7," in text
