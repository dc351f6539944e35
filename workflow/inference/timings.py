"""Records when each item of a predict batch was loaded, computed and finished.

All processes that worked on a batch are in its one file, also those that were killed.
Hours may lie between two of them, so each begins where the one before ended.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from af3_core.contracts import TIMINGS, TimingRow
from workflow.engine.guard import log
from workflow.engine.items import Item
from workflow.engine.stream import Passage
from workflow.inference.canary import Trust
from workflow.inference.worker import Worker
from workflow.tables import DamagedFile, read_made_from, read_rows, write_table

_MOST_SPENT = 0.02
"""Share of its time that a process may spend on writing timings before it ends."""


@dataclass
class Timings:
    """The timings of a batch: of this process, beside those of others."""

    path: Path
    batch: str
    bucket: int
    trust: Trust
    network: str
    """Key of what computes; times of another one are of results that are no more."""
    process: int = 0
    offset: float = 0.0
    """When the processes before ended, in their own time."""
    rows: list[TimingRow] = field(default_factory=list)
    """Of this process."""
    _written: list[TimingRow] = field(default_factory=list)
    _origin: float | None = None
    _next_write: float = 0.0

    def add(self, passage: Passage[Item], worker: Worker) -> None:
        """Adds an item that went through; it is soon on disk, as nobody knows when
        the process is killed."""
        if self._origin is None:
            self._origin = min(start for start, _ in passage.spans.values())
        name = passage.item.name
        for phase, (start, end) in passage.spans.items():
            is_compute = phase == "compute"
            self.rows.append(
                TimingRow(
                    batch_id=self.batch,
                    process=self.process,
                    item=name,
                    phase=phase,
                    start=start - self._origin + self.offset,
                    end=end - self._origin + self.offset,
                    bucket=self.bucket,
                    num_tokens=worker.seen.num_tokens.get(name, -1),
                    rung=worker.rung,
                    failed=passage.failure is not None,
                    compiled=is_compute and name in worker.seen.compiled_for,
                    from_cache=is_compute and name in worker.seen.found_for,
                    device=worker.device,
                    node=self.trust.where,
                    canary=self.trust.verdict,
                    canary_seconds=self.trust.seconds,
                )
            )
        if time.monotonic() > self._next_write:
            self.write()

    def write(self) -> None:
        """Writes all there is.

        Two processes may be at work on a batch at once: what the other has written
        since stays, and its number is its own.
        """
        if not self.rows:
            return
        began = time.monotonic()
        known = _read(self.path, self.network)
        others = [row for row in known if row not in self._written]
        if any(row.process == self.process for row in others):
            self.process = _next_process(others)
            self.rows = [replace(row, process=self.process) for row in self.rows]
        table = TIMINGS.table(others + self.rows)
        write_table(self.path, TIMINGS, table, made_from=self.network)
        self._written = [r for r in TIMINGS.rows(table) if r.process == self.process]
        ended = time.monotonic()
        self._next_write = ended + (ended - began) / _MOST_SPENT


def begin_timings(
    path: Path, batch: str, bucket: int, trust: Trust, network: str
) -> Timings:
    """Takes up the timings of a batch where its last process left them."""
    rows = _read(path, network)
    offset = max((row.end for row in rows), default=0.0)
    return Timings(path, batch, bucket, trust, network, _next_process(rows), offset)


def _read(path: Path, network: str) -> list[TimingRow]:
    try:
        rows = read_rows(path, TIMINGS) if path.is_file() else []
    except DamagedFile as error:
        log(f"{error}; the times of earlier processes are lost")
        return []
    return rows if read_made_from(path) == network else []


def _next_process(rows: Sequence[TimingRow]) -> int:
    return max((row.process for row in rows), default=-1) + 1
