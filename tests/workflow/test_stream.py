"""Streaming: order is kept, failures stay with their item, the device does not wait."""

import time

import pytest

from workflow.stream import Phases, stream


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


def test_a_defect_of_our_own_ends_the_batch() -> None:
    def broken(item: int) -> int:
        raise AssertionError("a bug")

    with pytest.raises(AssertionError):
        list(stream([1], Phases(broken, nothing, nothing)))


def test_loading_and_finishing_happen_while_the_device_computes() -> None:
    def wait(item: int, value: object = None) -> int:
        time.sleep(0.05)
        return item

    passages = list(stream(range(10), Phases(wait, wait, wait)))
    computing = [p.spans["compute"] for p in passages]
    busy = sum(end - start for start, end in computing)
    wall = computing[-1][1] - computing[0][0]
    assert busy / wall > 0.9
