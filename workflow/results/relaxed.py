"""Relaxed structures at rest: one file for each batch, one item read without the rest.

While a batch is relaxed, every item has a file of its own, so that a step that is
killed goes on with the next item. At the end they become one file with a row group for
each item. Before a batch is relaxed again, its file is taken apart. A row thus lies in
one file at any time, and what was relaxed once is found again.
"""

import functools
import json
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa

from af3_core.contracts import RELAXED
from workflow.batches import load_plan, plan_path
from workflow.campaign import Campaign
from workflow.engine.items import Item, log
from workflow.tables import (
    ContractError,
    DamagedFile,
    open_table,
    read_notes,
    read_table,
    table_writer,
    verify,
    write_table,
)

_ITEMS = "items"
"""Metadata of a batch's file: JSON of what each item was made from, in order."""


def join_relaxed(path: Path, items: Sequence[Item]) -> None:
    """Makes a batch's file of those of its items that are done, and removes theirs."""
    done = {item.name: item for item in items if item.is_done}
    with table_writer(path, RELAXED) as writer:
        for item in done.values():
            table = read_table(item.path, RELAXED)
            writer.write_table(table, row_group_size=max(1, table.num_rows))
        made_from = {name: item.made_from for name, item in done.items()}
        writer.add_key_value_metadata({_ITEMS: json.dumps(made_from)})
    for item in items:
        item.path.unlink(missing_ok=True)


def part_relaxed(campaign: Campaign, batch: str, planned: Collection[str]) -> None:
    """Gives every item of a batch its own file again, if the batch has been joined.

    So do the items of batches that are not `planned` any more: those that are still
    wanted have moved to other batches.
    """
    paths = campaign.relaxed(batch).parent.glob("*.parquet")
    joined = {path.stem for path in paths if "." not in path.stem}
    for name in sorted(joined - (set(planned) - {batch})):
        try:
            _part(campaign, name)
        except FileNotFoundError:
            continue  # the step of another batch was faster
        except DamagedFile as error:
            log(f"{error}; its items are relaxed again")
            campaign.relaxed(name).unlink(missing_ok=True)
        except (pa.ArrowException, ContractError, OSError, LookupError) as error:
            log(f"left aside: {campaign.relaxed(name)}: {error}")


def _part(campaign: Campaign, batch: str) -> None:
    path = campaign.relaxed(batch)
    verify(path)
    with open_table(path) as file:
        made_from = json.loads(read_notes(path)[_ITEMS])
        for group, item in enumerate(made_from):
            # A file of the item's own can only be newer.
            own = campaign.relaxed(item)
            if not own.exists():
                table = RELAXED.check(file.read_row_group(group), where=str(path))
                write_table(own, RELAXED, table, made_from=made_from[item])
    path.unlink()


def read_relaxed(campaign: Campaign, item: str) -> pa.Table | None:
    """The relaxed samples of one `job.seed`; None where it could not be relaxed.

    Raises:
        FileNotFoundError: its batch has not been relaxed, or is being relaxed again.
        LookupError: the campaign does not have the item.
    """
    campaign = Campaign.of_results(campaign.results)
    plan = plan_path(campaign)
    batch = _batch_of_items(campaign, plan.stat().st_mtime_ns).get(item)
    if batch is None:
        raise LookupError(f"{item} is in no batch of {plan}")
    path = campaign.relaxed(batch)
    names = json.loads(read_notes(path)[_ITEMS])
    if item not in names:
        return None
    with open_table(path) as file:
        group = file.read_row_group(list(names).index(item))
        return RELAXED.check(group, where=str(path))


@functools.lru_cache(maxsize=1)
def _batch_of_items(campaign: Campaign, changed: int) -> dict[str, str]:
    planned = load_plan(campaign)
    if planned is None:
        path = plan_path(campaign)
        raise FileNotFoundError(f"{path}: none that this version reads; plan again")
    return {item: name for name, batch in planned.jobs.items() for item in batch.items}


def is_whole(path: Path) -> bool:
    """Whether a batch's file is there as it was written."""
    try:
        verify(path)
    except (DamagedFile, FileNotFoundError):
        return False
    return True
