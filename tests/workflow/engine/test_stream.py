"""Streaming: order is kept, failures stay with their item, the device does not wait."""

import time

import pytest

from workflow.engine.stream import Passage, Phases, stream
from workflow.timeline import device_idle


def nothing(item: int, value: object = None) -> int:
    return item


def test_items_come_out_in_order_with_all_phases_timed() -> None:
    passages = list(stream([1, 2, 3, 4], Phases(nothing, nothing, nothing)))
    assert [p.item for p in passages] == [1, 2, 3, 4]
    assert all(set(p.spans) == {"load", "compute", "finish"} for p in passages)


@pytest.mark.parametrize("phase", ["load", "compute", "finish"])
def test_a_failure_in_any_phase_stays_with_its_item(phase: str) -> None:
    def fail_on_two(item: int, value: object = None) -> int:
        if item == 2:
            raise ValueError("bad conformer")
        return item

    phases = {"load": nothing, "compute": nothing, "finish": nothing}
    passages = list(stream([1, 2, 3], Phases(**{**phases, phase: fail_on_two})))
    assert [p.failure and p.failure.cause for p in passages] == [
        None,
        "conformer",
        None,
    ]


def test_a_defect_of_our_own_stays_with_its_item_too() -> None:
    def broken(item: int) -> int:
        assert item != 2, "a bug"
        return item

    passages = list(stream([1, 2, 3], Phases(broken, nothing, nothing)))
    assert [p.failure and p.failure.cause for p in passages] == [None, "defect", None]


def wait(item: int, value: object = None) -> int:
    time.sleep(0.05)
    return item


def idle_share(passages: list[Passage[int]]) -> float:
    """Of the time from the first computation to the last, what the device waited."""
    return device_idle([p.spans["compute"] for p in passages])


def test_loading_and_finishing_happen_while_the_device_computes() -> None:
    assert idle_share(list(stream(range(10), Phases(wait, wait, wait)))) < 0.1


def test_the_device_does_not_wait_for_what_the_caller_does_between_items() -> None:
    passages = [wait(0) or p for p in stream(range(10), Phases(nothing, wait, nothing))]
    assert idle_share(passages) < 0.1


def test_loading_that_takes_now_more_now_less_time_is_evened_out() -> None:
    def load(item: int) -> int:
        time.sleep(0.09 if item % 2 else 0.01)
        return item

    assert idle_share(list(stream(range(12), Phases(load, wait, nothing)))) < 0.1


def test_few_items_are_held_at_a_time() -> None:
    held: set[int] = set()
    most = 0

    def load(item: int) -> int:
        nonlocal most
        held.add(item)
        most = max(most, len(held))
        return item

    for passage in stream(range(12), Phases(load, nothing, wait)):
        held.discard(passage.item)
    assert most <= 5


def test_a_caller_who_stops_is_not_kept() -> None:
    computed = []

    def compute(item: int, value: object) -> None:
        time.sleep(0.02)
        computed.append(item)

    passages = stream(range(100), Phases(nothing, compute, nothing))
    next(passages)
    passages.close()
    assert len(computed) <= 3


def all_at_once(items: list[int], values: list[int]) -> list[int]:
    """What a program makes of several items; it cannot do with 3."""
    if 3 in items:
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")
    time.sleep(0.06)
    return [10 * value for value in values]


def test_items_computed_at_once_are_loaded_and_finished_alone() -> None:
    finished: dict[int, int] = {}
    phases = Phases(nothing, nothing, finished.__setitem__, all_at_once)
    passages = list(stream([1, 2, 5, 6, 7], phases, together=2))
    assert [(p.item, p.together) for p in passages] == [
        *((1, 2), (2, 2), (5, 2), (6, 2)),
        (7, 1),
    ]
    assert finished == {1: 10, 2: 20, 5: 50, 6: 60, 7: 7}
    first, second = (p.spans["compute"] for p in passages[:2])
    assert first[1] == second[0] and first[1] - first[0] == pytest.approx(
        second[1] - second[0]
    )


def test_a_group_that_fails_is_a_failure_of_each_that_was_computed_in_it() -> None:
    def load(item: int) -> int:
        if item == 4:
            raise ValueError("bad conformer")
        return item

    finished: dict[int, int] = {}
    phases = Phases(load, nothing, finished.__setitem__, all_at_once)
    passages = list(stream([1, 2, 3, 4, 5, 6], phases, together=3))
    causes = [(p.item, p.failure and p.failure.cause, p.together) for p in passages]
    assert causes == [
        *((item, "gpu_memory", 3) for item in (1, 2, 3)),
        (4, "conformer", 1),
        *((item, None, 2) for item in (5, 6)),
    ]
    assert finished == {5: 50, 6: 60}
