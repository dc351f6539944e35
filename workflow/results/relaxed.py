"""Relaxed structures at rest: one file for each batch, one item read without the rest.

While a batch is relaxed, every item has a file of its own, so that a step that is
killed goes on with the next item. At the end they become one file with a row group for
each item. Before a batch is relaxed again, its file is taken apart. A row thus lies in
one file at any time, and what was relaxed once is found again.
"""

import functools
import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from af3_core.contracts import RELAXED
from workflow.batches import load_plan, plan_path
from workflow.campaign import Campaign
from workflow.engine.items import Item, log
from workflow.tables import (
    ContractError,
    encodings,
    read_table,
    replacing,
    write_table,
)

_ITEMS = b"items"
"""Metadata of a batch's file: JSON of what each item was made from, in order."""
_MAGIC = b"PAR1"


def join_relaxed(path: Path, items: Sequence[Item]) -> None:
    """Makes a batch's file of those of its items that are done, and removes theirs."""
    done = {item.name: item for item in items if item.is_done}
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(
            temporary, RELAXED.schema, compression="zstd", **encodings(RELAXED.schema)
        ) as writer,
    ):
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
        except (pa.ArrowException, ContractError, OSError, LookupError) as error:
            log(f"left aside: {campaign.relaxed(name)}: {error}")


def _part(campaign: Campaign, batch: str) -> None:
    path = campaign.relaxed(batch)
    with pq.ParquetFile(path) as file:
        made_from = json.loads((file.metadata.metadata or {})[_ITEMS])
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
    footer, groups = _footer(path, path.stat().st_mtime_ns)
    if item not in groups:
        return None
    with pq.ParquetFile(path, metadata=footer) as file:
        return RELAXED.check(file.read_row_group(groups[item]), where=str(path))


@functools.lru_cache(maxsize=1)
def _batch_of_items(campaign: Campaign, changed: int) -> dict[str, str]:
    planned = load_plan(campaign)
    if planned is None:
        path = plan_path(campaign)
        raise FileNotFoundError(f"{path}: none that this version reads; plan again")
    return {item: name for name, batch in planned.jobs.items() for item in batch.items}


@functools.lru_cache(maxsize=8)
def _footer(path: Path, changed: int) -> tuple[pq.FileMetaData, dict[str, int]]:
    """Of a batch's file: its footer, and in which row group each item is."""
    footer = pq.read_metadata(path)
    names = json.loads(footer.metadata[_ITEMS])
    return footer, {name: group for group, name in enumerate(names)}


def is_whole(path: Path) -> bool:
    """Whether a Parquet file is there from its first byte to its last."""
    try:
        with path.open("rb") as file:
            starts = file.read(len(_MAGIC)) == _MAGIC
            file.seek(-len(_MAGIC), os.SEEK_END)
            return starts and file.read() == _MAGIC
    except OSError:
        return False
