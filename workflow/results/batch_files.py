"""Tables that a batch has one file of, in which one item is read without the rest.

While a batch is worked on, every item has a file of its own, so that a step that is
killed goes on with the next item. At the end they become one file with a row group for
each item, which says what each was made from. Before a batch is worked on again, its
file is taken apart: what is current is found again, and only the rest is made.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from af3_core.columns import Contract
from workflow.engine.items import log
from workflow.tables import (
    ContractError,
    DamagedFile,
    open_table,
    read_made_from,
    read_notes,
    read_table,
    table_writer,
    verify,
    write_table,
)

_ITEMS = "items"
"""Metadata of a batch's file: JSON of what each item was made from, in order."""


@dataclass(frozen=True)
class BatchFiles[T]:
    """The files of one contract."""

    contract: Contract[T]
    path: Callable[[str], Path]
    """Of a batch, or of an item until its batch is complete."""

    def part(self, batch: str) -> None:
        """Gives every item of a batch its own file again, if they were joined."""
        path = self.path(batch)
        try:
            verify(path)
            with open_table(path) as file:
                for group, (item, made_from) in enumerate(self._items(path).items()):
                    # A file of the item's own can only be newer.
                    own = self.path(item)
                    if not own.exists():
                        table = file.read_row_group(group)
                        table = self.contract.check(table, where=str(path))
                        write_table(own, self.contract, table, made_from=made_from)
        except FileNotFoundError:
            return
        except (DamagedFile, ContractError) as error:
            log(f"{error}; its items are made again")
        path.unlink(missing_ok=True)

    def join(self, batch: str, items: Sequence[str]) -> None:
        """Makes a batch's file of those of its items, and removes theirs.

        Another process may be at work on the batch, and have joined some already.
        """
        own = {item: self.path(item) for item in items if self.path(item).is_file()}
        joined = self._joined(batch, set(items) - own.keys())
        made_from = {item: read_made_from(path) for item, path in own.items()}
        with table_writer(self.path(batch), self.contract) as writer:
            for path in own.values():
                table = read_table(path, self.contract)
                writer.write_table(table, row_group_size=max(1, table.num_rows))
            for item, (source, table) in joined.items():
                writer.write_table(table, row_group_size=max(1, table.num_rows))
                made_from[item] = source
            writer.add_key_value_metadata({_ITEMS: json.dumps(made_from)})
        for path in own.values():
            path.unlink(missing_ok=True)

    def _joined(
        self, batch: str, items: Collection[str]
    ) -> dict[str, tuple[str, pa.Table]]:
        """Of these items, what a batch's file says they were made from, and rows."""
        path, found = self.path(batch), {}
        try:
            verify(path)
            with open_table(path) as file:
                for group, (item, source) in enumerate(self._items(path).items()):
                    if item in items:
                        table = file.read_row_group(group)
                        where = str(path)
                        found[item] = source, self.contract.check(table, where=where)
        except (FileNotFoundError, DamagedFile, ContractError):
            return {}
        return found

    def rows(self, batch: str, item: str) -> list[T]:
        """The rows of one item; none where it could not be made.

        Raises:
            DamagedFile: the batch's file is not as it was written.
            FileNotFoundError: the batch is not complete.
        """
        path = self.path(batch)
        items = list(self._items(path))
        if item not in items:
            return []
        with open_table(path) as file:
            table = file.read_row_group(items.index(item))
        return self.contract.rows(self.contract.check(table, where=str(path)))

    def made_from(self, batch: str, item: str) -> str:
        """What an item was made from; "" where it could not be made.

        Raises:
            DamagedFile: the batch's file is not as it was written.
            FileNotFoundError: the batch is not complete.
        """
        return self._items(self.path(batch)).get(item, "")

    def _items(self, path: Path) -> dict[str, str]:
        """What each item of a batch's file was made from, in order."""
        return json.loads(read_notes(path)[_ITEMS])


def is_whole(path: Path) -> bool:
    """Whether a batch's file is there as it was written."""
    try:
        verify(path)
    except (DamagedFile, FileNotFoundError):
        return False
    return True
