"""What was tried with each item of a batch: one line as it begins, one as it ends.

`logs/<stage>/<batch>.journal` is only ever appended to, a line at a time, so it
survives whatever kills the process. A step that starts again reads from it which item
was in flight when the last process died, and how often what was tried.
"""

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from workflow.running.failures import Cause, Failure, failure
from workflow.running.ladder import Rung, Trial

Event = Literal[
    "launched",  # the supervisor starts work on the batch
    "began",  # it takes up an item
    "done",  # the item is committed
    "passed",  # it went well, and will be committed with the batch
    "failed",  # the item raised an error
    "died",  # the process ended while the item was in flight
    "stopped",  # it was told to end, and did
    "abandoned",  # all work on the batch has ended, for the cause given
    "postponed",  # the batch is left to a larger or another job
    "closed",  # what became of every item is written
    "reset",  # the user wants another try
]
"""What a line of the journal may say."""


@dataclass(frozen=True)
class Line:
    """One line of a journal."""

    event: Event
    item: str = ""
    made_from: str = ""
    """What the item is made from: other inputs are another story."""
    rung: Rung = "planned"
    alone: bool = False
    cause: Cause | None = None
    evidence: str = ""
    attempt: int = 1
    """Which submission of the batch this is, by Snakemake's count."""
    restarts: int = 0
    """How often the scheduler has put this submission back into its queue."""
    process: str = ""
    time: float = 0.0


_DEFAULTS = {"rung": "planned", "attempt": 1}


@dataclass(frozen=True)
class History:
    """What is known of a batch before this process."""

    trials: Mapping[str, tuple[Trial, ...]] = field(default_factory=dict)
    """By item and what it is made from; see `key_of`."""
    open: tuple[Line, ...] = ()
    """Items in flight, as they began."""
    attempt: int = 1
    submission: int = 0
    """How often the batch has been postponed."""
    abandoned: Failure | None = None
    """Why all work on the batch has ended, if it has."""


def key_of(item: str, made_from: str) -> str:
    """Names an item and what it is made from."""
    return f"{item} {made_from}"


@dataclass(frozen=True)
class Journal:
    """The journal of one batch, for writing."""

    path: Path
    attempt: int = 1

    def write(
        self, event: Event, *, why: Failure | None = None, restarts: int = 0
    ) -> None:
        """Appends a line about the batch."""
        self._append(event, why, restarts=restarts)

    def note(
        self,
        event: Event,
        item: str,
        made_from: str,
        rung: Rung,
        *,
        alone: bool = False,
        why: Failure | None = None,
    ) -> None:
        """Appends a line about an item."""
        about = {"item": item, "made_from": made_from, "rung": rung, "alone": alone}
        self._append(event, why, **about)

    def _append(self, event: Event, why: Failure | None, **details: object) -> None:
        """Appends one line and waits until it is on disk."""
        line = Line(
            event,
            cause=why.cause if why else None,
            evidence=why.evidence if why else "",
            attempt=self.attempt,
            process=f"{os.uname().nodename}:{os.getpid()}",
            time=round(time.time(), 3),
            **details,
        )
        shown = {
            name: value
            for name, value in asdict(line).items()
            if value and value != _DEFAULTS.get(name)
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            # A leading newline: a torn line of a killed process must not take this
            # one with it.
            os.write(handle, f"\n{json.dumps(shown)}\n".encode())
            os.fsync(handle)
        finally:
            os.close(handle)


def journal_path(stage: str, batch: str) -> Path:
    """Where a batch's journal is."""
    return Path("logs") / stage / f"{batch}.journal"


def read_lines(path: Path) -> list[Line]:
    """All whole lines of a journal; none where there is no journal."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(Line(**json.loads(text)))
        except (json.JSONDecodeError, TypeError):
            continue  # torn
    return lines


def read_history(lines: Iterable[Line]) -> History:
    """What the lines since the batch was last reset come to.

    An item in flight whose process left no word was lost with it. Whoever kills a
    whole campaign loses items that way, so it is held against an item only if
    Snakemake lived on and submitted the batch again, or the scheduler did.
    """
    trials: dict[str, list[Trial]] = {}
    open_: dict[str, Line] = {}
    attempt, submission, abandoned = 1, 0, None
    for line in lines:
        key = key_of(line.item, line.made_from)
        match line.event:
            case "launched":
                attempt, abandoned = line.attempt, None
                is_again = line.attempt > 1 or line.restarts > 0
                for name, began in open_.items() if is_again else ():
                    lost = _trial(began, _lost(began), submission)
                    trials.setdefault(name, []).append(lost)
                open_.clear()
            case "began":
                open_[key] = line
            case "done" | "passed" | "stopped":
                open_.pop(key, None)
            case "failed" | "died":
                trial = _trial(open_.pop(key, line), line, submission)
                trials.setdefault(key, []).append(trial)
            case "abandoned":
                abandoned = failure(line.cause or "unknown", line.evidence)
            case "postponed":
                submission += 1
            case "closed":
                abandoned = None
                open_.clear()
            case "reset":
                trials, submission, abandoned = {}, 0, None
                open_.clear()
    return History(
        {key: tuple(found) for key, found in trials.items()},
        tuple(open_.values()),
        attempt,
        submission,
        abandoned,
    )


def _lost(began: Line) -> Line:
    evidence = f"the job ended without a word while {began.process} had the item"
    return Line("died", cause="lost_node", evidence=evidence)


def _trial(began: Line, ended: Line, submission: int) -> Trial:
    return Trial(
        began.rung,
        ended.cause or "unknown",
        ended.evidence,
        began.alone,
        died=ended.event == "died",
        submission=submission,
    )
