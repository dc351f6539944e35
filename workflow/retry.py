"""Asks for another try of what failed.

A failure stands until its cause is removed: a larger partition, a free disk, another
node. `foldmill retry` notes in the journals of the batches concerned that such items
start at the bottom of their ladders again; the run that follows finds the note
(`workflow.survey`) and makes again what depends on them. Results that are there stay.
"""

from collections.abc import Collection

from af3_core.contracts import OUTCOMES
from workflow.batches import Plan
from workflow.campaign import Campaign
from workflow.engine.failures import CAUSES, Cause
from workflow.engine.journal import Journal
from workflow.stages import STAGES
from workflow.tables import DamagedFile, read_rows

RETRIABLE: tuple[Cause, ...] = tuple(c for c in CAUSES if c not in ("input",))
"""A wrong input has to be mended; it then is another input, and runs anyway."""


def ask_for_retry(
    campaign: Campaign, plan: Plan, causes: Collection[Cause] = RETRIABLE
) -> int:
    """Notes that items which failed for these causes are to be tried again.

    Returns:
        How many items that are.
    """
    items: set[str] = set()
    for stage in STAGES:
        for batch in plan.of_kind(stage.kind):
            try:
                rows = read_rows(campaign.outcomes(stage.name, batch), OUTCOMES)
            except (FileNotFoundError, DamagedFile):
                continue  # it is made again anyway
            failed = {
                str(row.item)
                for row in rows
                if row.status == "failed" and row.cause in causes
            }
            if failed:
                items |= failed
                Journal(campaign.journal(stage.name, batch)).write("reset")
    return len(items)
