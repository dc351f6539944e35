"""What the devices did: for each batch, when the network ran and when it waited."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from af3_core.contracts import TIMINGS
from workflow.tables import DamagedFile, read_columns

MAX_LANES = 40
"""Batches that are drawn, the longest first; all are counted."""
_FINEST = 400
"""Gaps shorter than this part of a batch are not drawn."""

type Span = tuple[float, float, bool]
"""Start and end in s since the batch began, and whether it was for compiling."""


def describe_devices(results: Path) -> dict[str, Any] | None:
    """Totals of all batches and lanes of the longest; None where nothing was timed.

    `seconds` is from the first load to the last result, `busy` when the network ran,
    `compiling` the runs among them that began with compiling it.

    Raises:
        ContractError: a table of timings is not of the version this report reads.
    """
    lanes = [_lane(path) for path in sorted((results / "timings").glob("*.parquet"))]
    lanes = [lane for lane in lanes if lane is not None and lane["seconds"] > 0]
    if not lanes:
        return None
    longest = sorted(lanes, key=lambda lane: -lane["seconds"])[:MAX_LANES]
    totals = {
        name: round(sum(lane[name] for lane in lanes), 1)
        for name in ("seconds", "busy", "compiling")
    }
    devices = sorted({lane["device"] for lane in lanes})
    return {**totals, "batches": len(lanes), "devices": devices, "lanes": longest}


def _lane(path: Path) -> dict[str, Any] | None:
    """One batch; None if its times are damaged: nobody can measure them again."""
    try:
        rows = read_columns(path, TIMINGS).to_pylist()
    except DamagedFile:
        return None
    seconds = max((row["end"] for row in rows), default=0.0)
    computed = [row for row in rows if row["phase"] == "compute"]
    spans = [(row["start"], row["end"], row["compiled"]) for row in computed]
    drawn = merge_spans(spans, seconds / _FINEST)
    return {
        "batch": path.stem,
        "device": rows[0]["device"] if rows else "",
        "bucket": max((row["bucket"] for row in rows), default=0),
        "items": len({row["item"] for row in rows}),
        "seconds": seconds,
        "busy": sum(end - start for start, end, _ in merge_spans(spans, 0.0)),
        "compiling": sum(end - start for start, end, compiled in spans if compiled),
        "spans": [[round(start, 2), round(end, 2), c] for start, end, c in drawn],
    }


def merge_spans(spans: Iterable[Span], gap: float) -> list[Span]:
    """Spans in order, joined where the next of the same kind follows within the gap."""
    merged: list[Span] = []
    for start, end, compiled in sorted(spans):
        if merged and merged[-1][2] == compiled and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]), compiled)
        else:
            merged.append((start, end, compiled))
    return merged
