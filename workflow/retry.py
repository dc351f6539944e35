"""Takes back the word of batches that have failed items, so that these are tried again.

A failure stands until its cause is removed: a larger partition, a free disk, another
node. `foldmill retry` then starts such items at the bottom of their ladders again.
Results that are there stay.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from workflow.campaign import RESULTS, TABLES, outcomes_path
from workflow.manifest import Manifest
from workflow.running.failures import CAUSES, Cause
from workflow.running.items import unfinished
from workflow.running.journal import Journal, journal_path

_STAGES = ("featurise", "predict", "relax", "score", "export")
RETRIABLE: tuple[Cause, ...] = tuple(c for c in CAUSES if c not in ("input",))
"""A wrong input has to be mended; it then is another input, and runs anyway."""


def withdraw_failures(manifest: Manifest, causes: Collection[Cause] = RETRIABLE) -> int:
    """Makes Snakemake run the batches again in which items failed for these causes.

    Returns:
        How many items will be tried again.
    """
    items: set[str] = set()
    for first, stage in enumerate(_STAGES):
        for batch in manifest.jobs:
            outcomes = outcomes_path(stage, batch)
            rows = unfinished(outcomes).values() if outcomes.is_file() else ()
            failed = {
                str(row["item"])
                for row in rows
                if row["status"] == "failed" and row["cause"] in causes
            }
            if failed:
                items |= failed
                Journal(journal_path(stage, batch)).write("reset")
                for path in _made_from(batch, _STAGES[first:]):
                    path.unlink(missing_ok=True)
    return len(items)


def _made_from(batch: str, stages: Collection[str]) -> Iterator[Path]:
    """Outcomes of these stages, and the tables that go with them."""
    yield from (outcomes_path(stage, batch) for stage in stages)
    yield RESULTS / "score" / f"{batch}.scores.parquet"
    yield RESULTS / "score" / f"{batch}.interfaces.parquet"
    yield TABLES / "scores.parquet"
