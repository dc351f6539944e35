"""Rows with types: a dataclass is the schema of a table, and its rows.

The fields of a class made with `row` are the columns, in order. A field's type says the
element both in Python and in Arrow, `| None` allows nulls, and `column` its meaning and
unit. Lists of numbers are NumPy arrays in a row, so that a matrix of a million numbers
is one object; so they are, flat and in C order, in the file.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import UnionType
from typing import (
    Annotated,
    Any,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import pyarrow as pa
from numpy import ndarray


class _NoPandas:
    """Says to an import that there is no pandas here."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


def _spare_pandas() -> None:
    """Lets PyArrow find no pandas when it looks whether a value is one of pandas'.

    It looks once, at its first array, and would import pandas for it: half a second of
    every command and step. When it is asked for pandas' types, it looks again.
    """
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas)
        try:
            pa.array([None])
        finally:
            sys.meta_path.remove(_NoPandas)


_spare_pandas()

Text = Annotated[str, pa.string()]
LargeText = Annotated[str, pa.large_string()]
"""For texts of a table that together exceed 2 GB."""
Bytes = Annotated[bytes, pa.large_binary()]
Bool = Annotated[bool, pa.bool_()]
Int = Annotated[int, pa.int32()]
Int64 = Annotated[int, pa.int64()]
Seed = Annotated[int, pa.uint32()]
Float = Annotated[float, pa.float32()]
Double = Annotated[float, pa.float64()]
Texts = Annotated[list[str], pa.list_(pa.string())]
Seeds = Annotated[list[int], pa.list_(pa.uint32())]
Shape = Annotated[list[int], pa.list_(pa.int64())]
Ints = Annotated[ndarray, pa.list_(pa.int32())]
Floats = Annotated[ndarray, pa.list_(pa.float32())]
UInt8s = Annotated[ndarray, pa.list_(pa.uint8())]
UInt16s = Annotated[ndarray, pa.list_(pa.uint16())]


class ContractError(TypeError):
    """A table is not what its contract says. A developer has to mend it."""


def column(doc: str, unit: str = "") -> Any:
    """The field of a row: what it means, and its unit where it has one."""
    return field(metadata={"doc": doc, "unit": unit})


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(column,)
)
def row[T](kind: type[T]) -> type[T]:
    """Makes a class of annotated columns a frozen dataclass, its fields by keyword."""
    return dataclass(frozen=True, kw_only=True)(kind)


@dataclass(frozen=True)
class Column:
    """One column. `unit` is "" where there is none to state."""

    name: str
    type: pa.DataType
    doc: str
    unit: str
    nullable: bool
    is_array: bool
    """A row holds NumPy numbers, not a list of Python's."""


def columns_of(kind: type) -> tuple[Column, ...]:
    """The columns that the fields of a `row` class declare."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        _column(f.name, hints[f.name], f.metadata["doc"], f.metadata["unit"])
        for f in fields(kind)
    )


def _column(name: str, hint: Any, doc: str, unit: str) -> Column:
    nullable = get_origin(hint) in (Union, UnionType)
    if nullable:
        (hint,) = (arm for arm in get_args(hint) if arm is not type(None))
    python, arrow = get_args(hint)
    return Column(name, arrow, doc, unit, nullable, python is ndarray)


@dataclass(frozen=True)
class Contract[T]:
    """The exact schema of one kind of table, and the class of its rows."""

    row: type[T]
    name: str
    version: int
    key: tuple[str, ...]
    """Columns whose values together name a row; no two rows share them."""

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns in order."""
        return columns_of(self.row)

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema with name, version, key and units as metadata."""
        made = [
            pa.field(
                c.name, c.type, c.nullable, metadata={"unit": c.unit, "doc": c.doc}
            )
            for c in self.columns
        ]
        return pa.schema(
            made,
            metadata={
                "contract": self.name,
                "version": str(self.version),
                "key": ",".join(self.key),
            },
        )

    def table(self, rows: Sequence[T | Mapping[str, Any]]) -> pa.Table:
        """Makes a table from rows; a missing or extra column is an error."""
        values = [_values(each) for each in rows]
        names = {c.name for c in self.columns}
        for each in values:
            if each.keys() != names:
                raise ContractError(
                    f"{self.name}: row has columns {sorted(each.keys() ^ names)} "
                    "too many or too few"
                )
        return pa.table(
            [pa.array([each[c.name] for each in values], c.type) for c in self.columns],
            schema=self.schema,
        )

    def check(self, table: pa.Table, *, where: str) -> pa.Table:
        """Returns the table if it fulfils the contract, else raises ContractError."""
        wanted = self.schema
        if not table.schema.equals(wanted, check_metadata=False):
            raise ContractError(
                f"{where}: found schema\n{table.schema.remove_metadata()}\n"
                f"wanted {self.name} version {self.version}\n"
                f"{wanted.remove_metadata()}"
            )
        self.check_stamp(table.schema, where=where)
        for c in self.columns:
            if not c.nullable and table[c.name].null_count:
                raise ContractError(f"{where}: nulls in column {c.name}")
        if self.key and table.num_rows:
            keys = table.select(list(self.key))
            if keys.group_by(list(self.key)).aggregate([]).num_rows != keys.num_rows:
                raise ContractError(f"{where}: rows share the key {self.key}")
        return table

    def check_stamp(self, schema: pa.Schema, *, where: str) -> None:
        """Raises ContractError where a file is of another contract or version."""
        metadata = schema.metadata or {}
        found = (metadata.get(b"contract"), metadata.get(b"version"))
        if found != (self.name.encode(), str(self.version).encode()):
            raise ContractError(
                f"{where}: holds {found}, wanted {self.name} version {self.version}"
            )

    def rows(self, table: pa.Table) -> list[T]:
        """The rows of a table of this contract."""
        return rows_of(table, self.row)


def _values(row: object) -> Mapping[str, Any]:
    return row if isinstance(row, Mapping) else vars(row)


def rows_of[T](table: pa.Table, kind: type[T]) -> list[T]:
    """Rows of a `row` class whose fields are among a table's columns.

    A class with fewer fields than the table has columns reads only what it names.
    """
    columns = columns_of(kind)
    values = [
        _arrays(table[c.name]) if c.is_array else table[c.name].to_pylist()
        for c in columns
    ]
    names = [c.name for c in columns]
    return [
        kind(**dict(zip(names, each, strict=True)))
        for each in zip(*values, strict=True)
    ]


def _arrays(lists: pa.ChunkedArray) -> list[ndarray | None]:
    """Views of a column's lists of numbers; nothing is copied."""
    found: list[ndarray | None] = []
    for chunk in lists.chunks:
        offsets, numbers = chunk.offsets.to_numpy(), chunk.values
        flat = numbers.to_numpy(zero_copy_only=numbers.null_count == 0)
        is_null = chunk.is_null().to_numpy(zero_copy_only=False)
        found += [
            None if null else flat[start:end]
            for start, end, null in zip(offsets, offsets[1:], is_null, strict=False)
        ]
    return found
