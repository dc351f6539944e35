"""Decides what a step works on next, and writes down what came of it.

Ties the ladder (what to try) to the journal (what was tried) and to the exit statuses
by which a step asks its supervisor for a new process or another submission.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import batched
from typing import Protocol, runtime_checkable

from workflow.campaign import Campaign
from workflow.engine.failures import Failure, failure
from workflow.engine.journal import (
    Event,
    Journal,
    key_of,
    read_history,
    read_lines,
)
from workflow.engine.ladder import (
    RUNGS,
    Action,
    GiveUp,
    Postpone,
    Run,
    Rung,
    Trial,
    next_action,
)

EXIT_RESTART = 81
"""A step has to go on in a new process."""
EXIT_UNIFIED = 82
"""Likewise, in one whose device may use the host's memory."""
EXIT_POSTPONE = 75
"""What is left has to wait for another submission of the batch (sysexits.h)."""
EXIT_DEVICE = 83
"""The device was refused before any work."""


@runtime_checkable
class Work(Protocol):
    """What attempts are made at."""

    @property
    def name(self) -> str:
        """Of the item."""
        ...

    @property
    def made_from(self) -> str:
        """A digest of everything it is made from."""
        ...


@dataclass(frozen=True)
class Group[Item: Work]:
    """Items to be worked on in the same way."""

    items: tuple[Item, ...]
    rung: Rung
    alone: bool
    together: int | None = None
    """How many may be computed at once; None: as many as the stage does."""

    def chunks(self, most: int) -> Iterator[tuple[Item, ...]]:
        """The items as they are computed at once, `most` at most."""
        size = most if self.together is None else min(most, self.together)
        yield from batched(self.items, 1 if self.alone else max(1, size))


@dataclass
class Attempts:
    """The attempts of this process at the items of a batch."""

    journal: Journal
    rungs: Sequence[Rung]
    trials: dict[str, tuple[Trial, ...]]
    submission: int
    abandoned: Failure | None
    """Set where the supervisor has ended all work on the batch."""
    interrupted: Mapping[str, int] = field(default_factory=dict)
    """How many submissions ended while an item was in flight, by its key."""
    has_unified_memory: bool = False
    alone_when_interrupted: bool = True
    """Whether an item that two submissions left behind is tried by itself."""
    _failed_here: set[str] = field(default_factory=set)
    _finished: set[str] = field(default_factory=set)
    _waiting: set[str] = field(default_factory=set)
    """What this process has yet to begin."""

    def action(self, item: Work) -> Action:
        """What to do with an item that is not done."""
        if self.abandoned is not None:
            return GiveUp()
        action = next_action(
            self.trials.get(key_of(item.name, item.made_from), ()),
            rungs=self.rungs,
            submission=self.submission,
        )
        is_suspect = self.alone_when_interrupted and self._num_interrupted(item) > 1
        if isinstance(action, Run) and is_suspect:
            return replace(action, alone=True)
        return action

    def _num_interrupted(self, item: Work) -> int:
        return self.interrupted.get(key_of(item.name, item.made_from), 0)

    def next_group[Item: Work](self, items: Sequence[Item]) -> Group[Item] | None:
        """What to work on now; None when this process can do no more.

        Fast rungs come first; within them, what was in flight when an earlier
        submission ended comes last. What has to be alone comes after everything else,
        one by one, so that whatever it does to the process, the rest is done by then.
        """
        runs = {
            item: action
            for item in items
            if item.name not in self._finished
            and isinstance(action := self.action(item), Run)
            and not self._needs_new_process(item, action)
        }
        self._waiting = {item.name for item in runs}
        together = [item for item in runs if not runs[item].alone]
        if not together:
            alone = sorted(runs, key=self._num_interrupted)[:1]
            return Group(tuple(alone), runs[alone[0]].rung, True) if alone else None
        found: list[Rung] = [runs[item].rung for item in together]
        rung = min(found, key=RUNGS.index)
        on_rung = [item for item in together if runs[item].rung == rung]
        most = max(on_rung, key=lambda item: runs[item].together or math.inf)
        limit = runs[most].together
        chosen = [item for item in on_rung if runs[item].together == limit]
        items = tuple(sorted(chosen, key=self._num_interrupted))
        return Group(items, rung, alone=False, together=limit)

    def _needs_new_process(self, item: Work, run: Run) -> bool:
        unified = run.rung == "unified_memory" and not self.has_unified_memory
        return unified or (run.new_process and item.name in self._failed_here)

    def began(
        self, item: Work, group: Group, *, together: int = 1, patience: float = 0.0
    ) -> None:
        """Notes that an item is in flight.

        Args:
            item: that is begun.
            group: of which it is one.
            together: how many are computed at once.
            patience: seconds that it may take at least.
        """
        self._waiting.discard(item.name)
        self.journal.note(
            "began",
            item.name,
            item.made_from,
            group.rung,
            alone=group.alone,
            last=not self._waiting,
            together=together,
            patience=patience,
        )

    def done(self, item: Work, group: Group, event: Event = "done") -> None:
        """Notes that an item is committed, or will be with its batch: `passed`."""
        self._note(event, item, group)
        self._finished.add(item.name)

    def finished(self, item: Work) -> None:
        """Takes an item for done that was begun by another process."""
        self._waiting.discard(item.name)
        self._finished.add(item.name)

    def put_back(self, item: Work, group: Group) -> None:
        """Notes that an item was not tried after all, through no fault of its own."""
        self._note("put_back", item, group)

    def failed(
        self, item: Work, group: Group, why: Failure, *, together: int = 1
    ) -> None:
        """Notes that an item, or one of those computed with it, raised an error.

        Raises:
            SystemExit: the device is in no state to go on.
        """
        self._note("failed", item, group, why, together)
        key = key_of(item.name, item.made_from)
        trial = Trial(
            group.rung,
            why.cause,
            why.evidence,
            group.alone,
            submission=self.submission,
            together=together,
        )
        self.trials[key] = (*self.trials.get(key, ()), trial)
        self._failed_here.add(item.name)
        if why.cause == "device":
            # A CUDA context that an error has poisoned fails whatever comes next.
            self.require_nothing_more([item])

    def _note(
        self,
        event: Event,
        item: Work,
        group: Group,
        why: Failure | None = None,
        together: int = 1,
    ) -> None:
        name, made_from, rung = item.name, item.made_from, group.rung
        self.journal.note(
            event,
            name,
            made_from,
            rung,
            alone=group.alone,
            together=together,
            why=why,
        )

    def require_nothing_more(self, items: Sequence[Work]) -> None:
        """Returns if all has been tried with these items.

        Raises:
            SystemExit: some have to be tried in a new process or another submission.
        """
        actions = {i: self.action(i) for i in items if i.name not in self._finished}
        runs = [action for action in actions.values() if isinstance(action, Run)]
        if any(r.rung == "unified_memory" for r in runs) and not (
            self.has_unified_memory
        ):
            raise SystemExit(EXIT_UNIFIED)
        if runs:
            raise SystemExit(EXIT_RESTART)
        if any(isinstance(action, Postpone) for action in actions.values()):
            self.journal.write("postponed")
            raise SystemExit(EXIT_POSTPONE)

    def failure_of(self, item: Work) -> Failure:
        """Why an item was given up, and what had been tried."""
        trials = self.trials.get(key_of(item.name, item.made_from), ())
        if not trials:
            if self.abandoned is None:
                raise LookupError(f"{item.name} was neither done nor tried")
            return self.abandoned
        last, tried = trials[-1], ""
        if len(trials) > 1:
            tried = f"tried {len(trials)} times ({_ways(trials)}): "
        return failure(last.cause, f"{tried}{last.evidence}")


def _ways(trials: Sequence[Trial]) -> str:
    """The rungs that were tried, and how far requests grew."""
    ways = list(dict.fromkeys(trial.rung for trial in trials))
    ways += ["alone"] if any(trial.alone for trial in trials) else []
    if largest := max(trial.submission for trial in trials):
        ways.append(f"submission {largest + 1}")
    return ", ".join(ways)


def begin_attempts(
    campaign: Campaign,
    stage: str,
    batch: str,
    *,
    rungs: Sequence[Rung] = RUNGS[:1],
    has_unified_memory: bool = False,
    alone_when_interrupted: bool = True,
) -> Attempts:
    """Takes up a batch where the journal leaves it."""
    path = campaign.journal(stage, batch)
    history = read_history(read_lines(path))
    return Attempts(
        Journal(path, history.attempt),
        rungs,
        dict(history.trials),
        history.submission,
        history.abandoned,
        history.interrupted,
        has_unified_memory,
        alone_when_interrupted,
    )


def close_journal(campaign: Campaign, stage: str, batch: str) -> None:
    """Notes that what became of every item of a batch is written.

    What was given up stays given up: should the outcomes be lost, as Snakemake removes
    them where a scheduler calls the job failed for a process of it that was killed,
    the rows are made again without another try. `foldmill retry` resets that.
    """
    path = campaign.journal(stage, batch)
    if path.is_file():
        Journal(path).write("closed")
