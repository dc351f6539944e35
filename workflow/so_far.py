"""The tables of a campaign at any moment, also while it is under way.

`results/tables` is there when all batches are. Until then the same tables are gathered,
for whoever asks, of the batches and items that are finished; nothing of the campaign is
changed.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from af3_core.contracts import SCORES
from workflow.batches import refuse_other_release
from workflow.campaign import Campaign, split_item
from workflow.collect import collect_tables
from workflow.step import read_plan
from workflow.tables import DamagedFile, read_columns

_FIRST_AND_LAST = ("scores.parquet", "outcomes.parquet")
"""Of the tables that are written at the end."""
_TRIES = 5


@contextmanager
def with_tables(campaign: Campaign) -> Iterator[Campaign]:
    """The campaign with tables of all that is finished now.

    Raises:
        InputError: it is not planned yet, or of another release.
    """
    refuse_other_release(campaign)
    if all((campaign.tables / name).is_file() for name in _FIRST_AND_LAST):
        yield campaign
        return
    with tempfile.TemporaryDirectory(prefix="foldmill-") as folder:
        so_far = replace(campaign, tables_so_far=Path(folder))
        _gather(so_far)
        yield so_far


def _gather(so_far: Campaign) -> None:
    """Files of items become one of their batch between two looks: look again."""
    for _ in range(_TRIES - 1):
        try:
            collect_tables(so_far)
        except (FileNotFoundError, DamagedFile):
            continue
        return
    collect_tables(so_far)


def describe_so_far(campaign: Campaign) -> str:
    """How many jobs have results in tables so far; "" for those of a whole campaign."""
    if campaign.tables_so_far is None:
        return ""
    items = (
        item for batch in read_plan(campaign).jobs.values() for item in batch.items
    )
    wanted = {split_item(item)[0] for item in items}
    path = campaign.tables / "scores.parquet"
    scored = set(read_columns(path, SCORES, ["job_id"])["job_id"].to_pylist())
    return f"So far: {len(scored)} of {len(wanted)} jobs have results."
