"""Draws when each item of a predict batch was loaded, computed and finished.

    python -m workflow.timeline [BATCH …] --out results/timeline.svg

reads the timings that batches recorded; without names it draws the latest ones. A gap
in the row of the device is time that nobody computed. With each batch it says what the
devices showed before they were trusted (`workflow.inference.canary`).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from af3_core.contracts import TIMINGS, TimingRow
from af3_core.job import InputError
from workflow.campaign import Campaign
from workflow.step import run_step
from workflow.tables import read_rows, replacing

PHASES = ("load", "compute", "finish")
_LABELS = {"load": "load", "compute": "device", "finish": "finish"}
_COLOURS = {"load": "#4c78a8", "compute": "#54a24b", "finish": "#b279a2"}
_COMPILING = "#d9d9d9"
_MOST_DRAWN = 8

type Span = tuple[float, float]


@dataclass(frozen=True)
class BatchTimes:
    """One batch as its timings table has it."""

    batch: str
    rows: list[TimingRow]

    def spans(self, phase: str) -> list[Span]:
        """Beginning and end of a phase of each item, s, in order."""
        rows = (row for row in self.rows if row.phase == phase)
        return sorted((row.start, row.end) for row in rows)

    @property
    def idle(self) -> float:
        """Share of the time between first and last item that the device waited."""
        return device_idle(self.spans("compute"))

    @property
    def begins(self) -> list[float]:
        """When each process but the first began, s."""
        starts: dict[int, float] = {}
        for row in self.rows:
            starts[row.process] = min(row.start, starts.get(row.process, row.start))
        return [start for _, start in sorted(starts.items())][1:]

    @property
    def title(self) -> str:
        """What the batch was, in one line."""
        first = self.rows[0]
        computed = self.spans("compute")
        busy = sum(end - start for start, end in computed)
        processes = f"{len(self.begins) + 1} processes, " if self.begins else ""
        return (
            f"{self.batch} · {first.bucket} tokens · {first.device} · "
            f"{processes}{len(computed)} items, {busy:.1f} s computing · "
            f"device idle between items {self.idle:.1%}"
        )

    @property
    def canaries(self) -> list[str]:
        """What each device that worked on the batch showed before, one line each."""
        lines = {
            f"{row.node}: {row.canary}; {row.canary_seconds * 1e3:.2f} ms"
            for row in self.rows
        }
        return sorted(lines)


def device_idle(spans: Sequence[Span]) -> float:
    """Share of the time from the first span's start to the last one's end not covered.

    Spans do not overlap, as a device computes one item at a time.
    """
    if not spans:
        return 0.0
    wall = max(end for _, end in spans) - min(start for start, _ in spans)
    return 1 - sum(end - start for start, end in spans) / wall if wall else 0.0


def read_times(campaign: Campaign, batches: Sequence[str] = ()) -> list[BatchTimes]:
    """Timings of these batches, or of the latest ones that recorded any.

    Raises:
        InputError: a batch has no timings, or none has.
    """
    folder = campaign.timings("x").parent
    paths = [campaign.timings(batch) for batch in batches]
    if not batches:
        recorded = sorted(folder.glob("*.parquet"), key=lambda p: p.stat().st_mtime_ns)
        paths = recorded[-_MOST_DRAWN:]
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        allowed = "a predict batch that has run"
        raise InputError(str(folder), "batch", ", ".join(batches) or "none", allowed)
    return [BatchTimes(path.stem, read_rows(path, TIMINGS)) for path in paths]


def draw_timeline(times: Sequence[BatchTimes], path: Path) -> None:
    """Writes a picture, SVG or PNG by the file's ending: one panel for each batch."""
    # Matplotlib takes a second to load.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.6 + 1.5 * len(times)), layout="constrained")
    panels = figure.subplots(len(times), 1, squeeze=False)[:, 0]
    for axes, batch in zip(panels, times, strict=True):
        for height, phase in enumerate(reversed(PHASES)):
            rows = [row for row in batch.rows if row.phase == phase]
            axes.broken_barh(
                [(row.start, row.end - row.start) for row in rows],
                (height + 0.1, 0.8),
                facecolors=[
                    _COMPILING if row.compiled else _COLOURS[phase] for row in rows
                ],
                edgecolor="white",
                linewidth=0.2,
            )
        axes.set_yticks([0.5, 1.5, 2.5], [_LABELS[p] for p in reversed(PHASES)])
        for begin in batch.begins:
            axes.axvline(begin, color="black", linewidth=0.8, linestyle=":")
        title = "\n".join([batch.title, *(f"canary {c}" for c in batch.canaries)])
        axes.set_title(title, loc="left", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel(
        "seconds since the batch began (grey: with compilation; dotted: a new process)"
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix(".") or "svg")


def main(argv: list[str] | None = None) -> int:
    """Draws a timeline."""
    parser = argparse.ArgumentParser(
        prog="workflow.timeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("batches", nargs="*", metavar="BATCH")
    parser.add_argument("--out", type=Path, default=Campaign().results / "timeline.svg")
    arguments = parser.parse_args(argv)
    return run_step(lambda: _draw(arguments.batches, arguments.out))


def _draw(batches: Sequence[str], path: Path) -> None:
    times = read_times(Campaign(), batches)
    draw_timeline(times, path)
    for batch in times:
        print(batch.title, *(f"  canary {c}" for c in batch.canaries), sep="\n")
    print(f"Timeline: {path.resolve()}")


if __name__ == "__main__":
    raise SystemExit(main())
