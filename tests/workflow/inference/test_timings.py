"""Timings of a batch that several processes worked on."""

import dataclasses
from pathlib import Path

import pytest

from af3_core.contracts import PREDICTIONS, TIMINGS, TimingRow
from workflow.campaign import Campaign
from workflow.engine.failures import classify
from workflow.engine.items import Item
from workflow.engine.stream import Passage, Span
from workflow.inference.canary import Trust
from workflow.inference.timings import Timings, begin_timings
from workflow.inference.worker import Worker
from workflow.planning.costs import read_timings
from workflow.tables import read_rows
from workflow.timeline import BatchTimes

HERE = Campaign()
"""The campaign in the current folder."""

TRUST = Trust("node1:0", 1e-6, 0.0015, "2026-01-01T00:00:00Z", is_new=True)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def worker() -> Worker:
    """One that never loads a network."""
    return Worker(HERE, None, None, None, None, 256)  # type: ignore[arg-type]


def passage(item: str, load: Span, compute: Span) -> Passage[Item]:
    """An item that went through."""
    of = Item(item, None, Path(f"{item}.parquet"), PREDICTIONS, "v1")
    return Passage(of, spans={"load": load, "compute": compute})


def begin(network: str = "n") -> Timings:
    return begin_timings(HERE.timings("b"), "b", 256, TRUST, network)


def recorded() -> list[TimingRow]:
    return read_rows(HERE.timings("b"), TIMINGS)


def test_the_timings_of_earlier_processes_are_kept(worker: Worker) -> None:
    first = begin()
    first.add(passage("a.1", (100.0, 101.0), (101.0, 103.0)), worker)
    first.write()
    second = begin()
    second.add(passage("b.1", (7.0, 8.0), (8.0, 12.0)), worker)
    second.write()
    found = {(r.process, r.item, r.phase): r for r in recorded()}
    assert found.keys() == {
        (process, item, phase)
        for process, item in ((0, "a.1"), (1, "b.1"))
        for phase in ("load", "compute")
    }
    assert [t.seconds for t in read_timings([HERE.timings("b")])] == [2.0, 4.0]
    # The second begins where the first ended, whatever their clocks said.
    assert BatchTimes("b", recorded()).begins == [3.0]
    assert found[1, "b.1", "compute"].end == 8.0


def test_two_processes_at_work_at_once_keep_each_other_s_times(worker: Worker) -> None:
    one, other = begin(), begin()
    for second in range(3):
        span = (float(second), second + 0.5)
        one.add(passage(f"a.{second}", span, span), worker)
        one.write()
        other.add(passage(f"b.{second}", span, span), worker)
        other.write()
    one.write()
    found = {(row.item, row.process) for row in recorded()}
    assert {item for item, _ in found} == {f"{x}.{i}" for x in "ab" for i in range(3)}
    assert len({process for item, process in found if item[0] == "a"}) == 1
    assert len({process for _, process in found}) == 2 and len(recorded()) == 12


def test_a_process_that_is_killed_leaves_what_it_had_timed(worker: Worker) -> None:
    begin().add(passage("a.1", (0.0, 1.0), (1.0, 2.0)), worker)
    assert {row.item for row in recorded()} == {"a.1"}


def test_an_item_tried_twice_by_one_process_is_timed_twice(worker: Worker) -> None:
    timings = begin()
    timings.add(passage("a.1", (0.0, 1.0), (1.0, 2.0)), worker)
    timings.add(passage("a.1", (3.0, 4.0), (4.0, 9.0)), worker)
    timings.write()
    assert [t.seconds for t in read_timings([HERE.timings("b")])] == [1.0, 5.0]


def test_costs_are_learnt_only_from_what_went_as_planned(worker: Worker) -> None:
    timings, gentler = begin(), dataclasses.replace(worker, rung="small_chunks")
    failed = passage("c.1", (9.0, 9.5), (10.0, 11.0))
    failed.failure = classify(MemoryError())
    timings.add(passage("a.1", (0.0, 1.0), (1.0, 3.0)), worker)
    timings.add(passage("b.1", (3.0, 4.0), (4.0, 9.0)), gentler)
    timings.add(failed, worker)
    timings.write()
    assert {row.item for row in recorded()} == {"a.1", "b.1", "c.1"}
    assert [t.seconds for t in read_timings([HERE.timings("b")])] == [2.0]


def test_times_of_another_network_are_neither_learnt_from_nor_kept(
    worker: Worker,
) -> None:
    of_one = begin("one")
    of_one.add(passage("a.1", (0.0, 1.0), (1.0, 3.0)), worker)
    of_one.write()
    assert [t.seconds for t in read_timings([HERE.timings("b")], "one")] == [2.0]
    assert not read_timings([HERE.timings("b")], "other")
    of_other = begin("other")
    of_other.add(passage("a.1", (0.0, 1.0), (1.0, 9.0)), worker)
    of_other.write()
    assert [t.seconds for t in read_timings([HERE.timings("b")], "other")] == [8.0]
    assert {row.process for row in recorded()} == {0}


def test_a_process_that_timed_nothing_writes_nothing() -> None:
    begin().write()
    assert not HERE.timings("b").exists()


def test_what_the_device_showed_is_beside_the_times(worker: Worker) -> None:
    begin().add(passage("a.1", (0.0, 1.0), (1.0, 2.0)), worker)
    row = recorded()[0]
    assert (row.node, row.canary_seconds) == ("node1:0", 0.0015)
    assert row.canary.startswith("right: off by 1.0e-06 at most")
