"""A campaign on a real Slurm is looked at while its jobs run, and gone on with."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slurm import node as slurm
from tests.slurm.campaign import NUM_ITEMS, ON_SLURM, make_clone, running, wait_for
from tests.slurm.node import Node, one_node_cluster
from tests.workflow.campaigns import ENVIRONMENT, ROOT
from workflow.campaign import Campaign
from workflow.status import Status, read_status

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(slurm.missing() is not None, reason=str(slurm.missing())),
]

EXPORT = "workflow.export"


@dataclass(frozen=True)
class Looked:
    """What was seen when the jobs were scored, while they were exported."""

    status: Status
    shown: dict[str, str]
    """By command."""


def foldmill(
    folder: Path, *arguments: str, status: int = 0, timeout: float = 600
) -> str:
    """What the command says in a folder, from a terminal."""
    environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT), "COLUMNS": "110"}
    environment.pop("SLURM_JOB_ID", None)
    done = subprocess.run(
        [sys.executable, "-m", "workflow.cli", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node, two partitions, one GPU."""
    with one_node_cluster(tmp_path_factory.mktemp("slurm")) as node:
        yield node


@pytest.fixture(scope="module")
def looked(
    cluster: Node, compiled: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Looked]:
    """A campaign that was looked at between its scores and its end."""
    clone = make_clone(tmp_path_factory.mktemp("live") / "foldmill", compiled)
    with running(clone, ON_SLURM) as process:
        wait_for(lambda: cluster.is_running(EXPORT), "scores", process)
        cluster.hold_up(EXPORT)
        seen = read_status(Campaign(clone))
        query = "SELECT DISTINCT name FROM scores"
        commands = {"status": (), "results": (), "report": (), "query": (query,)}
        shown = {name: foldmill(clone, name, *more) for name, more in commands.items()}
        cluster.let_go_on(EXPORT)
        assert process.wait(timeout=1800) == 0
    assert seen is not None
    return clone, Looked(seen, shown)


def test_status_counts_items_and_jobs_of_the_cluster(
    looked: tuple[Path, Looked],
) -> None:
    _, seen = looked
    stages = seen.status.stages
    assert stages["predict"].done == stages["predict"].total == NUM_ITEMS
    assert (stages["export"].done, stages["export"].running) == (0, 1)
    assert not seen.status.is_over
    for word in ("predicting structures", "running", "queued", "Device time"):
        assert word in seen.shown["status"]


def test_results_questions_and_report_have_what_is_finished(
    looked: tuple[Path, Looked],
) -> None:
    clone, seen = looked
    for name in ("trypsin_inhibitor", "lac_repressor_dna", "trna_phe"):
        assert name in seen.shown["results"] and name in seen.shown["query"]
    assert "So far: 3 of 3 jobs have results." in seen.shown["results"]
    page = clone / "results/report_so_far.html"
    assert "So far: 3 of 3 jobs" in page.read_text("utf-8")


def test_the_command_of_the_documentation_goes_on_with_the_campaign(
    looked: tuple[Path, Looked],
) -> None:
    clone, _ = looked
    export = next((clone / "results/export").glob("[!.]*.parquet"))
    export.unlink()
    shown = foldmill(clone, "run", "-n", "--profile", "slurm")
    (line,) = (text for text in shown.splitlines() if " export " in f" {text} ")
    assert line.split()[1:3] == ["1", "cpu"]
    assert not export.is_file()
    # foldmill run --directory /scratch/my_campaign --profile slurm
    said = foldmill(clone, "run", "--directory", str(clone), "--profile", "slurm")
    assert "All 3 jobs have results." in said
    assert export.is_file()


def test_what_the_cluster_does_not_have_is_told_before_anything_is_submitted(
    cluster: Node, looked: tuple[Path, Looked]
) -> None:
    clone, _ = looked
    before = cluster.jobs()
    text = (clone / "slurm/config.yaml").read_text("utf-8")
    for old, new in (
        ("slurm_partition: gpu", "slurm_partition: a100"),
        ('gres: "gpu:1"', 'gres: "gpu:h200:1"'),
        (f"max_mem_mb: {slurm.MEMORY_MB}", "max_mem_mb: 9000000"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    wrong = clone / "wrong/config.yaml"
    wrong.parent.mkdir()
    wrong.write_text(text.replace("slurm_partition: cpu", "slurm_partition: gpu"))
    said = foldmill(clone, "run", "--profile", "wrong", status=2)
    assert "partition 'a100' is none of this cluster's; write one of cpu, gpu" in said
    assert "max_mem_mb 9000000 is more than any node of gpu has" in said
    wrong.write_text(text.replace("slurm_partition: a100", "slurm_partition: gpu"))
    said = foldmill(clone, "run", "--profile", "wrong", status=2)
    assert "gpu has no gpu:h200, but gpu:1; name a GPU that it has" in said
    assert cluster.jobs() == before
