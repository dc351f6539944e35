"""The demo on a real Slurm cluster: two partitions, and all that goes wrong there.

`make test-slurm` starts a cluster of one node and runs the demo through `sbatch`, while
predictions are cancelled, run out of time and lose their node. The same campaign runs
without Slurm and undisturbed, to compare with.
"""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from af3_core.contracts import OUTCOMES
from tests.slurm import node as slurm
from tests.slurm.campaign import (
    NUM_ITEMS,
    ON_SLURM,
    Committed,
    committed,
    make_clone,
    running,
    wait_for,
)
from tests.slurm.node import MEMORY_MB, Node, SlurmJob, one_node_cluster
from tests.workflow.campaigns import ROOT
from tests.workflow.crashing_step import STAGE
from tests.workflow.kill_campaign import count_done, repeats_in, tables_of
from workflow.campaign import Campaign as Place
from workflow.engine.journal import Line, read_lines
from workflow.engine.ladder import RETRIES
from workflow.tables import read_rows

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(slurm.missing() is not None, reason=str(slurm.missing())),
]

PREDICT = "workflow.predict"


@dataclass
class Campaign:
    """A campaign and what was seen of it."""

    clone: Path
    status: int | None = None
    jobs: list[SlurmJob] = field(default_factory=list)
    seen: dict[str, dict[str, Committed]] = field(default_factory=dict)
    """Predictions on disk at each disturbance."""
    devices: set[str] = field(default_factory=set)
    """GPUs that a predict job saw."""

    def predict_jobs(self, state: str) -> list[SlurmJob]:
        """Predict jobs that ended so."""
        return [j for j in self.jobs if j.rule == "predict" and j.state == state]

    @property
    def journal(self) -> Path:
        """What was tried with the predictions."""
        (path,) = (self.clone / "logs/predict").glob("*.journal")
        return path

    @property
    def stops(self) -> list[Line]:
        """The items that were in flight when their job was told to end."""
        return [line for line in read_lines(self.journal) if line.event == "stopped"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node, two partitions, one GPU."""
    with one_node_cluster(tmp_path_factory.mktemp("slurm")) as node:
        yield node


@pytest.fixture(scope="module")
def overrunning(cluster: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a batch that does not end within its last job's two minutes.

    The job runs while the campaign does, and mostly sleeps.
    """
    folder = tmp_path_factory.mktemp("overrunning")
    text = OVERRUNNING.format(root=ROOT, folder=folder, python=sys.executable)
    script = folder / "job.sh"
    script.write_text(text, encoding="utf-8")
    said = cluster.run("sbatch", "--time=2", "--mem=500", "--parsable", str(script))
    (folder / "job_id").write_text(said.strip(), encoding="ascii")
    return folder


OVERRUN = "well,slow"
OVERRUNNING = f"""\
#!/bin/sh
#SBATCH --output={{folder}}/job.log
cd {{folder}}
# As the plugin does, of which every step is a nested srun.
for name in $(env | sed -n 's/^\\(SLURM_[A-Z_]*\\)=.*/\\1/p'); do
    case $name in SLURM_JOB_ID|SLURM_JOBID) ;; *) unset "$name" ;; esac
done
export PYTHONPATH={{root}}
srun -n1 --nodes=1 {{python}} -m tests.workflow.{STAGE} \\
    --batch {OVERRUN} --attempt {RETRIES + 1}
"""


@pytest.fixture(scope="module")
def disturbed(
    cluster: Node,
    overrunning: Path,
    undisturbed: Path,
    compiled: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Campaign:
    """The demo through Slurm, and all kinds of disturbance while it predicts."""
    clone = make_clone(tmp_path_factory.mktemp("disturbed") / "foldmill", compiled)
    with running(clone, ON_SLURM) as process:
        campaign = disturb(cluster, clone, process, overrunning)
        campaign.status = process.wait(timeout=1800)
    campaign.jobs = [job for job in cluster.jobs() if job.is_of_snakemake]
    return campaign


def disturb(
    cluster: Node, clone: Path, process: subprocess.Popen[bytes], overrunning: Path
) -> Campaign:
    """Cancels a predict job, runs one out of time, and takes the node from one.

    Each as soon as the job has committed an item more: the job is held up, so that it
    is still at work when it is disturbed. Says what was there then.
    """
    campaign = Campaign(clone)

    def hold_up(moment: str) -> SlurmJob:
        """The predict job at work, once it has committed an item itself."""
        count = len(committed(clone))
        wait_for(
            lambda: len(committed(clone)) > count, f"a prediction, {moment}", process
        )
        cluster.hold_up(PREDICT)
        campaign.seen[moment] = committed(clone)
        (job,) = (job for job in cluster.jobs() if job.is_predicting)
        return job

    def wait_for_its_end() -> None:
        wait_for(lambda: not cluster.is_running(PREDICT), "an end to it", process)

    job = hold_up("cancelled")
    campaign.devices = cluster.devices_of(PREDICT)
    cluster.run("scancel", job.job_id)
    wait_for_its_end()

    job = hold_up("out of time")
    cluster.run("scontrol", "update", f"JobId={job.job_id}", "EndTime=now")
    wait_for_its_end()

    hold_up("lost its node")
    # Under the other job the node is to stay: Slurm would begin that one anew.
    wait_for(lambda: has_ended(cluster, overrunning), "its time limit", process)
    cluster.lose_node()
    wait_for(lambda: "down" in cluster.node_state(), "a lost node", process)
    cluster.start_slurmd()
    return campaign


def has_ended(cluster: Node, overrunning: Path) -> bool:
    """Whether the job that runs out of time has, and in good order."""
    job_id = (overrunning / "job_id").read_text(encoding="ascii")
    state = next(job.state for job in cluster.jobs() if job.job_id == job_id)
    assert state in ("PENDING", "RUNNING", "COMPLETING", "COMPLETED"), state
    return state == "COMPLETED"


def test_the_demo_runs_to_its_end_through_sbatch(disturbed: Campaign) -> None:
    assert disturbed.status == 0
    assert (disturbed.clone / "results/report.html").is_file()
    others = [job for job in disturbed.jobs if job.rule != "predict"]
    assert {job.state for job in others} == {"COMPLETED"}


def test_predictions_run_in_the_gpu_partition_with_a_gpu_each(
    disturbed: Campaign,
) -> None:
    predict = [job for job in disturbed.jobs if job.rule == "predict"]
    assert {(job.partition, job.gres) for job in predict} == {("gpu", "gres:gpu:1")}


def test_a_prediction_sees_the_one_gpu_that_slurm_gave_it(disturbed: Campaign) -> None:
    assert disturbed.devices == {"0"}


def test_everything_else_runs_in_the_cpu_partition_without(disturbed: Campaign) -> None:
    others = [job for job in disturbed.jobs if job.rule != "predict"]
    rules = {"search", "templates", "featurise", "relax", "score", "export"}
    assert {job.rule for job in others} == rules
    assert {(job.partition, job.gres) for job in others} == {("cpu", "N/A")}


def test_a_cancelled_prediction_is_submitted_again(disturbed: Campaign) -> None:
    assert len(disturbed.predict_jobs("CANCELLED")) == 1
    assert {stop.cause for stop in disturbed.stops if stop.attempt == 1} == {
        "preemption"
    }


def test_a_prediction_out_of_time_is_submitted_again_and_says_why(
    disturbed: Campaign,
) -> None:
    assert len(disturbed.predict_jobs("TIMEOUT")) == 1
    assert {stop.cause for stop in disturbed.stops if stop.attempt == 2} == {
        "time_limit"
    }


def test_a_prediction_that_lost_its_node_is_put_back_into_the_queue(
    disturbed: Campaign,
) -> None:
    assert [job.restarts for job in disturbed.predict_jobs("COMPLETED")] == [1]
    launches = [x for x in read_lines(disturbed.journal) if x.event == "launched"]
    assert [(x.attempt, x.restarts) for x in launches] == [
        (1, 0),
        (2, 0),
        (3, 0),
        (3, 1),
    ]


def test_retries_ask_for_more_memory_up_to_what_the_partition_has(
    disturbed: Campaign,
) -> None:
    first, second, third = (
        int(job.memory.removesuffix("M"))
        for job in disturbed.jobs
        if job.rule == "predict"
    )
    assert second == pytest.approx(1.5 * first, abs=3)
    assert third == MEMORY_MB


@pytest.mark.parametrize("moment", ["cancelled", "out of time", "lost its node"])
def test_what_was_committed_before_is_not_touched_again(
    disturbed: Campaign, moment: str
) -> None:
    before, after = disturbed.seen[moment], committed(disturbed.clone)
    assert 0 < len(before) < NUM_ITEMS == len(after)
    assert {item: after[item] for item in before} == before


def test_no_item_is_computed_twice_once_it_is_committed(disturbed: Campaign) -> None:
    assert list(count_done(disturbed.journal).values()) == [1] * NUM_ITEMS
    assert repeats_in(disturbed.clone) == []


def test_all_tables_equal_those_of_the_undisturbed_campaign_bit_for_bit(
    undisturbed: Path, disturbed: Campaign
) -> None:
    expected, found = tables_of(undisturbed), tables_of(disturbed.clone)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


def test_the_last_job_of_a_batch_leaves_rows_before_its_time_is_up(
    cluster: Node, disturbed: Campaign, overrunning: Path
) -> None:
    assert has_ended(cluster, overrunning)
    rows = read_rows(Place(overrunning).outcomes(STAGE, OVERRUN), OUTCOMES)
    assert {row.item: (row.status, row.cause) for row in rows} == {
        "well": ("done", None),
        "slow": ("failed", "time_limit"),
    }
