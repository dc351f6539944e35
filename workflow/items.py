"""Works through the items of a batch: each is committed alone, none stops the rest.

A step that is killed finds its finished items on the next start and goes on with the
first that is missing. What an item was made from is kept in its file, so an item
made from something else is made again.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from af3_core.contracts import OUTCOMES, Contract
from workflow.campaign import outcomes_path, split_item
from workflow.failures import ITEM_ERRORS, Failure, classify
from workflow.settings import digest_of
from workflow.tables import (
    is_current,
    read_made_from,
    read_rows,
    replacing,
    write_table,
)

type Row = dict[str, object]


@dataclass(frozen=True)
class Item:
    """One unit of work and the file that will hold its result."""

    name: str
    job_id: str | None
    path: Path
    contract: Contract
    made_from: str

    @property
    def is_done(self) -> bool:
        """Whether the result is there and current."""
        return is_current(self.path, self.contract, made_from=self.made_from)


def items_from(
    names: Iterable[str],
    source_of: Callable[[str], Path],
    path_of: Callable[[str], Path],
    contract: Contract,
    key: str,
) -> list[Item]:
    """Items made from the tables of an earlier stage, and from what `key` names."""
    return [
        Item(
            name,
            split_item(name)[0],
            path_of(name),
            contract,
            made_from=digest_of(key, read_made_from(source_of(name))),
        )
        for name in names
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
) -> Row:
    """A row of the outcomes table."""
    return {
        "stage": stage,
        "batch_id": batch,
        "item": item,
        "job_id": job_id,
        "status": status or ("failed" if failure else "done"),
        "seconds": seconds,
        "cause": failure.cause if failure else None,
        "evidence": failure.evidence if failure else None,
        "remedy": failure.remedy if failure else None,
    }


def work_through(
    stage: str,
    batch: str,
    items: Sequence[Item],
    make: Callable[[Item], pa.Table],
    *,
    blocked: Mapping[str, Row] | None = None,
) -> list[Row]:
    """Makes every item that is not done, commits it, and says what became of each.

    Args:
        stage: name of the stage.
        batch: id of the batch.
        items: in the order they are worked on.
        make: computes an item's table; may raise any of `ITEM_ERRORS`.
        blocked: unfinished items or jobs of the stage before.
    """
    blocked = blocked or {}
    progress = Progress(stage, batch, len(items))
    rows = []
    for item in items:
        before = blocked.get(item.name) or blocked.get(item.job_id or "")
        if before is not None:
            rows.append(skipped(stage, batch, item.name, before))
        else:
            rows.append(_work_on(stage, batch, item, make))
        progress.advance()
    return rows


def _work_on(
    stage: str, batch: str, item: Item, make: Callable[[Item], pa.Table]
) -> Row:
    began, failure = time.monotonic(), None
    if not item.is_done:
        try:
            table = make(item)
            write_table(item.path, item.contract, table, made_from=item.made_from)
        except ITEM_ERRORS as error:
            failure = classify(error)
            log(f"{stage} {item.name} failed: {failure.cause}: {failure.evidence}")
        else:
            log(f"{stage} {item.name} done in {time.monotonic() - began:.1f} s")
    seconds = time.monotonic() - began
    return outcome(
        stage, batch, item.name, job_id=item.job_id, seconds=seconds, failure=failure
    )


def commit_outcomes(stage: str, batch: str, rows: Sequence[Row]) -> None:
    """Writes what became of a batch; this is what the workflow waits for."""
    write_table(outcomes_path(stage, batch), OUTCOMES, OUTCOMES.table(list(rows)))


def unfinished(outcomes: Path) -> dict[str, Row]:
    """Items (or jobs) that an earlier stage could not bring to an end, by name."""
    rows = read_rows(outcomes, OUTCOMES)
    return {row["item"]: row for row in rows if row["status"] != "done"}


def skipped(stage: str, batch: str, item: str, before: Row) -> Row:
    """The outcome of an item for which an earlier stage left nothing to work on."""
    failure = Failure(before["cause"], before["evidence"], before["remedy"])
    job_id = before["job_id"]
    return outcome(stage, batch, item, job_id=job_id, failure=failure, status="skipped")


class Progress:
    """How far a batch is, in a small file that anyone may watch."""

    def __init__(self, stage: str, batch: str, total: int) -> None:
        self.path = Path("logs") / stage / f"{batch}.progress"
        self.done, self.total = 0, total
        self._write()

    def advance(self, count: int = 1) -> None:
        """Counts items as finished, however they ended."""
        self.done += count
        self._write()

    def _write(self) -> None:
        with replacing(self.path) as temporary:
            temporary.write_text(f"{self.done} {self.total}\n", encoding="ascii")


def log(message: str) -> None:
    """One line with the time, to the step's log."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)
