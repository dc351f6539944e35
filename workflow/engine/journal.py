"""What was tried with each item of a batch: one line as it begins, one as it ends.

`logs/<stage>/<batch>.journal` is only ever appended to, a line at a time, so it
survives whatever kills the process. A step that starts again reads from it which item
was in flight when the last process died, and how often what was tried.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from workflow.engine.failures import Cause, Failure, failure
from workflow.engine.ladder import Rung, Trial

Event = Literal[
    "launched",  # the supervisor starts work on the batch
    "began",  # it takes up an item
    "done",  # the item is committed
    "passed",  # it went well, and will be committed with the batch
    "failed",  # the item raised an error
    "died",  # the process ended while the item was in flight
    "stopped",  # it was told to end, and did
    "put_back",  # the whole batch cannot be worked on; see the step's log
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
    last: bool = False
    """No other item waits for this one to end."""
    together: int = 1
    """How many items were begun at once, to end together."""
    patience: float = 0.0
    """Seconds that it may take at least, however little time its job has."""
    cause: Cause | None = None
    evidence: str = ""
    attempt: int = 1
    """Which submission of the batch this is, by Snakemake's count."""
    restarts: int = 0
    """How often the scheduler has put this submission back into its queue."""
    process: str = ""
    """Whose item this is: host and number of a process."""
    time: float = 0.0


_DEFAULTS = {"rung": "planned", "together": 1, "attempt": 1}


@dataclass(frozen=True)
class History:
    """What is known of a batch before this process."""

    trials: Mapping[str, tuple[Trial, ...]] = field(default_factory=dict)
    """By item and what it is made from; see `key_of`."""
    interrupted: Mapping[str, int] = field(default_factory=dict)
    """How many submissions ended while an item was in flight."""
    attempt: int = 1
    submission: int = 0
    """How often the batch has been postponed."""
    abandoned: Failure | None = None
    """Why all work on the batch has ended, if it has."""


def key_of(item: str, made_from: str) -> str:
    """Names an item and what it is made from."""
    return f"{item} {made_from}"


def name_process(number: int) -> str:
    """A process of this host, as the journal names it."""
    return f"{os.uname().nodename}:{number}"


@dataclass(frozen=True)
class Journal:
    """The journal of one batch, for writing."""

    path: Path
    attempt: int = 1

    def write(
        self, event: Event, *, why: Failure | None = None, restarts: int = 0
    ) -> None:
        """Appends a line about the batch."""
        cause, evidence = (why.cause, why.evidence) if why else (None, "")
        self._append(Line(event, cause=cause, evidence=evidence, restarts=restarts))

    def note(
        self,
        event: Event,
        item: str,
        made_from: str,
        rung: Rung,
        *,
        alone: bool = False,
        last: bool = False,
        together: int = 1,
        patience: float = 0.0,
        why: Failure | None = None,
    ) -> None:
        """Appends a line about an item of this process."""
        line = Line(event, item, made_from, rung, alone, last, together, patience)
        if why is not None:
            line = replace(line, cause=why.cause, evidence=why.evidence)
        self._append(line)

    def end(self, event: Event, began: Line, why: Failure) -> None:
        """Appends how an item ended that another process had in flight."""
        self._append(
            replace(began, event=event, cause=why.cause, evidence=why.evidence)
        )

    def _append(self, line: Line) -> None:
        """Appends one line and waits until it is on disk."""
        line = replace(
            line,
            attempt=self.attempt,
            process=line.process or name_process(os.getpid()),
            time=round(time.time(), 3),
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


def read_lines(path: Path) -> list[Line]:
    """All whole lines of a journal; none where there is no journal."""
    return Follower(path, from_start=True).new_lines()


class Follower:
    """Reads what is appended to a journal from now on, or from its start."""

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self.path = path
        self._offset = 0 if from_start else _size(path)
        self._rest = b""

    def new_lines(self) -> list[Line]:
        """The whole lines since it was last asked; torn ones are passed over."""
        if _size(self.path) == self._offset:
            return []
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *texts, self._rest = (self._rest + data).split(b"\n")
        return [line for text in texts if (line := _read_line(text)) is not None]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read_line(text: bytes) -> Line | None:
    try:
        return Line(**json.loads(text))
    except (ValueError, TypeError):
        return None


def in_flight(lines: Iterable[Line], process: str) -> list[Line]:
    """The items that a process has begun and not ended, as they began."""
    open_: dict[str, Line] = {}
    for line in lines:
        if line.process != process or not line.item:
            continue
        key = key_of(line.item, line.made_from)
        if line.event == "began":
            open_[key] = line
        else:
            open_.pop(key, None)
    return list(open_.values())


def read_history(lines: Iterable[Line]) -> History:
    """What the lines since the batch was last reset come to.

    An item in flight whose process left no word was lost with it. Whoever kills a
    whole campaign loses items that way, so it is held against an item only if
    Snakemake lived on and submitted the batch again, or the scheduler did.
    """
    trials: dict[str, list[Trial]] = {}
    interrupted: Counter[str] = Counter()
    open_: dict[tuple[str, str], Line] = {}
    attempt, submission, abandoned = 1, 0, None
    for line in lines:
        key = key_of(line.item, line.made_from)
        match line.event:
            case "launched":
                attempt, abandoned = line.attempt, None
                is_again = line.attempt > 1 or line.restarts > 0
                for (_, name), began in open_.items():
                    interrupted[name] += 1
                    if is_again:
                        lost = _trial(began, _lost(began), submission)
                        trials.setdefault(name, []).append(lost)
                open_.clear()
            case "began":
                open_[line.process, key] = line
            case "done" | "passed" | "put_back":
                open_.pop((line.process, key), None)
            case "stopped":
                open_.pop((line.process, key), None)
                interrupted[key] += 1
            case "failed" | "died":
                began = open_.pop((line.process, key), line)
                trials.setdefault(key, []).append(_trial(began, line, submission))
            case "abandoned":
                abandoned = failure(line.cause or "unknown", line.evidence)
            case "postponed":
                submission += 1
            case "closed":
                abandoned = None
                open_.clear()
            case "reset":
                trials, submission, abandoned = {}, 0, None
                interrupted.clear()
                open_.clear()
    return History(
        {key: tuple(found) for key, found in trials.items()},
        interrupted,
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
        # One of a group may have failed by itself.
        together=ended.together if ended.event == "failed" else began.together,
    )
