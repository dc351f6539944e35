"""The demo on a real Slurm cluster: two partitions, and all that goes wrong there.

`make test-slurm` starts a cluster of one node, runs the demo through `sbatch`, then
predicts once more while jobs are cancelled, run out of time and lose their node.
"""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from af3_core.contracts import PREDICTIONS
from tests.slurm import node as slurm
from tests.slurm.campaign import Committed, committed, make_clone, running, wait_for
from tests.slurm.node import MEMORY_MB, Node, SlurmJob, one_node_cluster
from workflow.running.journal import count_done
from workflow.tables import read_rows

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(slurm.missing() is not None, reason=str(slurm.missing())),
]

NUM_ITEMS = 5


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


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node, two partitions, one GPU."""
    with one_node_cluster(tmp_path_factory.mktemp("slurm")) as node:
        yield node


@pytest.fixture(scope="module")
def undisturbed(cluster: Node, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """The demo, run to its end and left alone."""
    clone = make_clone(tmp_path_factory.mktemp("undisturbed") / "foldmill")
    with running(clone) as process:
        status = process.wait(timeout=900)
    return Campaign(clone, status, cluster.jobs())


@pytest.fixture(scope="module")
def disturbed(
    cluster: Node, undisturbed: Campaign, tmp_path_factory: pytest.TempPathFactory
) -> Campaign:
    """The same from predict on, and all kinds of disturbance while it predicts."""
    clone = tmp_path_factory.mktemp("disturbed") / "foldmill"
    shutil.copytree(undisturbed.clone, clone, symlinks=True)
    for made in (*("predict", "predictions", "relax", "relaxed"), "score", "tables"):
        shutil.rmtree(clone / "results" / made)
    shutil.rmtree(clone / "logs/predict")
    earlier = {job.job_id for job in undisturbed.jobs}
    with running(clone) as process:
        campaign = disturb(cluster, clone, process, earlier)
        campaign.status = process.wait(timeout=600)
    campaign.jobs = [job for job in cluster.jobs() if job.job_id not in earlier]
    return campaign


def disturb(
    cluster: Node, clone: Path, process: subprocess.Popen[bytes], earlier: set[str]
) -> Campaign:
    """Cancels a predict job, runs one out of time, and takes the node from one.

    Each as soon as the job has committed an item more; says what was there then.
    """
    seen: dict[str, dict[str, Committed]] = {}
    disturbed = set(earlier)
    found: dict[str, int] = {}

    def predicting() -> SlurmJob | None:
        """The predict job at work, once it has committed an item itself."""
        for job in cluster.jobs():
            if job.is_predicting and job.job_id not in disturbed:
                count = len(committed(clone))
                if count > found.setdefault(job.job_id, count):
                    return job
        return None

    job = wait_for(predicting, "a prediction", process)
    devices = cluster.devices_of("workflow.predict")
    cluster.run("scancel", job.job_id)
    seen["cancelled"] = committed(clone)
    disturbed.add(job.job_id)

    job = wait_for(predicting, "a prediction after that", process)
    cluster.hold_up("workflow.predict")
    cluster.run("scontrol", "update", f"JobId={job.job_id}", "EndTime=now")
    seen["out of time"] = committed(clone)
    disturbed.add(job.job_id)

    wait_for(predicting, "a prediction after the time limit", process)
    cluster.lose_node()
    seen["lost its node"] = committed(clone)
    wait_for(lambda: "down" in cluster.node_state(), "a lost node", process)
    cluster.start_slurmd()
    return Campaign(clone, seen=seen, devices=devices)


def test_the_demo_runs_to_its_end_through_sbatch(undisturbed: Campaign) -> None:
    assert undisturbed.status == 0
    assert (undisturbed.clone / "results/report.html").is_file()
    assert {job.state for job in undisturbed.jobs} == {"COMPLETED"}


def test_predictions_run_in_the_gpu_partition_with_a_gpu_each(
    undisturbed: Campaign,
) -> None:
    predict = [job for job in undisturbed.jobs if job.rule == "predict"]
    assert {(job.partition, job.gres) for job in predict} == {("gpu", "gres:gpu:1")}


def test_a_prediction_sees_the_one_gpu_that_slurm_gave_it(disturbed: Campaign) -> None:
    assert disturbed.devices == {"0"}


def test_everything_else_runs_in_the_cpu_partition_without(
    undisturbed: Campaign,
) -> None:
    others = [job for job in undisturbed.jobs if job.rule != "predict"]
    rules = {"search", "templates", "featurise", "relax", "score", "export"}
    assert {job.rule for job in others} == rules
    assert {(job.partition, job.gres) for job in others} == {("cpu", "N/A")}


def test_a_disturbed_campaign_ends_well_by_itself(disturbed: Campaign) -> None:
    assert disturbed.status == 0


def test_a_cancelled_prediction_is_submitted_again(disturbed: Campaign) -> None:
    assert len(disturbed.predict_jobs("CANCELLED")) == 1


def test_a_prediction_out_of_time_is_submitted_again(disturbed: Campaign) -> None:
    assert len(disturbed.predict_jobs("TIMEOUT")) == 1


def test_a_prediction_that_lost_its_node_is_put_back_into_the_queue(
    disturbed: Campaign,
) -> None:
    assert [job.restarts for job in disturbed.predict_jobs("COMPLETED")] == [1]


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


def test_no_item_is_predicted_twice(disturbed: Campaign) -> None:
    (journal,) = (disturbed.clone / "logs/predict").glob("*.journal")
    assert list(count_done(journal).values()) == [1] * NUM_ITEMS


def test_all_predictions_equal_those_of_the_undisturbed_campaign_bit_for_bit(
    undisturbed: Campaign, disturbed: Campaign
) -> None:
    items = committed(undisturbed.clone).keys()
    assert committed(disturbed.clone).keys() == items
    for item in items:
        # As text, because NaN is not equal to itself.
        assert str(samples(disturbed, item)) == str(samples(undisturbed, item))


def samples(campaign: Campaign, item: str) -> list[dict[str, object]]:
    """The rows of a prediction."""
    path = campaign.clone / "results/predictions" / f"{item}.parquet"
    return read_rows(path, PREDICTIONS)
