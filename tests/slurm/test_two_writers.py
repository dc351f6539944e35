"""The driver is killed while a prediction runs, and a second one starts at once.

The first one's job runs on, on one GPU; the second one submits the batch again, to the
other. Both write the same files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

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
from tests.slurm.node import Node, SlurmJob, one_node_cluster
from tests.workflow.kill_campaign import tables_of
from workflow.engine.journal import Line, read_lines

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(slurm.missing() is not None, reason=str(slurm.missing())),
]

PREDICT = "workflow.predict"


@dataclass(frozen=True)
class Campaign:
    """A campaign that two drivers worked at."""

    clone: Path
    status: int
    """Of the second driver."""
    before: dict[str, Committed]
    """What there was when the first was killed."""
    devices: set[str]
    """The GPUs that the two jobs saw while both were at work."""
    jobs: list[SlurmJob]

    @property
    def journal(self) -> list[Line]:
        """What both did with the predictions."""
        (path,) = (self.clone / "logs/predict").glob("*.journal")
        return read_lines(path)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node with two GPUs."""
    with one_node_cluster(tmp_path_factory.mktemp("slurm"), gpus=2) as node:
        yield node


@pytest.fixture(scope="module")
def campaign(
    cluster: Node,
    undisturbed: Path,
    compiled: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Campaign:
    """The demo, whose driver is killed, -9, in the midst of predicting."""
    clone = make_clone(tmp_path_factory.mktemp("two") / "foldmill", compiled)
    with running(clone, ON_SLURM) as first:
        wait_for(lambda: committed(clone), "a prediction", first)
        # So that it is still at work when the second one's job begins.
        cluster.hold_up(PREDICT)
        before = committed(clone)
    with running(clone, ON_SLURM) as second:
        wait_for(
            lambda: len(committed(clone)) > len(before), "another prediction", second
        )
        devices = cluster.devices_of(PREDICT)
        cluster.let_go_on(PREDICT)
        status = second.wait(timeout=1800)
    jobs = [job for job in cluster.jobs() if job.rule == "predict"]
    return Campaign(clone, status, before, devices, jobs)


def test_the_second_driver_brings_the_campaign_to_its_end(campaign: Campaign) -> None:
    assert campaign.status == 0
    assert len(committed(campaign.clone)) == NUM_ITEMS


def test_two_jobs_did_work_at_one_batch_at_once(campaign: Campaign) -> None:
    assert campaign.devices == {"0", "1"}
    assert [job.state for job in campaign.jobs] == ["COMPLETED"] * 2
    launches = [line for line in campaign.journal if line.event == "launched"]
    writers = {line.process for line in campaign.journal if line.event == "began"}
    assert len(launches) == len(writers) == 2


def test_neither_blames_an_item_for_what_the_other_does(campaign: Campaign) -> None:
    events = {line.event for line in campaign.journal}
    assert not events & {"failed", "died", "abandoned", "postponed"}


def test_what_was_committed_before_is_not_touched_again(campaign: Campaign) -> None:
    after = committed(campaign.clone)
    assert 0 < len(campaign.before) < NUM_ITEMS
    assert {item: after[item] for item in campaign.before} == campaign.before


def test_all_tables_equal_those_of_an_undisturbed_campaign(
    undisturbed: Path, campaign: Campaign
) -> None:
    expected, found = tables_of(undisturbed), tables_of(campaign.clone)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
