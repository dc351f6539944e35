"""What to try next with an item that failed: a pure function of what was tried.

Each cause has its own ladder. `RUNGS` are ways of computing the same numbers in less
memory. A step climbs within its process as long as that helps, asks for a new process
where it does not, for a larger or another job after that (`Postpone`), and in the end
gives up, with the cause in a row. Every way up is bounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workflow.engine.failures import Cause

RETRIES = 2
"""How often a batch is submitted again, each time with more memory and run time.
The profiles' `restart-times` is the same number."""

type Rung = Literal["planned", "small_chunks", "one_sample", "unified_memory"]

RUNGS: tuple[Rung, ...] = ("planned", "small_chunks", "one_sample", "unified_memory")
"""From the fastest to the one that needs the least device memory; each includes
those before it."""

MAX_DEATHS = 2
"""An item that took so many processes with it is quarantined."""
MAX_LOSSES = 3
"""An item that was in flight on so many lost nodes is quarantined."""
MAX_RESTARTS = 2
"""New processes for an item whose device went wrong, in one submission."""

MAX_TRIALS = 12
"""A bound for whatever mixture of causes."""
_OF_NO_ITEM = ("lost_node", "preemption", "device", "backend", "disk")
"""Causes for which a group of items is not split: it would happen to each half."""
_CAUSES_WITH_REMEDY = ("gpu_memory", "host_memory", "time_limit", "device", "disk")


@dataclass(frozen=True)
class Trial:
    """One time that an item was worked on and did not get done."""

    rung: Rung
    cause: Cause
    evidence: str = ""
    alone: bool = False
    """Nothing else was in flight: what happened is the item's doing."""
    died: bool = False
    """It took the process with it."""
    submission: int = 0
    """How often the batch had been postponed before."""
    together: int = 1
    """How many items were computed at once, of which any may be at fault."""


@dataclass(frozen=True)
class Run:
    """Work on the item."""

    rung: Rung
    alone: bool = False
    """With nothing else in flight, after everything else."""
    new_process: bool = False
    together: int | None = None
    """With how many others at most; None: as many as the stage does at once."""


@dataclass(frozen=True)
class Postpone:
    """Leave the item to the next submission of the batch: larger, or elsewhere."""


@dataclass(frozen=True)
class GiveUp:
    """Quarantine: the item gets a row with its last cause and is not tried again."""


type Action = Run | Postpone | GiveUp


def next_action(
    trials: Sequence[Trial], *, rungs: Sequence[Rung] = RUNGS[:1], submission: int = 0
) -> Action:
    """What to do with an item.

    Args:
        trials: what was tried since the batch was begun, in order.
        rungs: those the stage has on this device, in the order of `RUNGS`.
        submission: how often the batch has been postponed.
    """
    if not trials:
        return Run(rungs[0])
    last = trials[-1]
    if last.together > 1 and last.cause not in _OF_NO_ITEM:
        return Run(_known(last.rung, rungs), together=last.together // 2)
    # What a group did is held against none of its items.
    trials = [t for t in trials if t.together == 1 or t.cause in _OF_NO_ITEM]
    if len(trials) >= MAX_TRIALS:
        return GiveUp()
    if last.cause == "lost_node":
        return _after_loss(trials, rungs)
    if last.died and last.cause not in _CAUSES_WITH_REMEDY:
        return _after_death(trials, rungs)
    if last.cause not in _CAUSES_WITH_REMEDY:
        return GiveUp()
    if last.submission < submission:
        return Run(_known(last.rung, rungs), alone=last.alone)
    on = Postpone() if submission < RETRIES else GiveUp()
    if last.cause == "gpu_memory" and (higher := _above(last.rung, rungs)):
        # Unified memory is chosen as a process starts.
        new_process = last.died or higher == "unified_memory"
        return Run(higher, alone=last.alone or last.died, new_process=new_process)
    if last.cause == "host_memory" and not last.alone:
        return Run(_gentlest(rungs), alone=True, new_process=True)
    if last.cause == "time_limit" and not last.alone:
        # Gentler rungs are slower.
        return Run(_known(last.rung, rungs), alone=True, new_process=True)
    if last.cause == "device" and _restarts(trials, submission) <= MAX_RESTARTS:
        return Run(
            _known(last.rung, rungs), alone=last.alone or last.died, new_process=True
        )
    return on


def _after_loss(trials: Sequence[Trial], rungs: Sequence[Rung]) -> Action:
    """The first time as before, so that a lost node changes no digit of a result."""
    num_losses = sum(trial.cause == "lost_node" for trial in trials)
    if num_losses >= MAX_LOSSES:
        return GiveUp()
    if num_losses == 1:
        return Run(_known(trials[-1].rung, rungs), alone=trials[-1].alone)
    return Run(_gentlest(rungs), alone=True)


def _after_death(trials: Sequence[Trial], rungs: Sequence[Rung]) -> Action:
    num_deaths = sum(trial.died and trial.cause != "lost_node" for trial in trials)
    if num_deaths >= MAX_DEATHS:
        return GiveUp()
    return Run(_gentlest(rungs), alone=True, new_process=True)


def _restarts(trials: Sequence[Trial], submission: int) -> int:
    return sum(t.cause == "device" and t.submission == submission for t in trials)


def _above(rung: Rung, rungs: Sequence[Rung]) -> Rung | None:
    """The next rung up; None from the last."""
    return next((r for r in rungs if RUNGS.index(r) > RUNGS.index(rung)), None)


def _known(rung: Rung, rungs: Sequence[Rung]) -> Rung:
    """The rung itself, or the gentlest where the device has no such rung."""
    return rung if rung in rungs else _gentlest(rungs)


def _gentlest(rungs: Sequence[Rung]) -> Rung:
    """What needs least of all memory; unified memory takes from the host's."""
    own: list[Rung] = [rung for rung in rungs if rung != "unified_memory"]
    return own[-1]
