"""Takes back the word of batches that have failed items, so that these are tried again.

A failure stands until its cause is removed: a larger partition, a free disk, another
node. `foldmill retry` then starts such items at the bottom of their ladders again.
Results that are there stay.
"""

from collections.abc import Collection

from workflow.batches import Plan
from workflow.campaign import Campaign
from workflow.dag import withdraw
from workflow.engine.failures import CAUSES, Cause
from workflow.engine.items import unfinished
from workflow.engine.journal import Journal
from workflow.stages import JOB_STAGES, from_stage

RETRIABLE: tuple[Cause, ...] = tuple(c for c in CAUSES if c not in ("input",))
"""A wrong input has to be mended; it then is another input, and runs anyway."""


def withdraw_failures(
    campaign: Campaign, plan: Plan, causes: Collection[Cause] = RETRIABLE
) -> int:
    """Makes Snakemake run the batches again in which items failed for these causes.

    Returns:
        How many items will be tried again.
    """
    items: set[str] = set()
    for stage in JOB_STAGES:
        for batch in plan.of_kind(stage.kind):
            outcomes = campaign.outcomes(stage.name, batch)
            rows = unfinished(outcomes).values() if outcomes.is_file() else ()
            failed = {
                str(row.item)
                for row in rows
                if row.status == "failed" and row.cause in causes
            }
            if failed:
                items |= failed
                Journal(campaign.journal(stage.name, batch)).write("reset")
                withdraw(campaign, batch, from_stage(stage.name))
    return len(items)
