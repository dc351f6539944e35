"""Rows are what the table says, numbers as NumPy arrays without a copy."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from af3_core.columns import (
    Contract,
    ContractError,
    Float,
    Floats,
    Int,
    Text,
    UInt16s,
    column,
    row,
    rows_of,
)


@row
class Measured:
    """What an instrument gave."""

    name: Text = column("of the sample")
    count: Int = column("how many")
    mass: Float | None = column("of the sample", "g")
    trace: Floats | None = column("over time", "V")
    matrix: UInt16s = column("n × n, C order")


MEASURED = Contract(Measured, "measured", 1, ("name",))


def measured(
    name: str, trace: list[float] | None, *, mass: float | None = None
) -> Measured:
    """One row."""
    return Measured(
        name=name,
        count=3,
        mass=mass,
        trace=None if trace is None else np.array(trace, np.float32),
        matrix=np.arange(4, dtype=np.uint16),
    )


def test_the_schema_of_a_row_has_its_types_units_and_nulls() -> None:
    field = MEASURED.schema.field("mass")
    assert (field.type, field.nullable) == (pa.float32(), True)
    assert field.metadata == {b"unit": b"g", b"doc": b"of the sample"}
    assert MEASURED.schema.field("matrix").type == pa.list_(pa.uint16())
    assert not MEASURED.schema.field("count").nullable


def test_rows_come_back_from_a_table_as_they_were() -> None:
    rows = [measured("a", [1.0, 2.0], mass=0.5), measured("b", None)]
    first, second = MEASURED.rows(MEASURED.check(MEASURED.table(rows), where="here"))
    assert (first.name, first.count, first.mass) == ("a", 3, 0.5)
    assert first.trace is not None
    assert first.trace.tolist() == [1.0, 2.0]
    assert (second.name, second.mass, second.trace) == ("b", None, None)
    assert second.matrix.tolist() == [0, 1, 2, 3]


def test_rows_of_a_sliced_or_chunked_table_are_those_of_the_whole() -> None:
    table = MEASURED.table([measured(n, [float(i)]) for i, n in enumerate("abcd")])
    parts = pa.concat_tables([table.slice(1, 2), table.slice(3)])
    found = [(r.name, r.trace) for r in MEASURED.rows(parts)]
    assert [(n, t.tolist()) for n, t in found if t is not None] == [
        ("b", [1.0]),
        ("c", [2.0]),
        ("d", [3.0]),
    ]


def test_numbers_of_a_row_are_the_tables_own_memory() -> None:
    table = MEASURED.table([measured("a", [0.0])])
    (found,) = MEASURED.rows(table)
    chunk = table["matrix"].chunk(0).values
    assert found.matrix.__array_interface__["data"][0] == chunk.buffers()[1].address


def test_a_class_of_fewer_columns_reads_no_others() -> None:
    @row
    class Named:
        name: Text = column("of the sample")

    table = MEASURED.table([measured("a", None)]).select(["name"])
    assert [each.name for each in rows_of(table, Named)] == ["a"]


def test_a_row_without_a_column_is_refused() -> None:
    values = {"name": "a", "count": 3, "mass": None, "trace": None}
    with pytest.raises(ContractError, match="matrix"):
        MEASURED.table([values])


def test_a_null_where_the_type_has_none_is_refused() -> None:
    values = {"name": None, "count": 3, "mass": None, "trace": None, "matrix": []}
    with pytest.raises(ContractError, match="nulls in column name"):
        MEASURED.check(MEASURED.table([values]), where="here")


def test_matrices_survive_a_file_with_their_element_type() -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(MEASURED.table([measured("a", None)]), sink)
    table = pq.read_table(pa.BufferReader(sink.getvalue()))
    (found,) = MEASURED.rows(table)
    assert found.matrix.dtype == np.uint16
