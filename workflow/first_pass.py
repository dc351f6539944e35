"""What a second pass takes from the first: nothing that is there is computed again.

A job of the best pairs says which campaign it was chosen from. What that campaign made
of it has a key, as everything has; where the key is the one computed here, the file is
copied. Of features that differ in their seeds alone only the conformers are made.
"""

import shutil
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from af3_core.contracts import JOBS, SCREEN_CHAINS
from af3_core.job import InputError
from workflow.campaign import Campaign
from workflow.engine.guard import Guard, log
from workflow.engine.items import Item
from workflow.keys import Keys, read_keys
from workflow.tables import (
    DamagedFile,
    is_current,
    read_columns,
    replacing,
)


def first_campaigns(campaign: Campaign, job_ids: Iterable[str]) -> dict[str, Campaign]:
    """By job, the campaign that it was chosen from; jobs of none are left out."""
    wanted = pa.array(list(job_ids), pa.string())
    is_wanted = pc.field("job_id").isin(wanted)
    chosen = read_columns(
        campaign.plan / "screen_chains.parquet",
        SCREEN_CHAINS,
        ["job_id", "first_campaign"],
        is_wanted & pc.field("first_campaign").is_valid(),
    )
    names = dict(zip(*chosen.to_pydict().values(), strict=True))
    if not names:
        return {}
    jobs = campaign.plan / "jobs.parquet"
    sources = read_columns(jobs, JOBS, ["job_id", "source"], is_wanted).to_pylist()
    # As `best: {of: …}` is read: from where the screen lies.
    return {
        row["job_id"]: Campaign(
            campaign.root / Path(row["source"]).parent / names[row["job_id"]]
        )
        for row in sources
        if row["job_id"] in names
    }


def take_over(campaign: Campaign, items: Sequence[Item]) -> None:
    """Copies results that the first pass has just as they are asked for."""
    todo = [item for item in items if item.job_id is not None and not item.is_done]
    firsts = first_campaigns(campaign, {str(item.job_id) for item in todo})
    for item in todo:
        first = firsts.get(str(item.job_id))
        if first is None:
            continue
        path = first.results / item.path.relative_to(campaign.results)
        with Guard(f"looking for {item} in the first pass"):
            if is_current(path, item.contract, made_from=item.made_from):
                with replacing(item.path) as temporary:
                    shutil.copyfile(path, temporary)
                log(f"{item}: taken from {path}")


class FirstFeatures:
    """The features of jobs that the first pass made, whatever its seeds."""

    def __init__(self, campaign: Campaign, keys: Keys, job_ids: Iterable[str]) -> None:
        self._keys = keys
        self._firsts = first_campaigns(campaign, job_ids)

    def find(self, item: Item) -> Path | None:
        """The file of a job's features; None where it has no equal ones."""
        first = self._firsts.get(item.name)
        theirs = None if first is None else _keys_of(first)
        if first is None or theirs is None or item.name not in theirs.plan.about:
            return None
        path = first.features(item.name)
        is_equal = theirs.features(item.name) == self._keys.features(item.name)
        made_from = theirs.features_file(item.name)
        if is_equal and is_current(path, item.contract, made_from=made_from):
            return path
        return None


@cache
def _keys_of(campaign: Campaign) -> Keys | None:
    try:
        return read_keys(campaign)
    except (InputError, DamagedFile) as error:
        log(f"nothing is taken from the first pass: {error}")
        return None
