"""Works through the items of a batch: each is committed alone, none stops the rest.

A step that is killed finds its finished items on the next start and goes on with the
first that is missing. What an item was made from is kept in its file, so an item
made from something else is made again. What was tried before decides what is tried
now: see `workflow.engine.attempts`.
"""

import time
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa

from af3_core.columns import Contract
from af3_core.contracts import OUTCOMES, OutcomeRow
from af3_core.job import InputError
from workflow.campaign import Campaign, split_item
from workflow.engine.attempts import Attempts, Group, begin_attempts, close_journal
from workflow.engine.failures import Failure
from workflow.engine.guard import Guard, log
from workflow.tables import (
    is_current,
    read_rows,
    replacing,
    write_table,
)


@dataclass(frozen=True)
class Item:
    """One unit of work and the file that will hold its result."""

    name: str
    job_id: str | None
    path: Path
    contract: Contract
    made_from: str

    def __str__(self) -> str:
        return self.name

    @property
    def is_done(self) -> bool:
        """Whether the result is there and current."""
        return is_current(self.path, self.contract, made_from=self.made_from)


def items_from(
    keys: Mapping[str, str], path_of: Callable[[str], Path], contract: Contract
) -> list[Item]:
    """Items of (job, seed) with the keys of what they are made from."""
    return [
        Item(name, split_item(name)[0], path_of(name), contract, made_from=key)
        for name, key in keys.items()
    ]


def outcome(
    stage: str,
    batch: str,
    item: str,
    *,
    job_id: str | None = None,
    seconds: float = 0.0,
    failure: Failure | None = None,
    status: str | None = None,
) -> OutcomeRow:
    """A row of the outcomes table."""
    return OutcomeRow(
        stage=stage,
        batch_id=batch,
        item=item,
        job_id=job_id,
        status=status or ("failed" if failure else "done"),
        seconds=seconds,
        cause=failure.cause if failure else None,
        evidence=failure.evidence if failure else None,
        remedy=failure.remedy if failure else None,
    )


@dataclass(frozen=True)
class Task:
    """One unit of work that has no file of its own."""

    name: str
    job_id: str | None
    made_from: str = ""

    def __str__(self) -> str:
        return self.name


def work_through(
    campaign: Campaign,
    stage: str,
    batch: str,
    items: Sequence[Item],
    make: Callable[[Item], pa.Table],
    *,
    blocked: Mapping[str, OutcomeRow] | None = None,
    patience: float = 0.0,
) -> list[OutcomeRow]:
    """Makes every item that is not done, commits it, and says what became of each.

    Args:
        campaign: whose batch it is.
        stage: name of the stage.
        batch: id of the batch.
        items: in the order they are worked on.
        make: computes an item's table; whatever it raises becomes the item's row.
        blocked: unfinished items or jobs of the stage before.
        patience: seconds that an item may take at least, however little time its job
            has.

    Raises:
        SystemExit: the rest needs a new process or another submission.
    """

    def work(item: Item) -> None:
        table = make(item)
        write_table(item.path, item.contract, table, made_from=item.made_from)

    done = find_done(items)
    return _go_through(
        *(campaign, stage, batch, items, work, blocked or {}, done, "done"),
        patience=patience,
    )


def go_through(
    campaign: Campaign,
    stage: str,
    batch: str,
    tasks: Sequence[Task],
    work: Callable[[Task], None],
    *,
    blocked: Mapping[str, OutcomeRow] | None = None,
) -> list[OutcomeRow]:
    """Likewise, where nothing is committed before the whole batch is."""
    return _go_through(
        campaign, stage, batch, tasks, work, blocked or {}, set(), "passed"
    )


def _go_through[Work: (Item, Task)](
    campaign: Campaign,
    stage: str,
    batch: str,
    items: Sequence[Work],
    work: Callable[[Work], None],
    blocked: Mapping[str, OutcomeRow],
    done: set[str],
    success: Literal["done", "passed"],
    patience: float = 0.0,
) -> list[OutcomeRow]:
    attempts = begin_attempts(campaign, stage, batch)
    before = blocked_items(items, blocked)
    todo = [i for i in items if i.name not in before and i.name not in done]
    progress = Progress(campaign, stage, batch, len(items))
    progress.advance(len(items) - len(todo))
    seconds: dict[str, float] = {}
    while group := attempts.next_group(todo):
        for item in group.items:
            if isinstance(item, Item) and find_done([item]):
                # Another process is at work on the batch, as after a driver was killed.
                attempts.finished(item)
                done.add(item.name)
                continue
            began = time.monotonic()
            attempts.began(item, group, patience=patience)
            with Guard(f"{stage} {item}") as guard:
                work(item)
            if guard.failure is not None:
                attempts.failed(item, group, guard.failure)
            else:
                attempts.done(item, group, success)
                done.add(item.name)
                log(f"{stage} {item.name} done in {time.monotonic() - began:.1f} s")
            seconds[item.name] = time.monotonic() - began
            progress.advance()
    attempts.require_nothing_more(todo)
    return outcomes_of(
        *(stage, batch, items, attempts),
        blocked=before,
        done=done,
        seconds=seconds,
    )


def find_done(items: Iterable[Item]) -> set[str]:
    """Names of the items whose results are there; what cannot be read is not."""
    done = set()
    for item in items:
        with Guard(f"looking for {item}"):
            if item.is_done:
                done.add(item.name)
    return done


class Together:
    """What becomes of the single items while several are worked on at once."""

    def __init__(self, stage: str, done: Callable[[Task], None]) -> None:
        self.stage = stage
        self.failures: dict[str, Failure] = {}
        self.finished: set[str] = set()
        self._done = done

    @contextmanager
    def guard(self, task: Task) -> Iterator[None]:
        """For what is done for one item alone: what it raises stops no other."""
        with Guard(f"{self.stage} {task}") as guard:
            yield
        if guard.failure is not None:
            self.failures[task.name] = guard.failure

    def done(self, task: Task) -> None:
        """Says that an item's result is where it belongs."""
        self.finished.add(task.name)
        self._done(task)


def work_together(
    campaign: Campaign,
    stage: str,
    batch: str,
    tasks: Sequence[Task],
    is_done: Callable[[Task], bool],
    work: Callable[[Sequence[Task], Together], None],
) -> list[OutcomeRow]:
    """Works on all items of a batch at once, and says what became of each.

    A group that fails as a whole is split, until the items at fault are found.

    Args:
        campaign: whose batch it is.
        stage: name of the stage.
        batch: id of the batch.
        tasks: all of the batch.
        is_done: whether an item's result is where it belongs.
        work: does what is to do for some of them, and says which are done.

    Raises:
        InputError: what all items need is wrong.
        SystemExit: the rest needs a new process or another submission.
    """
    # That time was up for all is no reason to take each by itself.
    attempts = begin_attempts(campaign, stage, batch, alone_when_interrupted=False)
    done: set[str] = set()
    for task in tasks:
        with Guard(f"looking for {task}"):
            if is_done(task):
                done.add(task.name)
    todo = [task for task in tasks if task.name not in done]
    progress = Progress(campaign, stage, batch, len(tasks))
    progress.advance(len(done))
    seconds: dict[str, float] = {}
    last = time.monotonic()
    while group := attempts.next_group(todo):
        for chunk in group.chunks(len(todo)):

            def note(task: Task, group: Group[Task] = group) -> None:
                nonlocal last
                attempts.done(task, group)
                done.add(task.name)
                now = time.monotonic()
                seconds[task.name], last = now - last, now
                progress.advance()

            for task in chunk:
                attempts.began(task, group, together=len(chunk))
            together = Together(stage, note)
            with Guard(f"{stage} of {len(chunk)} items", InputError) as guard:
                _or_put_back(attempts, group, chunk, together, work)
            for task in chunk:
                if task.name in together.finished:
                    continue
                own = together.failures.get(task.name)
                why = own or guard.failure
                if why is None:
                    raise LookupError(
                        f"{stage} left {task} without a result or an error"
                    )
                num = 1 if own is not None else len(chunk)
                attempts.failed(task, group, why, together=num)
    attempts.require_nothing_more(todo)
    return outcomes_of(
        *(stage, batch, tasks, attempts), blocked={}, done=done, seconds=seconds
    )


def _or_put_back(
    attempts: Attempts,
    group: Group[Task],
    chunk: Sequence[Task],
    together: Together,
    work: Callable[[Sequence[Task], Together], None],
) -> None:
    """Works on a chunk; what is wrong with all items leaves none of them in flight."""
    try:
        work(chunk, together)
    except InputError:
        for task in chunk:
            if task.name not in together.finished:
                attempts.put_back(task, group)
        raise


def blocked_items(
    items: Sequence[Item | Task], blocked: Mapping[str, OutcomeRow]
) -> dict[str, OutcomeRow]:
    """By item, the unfinished item or job of the stage before that it needs."""
    found = {i.name: blocked.get(i.name) or blocked.get(i.job_id or "") for i in items}
    return {name: row for name, row in found.items() if row is not None}


def outcomes_of(
    stage: str,
    batch: str,
    items: Sequence[Item | Task],
    attempts: Attempts,
    *,
    blocked: Mapping[str, OutcomeRow],
    done: Collection[str],
    seconds: Mapping[str, float],
) -> list[OutcomeRow]:
    """What became of every item: done, skipped, or given up with its failure."""
    rows = []
    for item in items:
        if item.name in blocked:
            rows.append(skipped(stage, batch, item.name, blocked[item.name]))
            continue
        why = None if item.name in done else attempts.failure_of(item)
        spent = seconds.get(item.name, 0.0)
        rows.append(
            outcome(
                *(stage, batch, item.name),
                job_id=item.job_id,
                seconds=spent,
                failure=why,
            )
        )
    return rows


def commit_outcomes(
    campaign: Campaign,
    stage: str,
    batch: str,
    rows: Sequence[OutcomeRow],
    notes: Mapping[str, str] | None = None,
) -> None:
    """Writes what became of a batch; this is what the workflow waits for.

    `notes` are kept in the metadata of the table.
    """
    path = campaign.outcomes(stage, batch)
    write_table(path, OUTCOMES, OUTCOMES.table(rows), notes=notes)
    close_journal(campaign, stage, batch)


def unfinished(outcomes: Path) -> dict[str, OutcomeRow]:
    """Items (or jobs) that an earlier stage could not bring to an end, by name."""
    rows = read_rows(outcomes, OUTCOMES)
    return {row.item: row for row in rows if row.status != "done"}


def skipped(stage: str, batch: str, item: str, before: OutcomeRow) -> OutcomeRow:
    """The outcome of an item for which an earlier stage left nothing to work on."""
    return replace(
        before, stage=stage, batch_id=batch, item=item, status="skipped", seconds=0.0
    )


class Progress:
    """How far a batch is, in a small file that anyone may watch."""

    def __init__(self, campaign: Campaign, stage: str, batch: str, total: int) -> None:
        self.path = campaign.progress(stage, batch)
        self.done, self.total = 0, total
        self._write()

    def advance(self, count: int = 1) -> None:
        """Counts items as finished, however they ended."""
        self.done += count
        self._write()

    def _write(self) -> None:
        with replacing(self.path) as temporary:
            temporary.write_text(f"{self.done} {self.total}\n", encoding="ascii")
