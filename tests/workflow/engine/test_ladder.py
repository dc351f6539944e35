"""What is tried next, for every cause, until the end of every ladder."""

import itertools
from typing import get_args

import pytest

from workflow.engine.failures import CAUSES, Cause
from workflow.engine.ladder import (
    MAX_DEATHS,
    MAX_LOSSES,
    MAX_RESTARTS,
    RETRIES,
    RUNGS,
    GiveUp,
    Postpone,
    Run,
    Trial,
    next_action,
)

CPU = RUNGS[:-1]


def climb(cause: Cause, rungs=RUNGS, *, died: bool = False) -> list[object]:
    """All that is done with an item that fails in the same way every time."""
    trials: list[Trial] = []
    actions: list[object] = []
    submission = 0
    while len(actions) < 40:
        action = next_action(trials, rungs=rungs, submission=submission)
        actions.append(action)
        match action:
            case Run(rung, alone):
                trial = Trial(rung, cause, "", alone, died, submission)
                trials.append(trial)
            case Postpone():
                submission += 1
            case GiveUp():
                break
    return actions


def rungs_of(actions: list[object]) -> list[str]:
    return [a.rung if isinstance(a, Run) else type(a).__name__ for a in actions]


def test_device_memory_is_saved_step_by_step_then_a_larger_job_is_asked_for() -> None:
    assert rungs_of(climb("gpu_memory")) == [
        *RUNGS,
        *("Postpone", "unified_memory") * RETRIES,
        "GiveUp",
    ]


def test_unified_memory_alone_needs_a_new_process() -> None:
    runs = [a for a in climb("gpu_memory") if isinstance(a, Run)]
    assert [a.rung for a in runs if a.new_process] == ["unified_memory"]


def test_host_memory_is_tried_alone_in_a_new_process_and_never_unified() -> None:
    actions = climb("host_memory")
    assert actions[1] == Run("one_sample", alone=True, new_process=True)
    assert rungs_of(actions) == [
        "planned",
        "one_sample",
        *("Postpone", "one_sample") * RETRIES,
        "GiveUp",
    ]


def test_a_poisoned_device_gets_new_processes_then_another_job() -> None:
    one_submission = ["planned"] * (1 + MAX_RESTARTS)
    assert rungs_of(climb("device")) == [
        *(one_submission + ["Postpone"]) * RETRIES,
        *one_submission,
        "GiveUp",
    ]


@pytest.mark.parametrize("cause", ["input", "conformer", "template", "unknown"])
def test_what_a_new_try_cannot_mend_is_given_up_at_once(cause: Cause) -> None:
    assert climb(cause) == [Run("planned"), GiveUp()]


@pytest.mark.parametrize("rungs", [RUNGS, CPU])
def test_a_lost_node_changes_nothing_the_first_time(rungs) -> None:
    actions = climb("lost_node", rungs, died=True)
    assert actions == [
        Run("planned"),
        Run("planned"),
        Run("one_sample", alone=True),
        GiveUp(),
    ]
    assert len(actions) == MAX_LOSSES + 1


def test_a_lost_node_leaves_an_item_on_the_rung_it_had_reached() -> None:
    trials = [
        Trial("planned", "gpu_memory"),
        Trial("small_chunks", "lost_node", died=True),
    ]
    assert next_action(trials, rungs=RUNGS) == Run("small_chunks")


def test_a_lost_node_is_no_death_that_an_item_has_to_answer_for() -> None:
    lost = Trial("planned", "lost_node", died=True)
    crashed = Trial("planned", "unknown", died=True)
    alone = Run("one_sample", alone=True, new_process=True)
    assert next_action([lost, crashed], rungs=CPU) == alone


@pytest.mark.parametrize("cause", ["unknown", "conformer", "template"])
def test_what_kills_its_process_twice_is_quarantined(cause: Cause) -> None:
    actions = climb(cause, CPU, died=True)
    assert actions[0] == Run("planned")
    assert actions[1:-1] == [Run("one_sample", alone=True, new_process=True)]
    assert actions[-1] == GiveUp() and len(actions) == MAX_DEATHS + 1


def test_a_full_disk_is_left_to_the_next_submission() -> None:
    assert rungs_of(climb("disk")) == ["planned", *("Postpone", "planned") * 2] + [
        "GiveUp"
    ]


@pytest.mark.parametrize(
    ("cause", "rungs", "died"),
    list(itertools.product(CAUSES, (RUNGS, CPU, RUNGS[:1]), (True, False))),
)
def test_every_ladder_ends(cause: Cause, rungs, died: bool) -> None:
    actions = climb(cause, rungs, died=died)
    assert len(actions) <= 12
    assert all(a.rung in rungs for a in actions if isinstance(a, Run))


@pytest.mark.parametrize("first", get_args(Cause))
@pytest.mark.parametrize("second", get_args(Cause))
def test_every_sequence_of_causes_ends(first: Cause, second: Cause) -> None:
    """Two causes in turns, from every device: no way round the bounds."""
    trials: list[Trial] = []
    submission, causes = 0, itertools.cycle((first, second))
    for _ in range(40):
        match next_action(trials, rungs=RUNGS, submission=submission):
            case Run(rung, alone):
                trial = Trial(rung, next(causes), "", alone, False, submission)
                trials.append(trial)
            case Postpone():
                submission += 1
            case GiveUp():
                return
    raise AssertionError(f"{first} and {second} in turns never end")
