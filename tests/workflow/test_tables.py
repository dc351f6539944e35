"""Tables: whole or not at all, and exactly what their contract says."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from af3_core.columns import Contract, ContractError
from af3_core.contracts import INTERFACES, OUTCOMES, OutcomeRow
from workflow.engine.items import outcome
from workflow.tables import (
    DamagedFile,
    concatenate,
    is_current,
    read_columns,
    read_json,
    read_rows,
    read_table,
    replacing,
    write_json,
    write_table,
)


def outcomes(*items: str) -> pa.Table:
    return OUTCOMES.table([outcome("predict", "b", item) for item in items])


def test_a_table_reads_back_as_it_was_written(tmp_path: Path) -> None:
    write_table(tmp_path / "x.parquet", OUTCOMES, outcomes("a", "b"))
    assert read_table(tmp_path / "x.parquet", OUTCOMES).equals(outcomes("a", "b"))


def test_contract_version_and_units_travel_in_the_file(tmp_path: Path) -> None:
    write_table(tmp_path / "x.parquet", OUTCOMES, outcomes("a"))
    schema = pq.read_schema(tmp_path / "x.parquet")
    assert schema.metadata[b"contract"] == b"outcomes"
    assert schema.field("seconds").metadata[b"unit"] == b"s"


def test_a_table_of_another_contract_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "x.parquet", OUTCOMES, outcomes("a"))
    with pytest.raises(ContractError, match="wanted interfaces"):
        read_table(tmp_path / "x.parquet", INTERFACES)


def test_a_table_of_another_version_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "x.parquet", OUTCOMES, outcomes("a"))
    newer = Contract(OutcomeRow, "outcomes", 99, OUTCOMES.key)
    with pytest.raises(ContractError, match="version 99"):
        read_table(tmp_path / "x.parquet", newer)


def test_two_rows_with_one_key_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="rows share the key"):
        write_table(tmp_path / "x.parquet", OUTCOMES, outcomes("a", "a"))


def test_a_null_where_none_may_be_is_refused() -> None:
    row = {**vars(outcome("predict", "b", "a")), "status": None}
    with pytest.raises(ContractError, match="nulls in column status"):
        OUTCOMES.check(OUTCOMES.table([row]), where="here")


def test_a_row_with_a_column_too_many_is_refused() -> None:
    with pytest.raises(ContractError, match="extra"):
        OUTCOMES.table([{**vars(outcome("predict", "b", "a")), "extra": 1}])


def test_a_block_that_fails_leaves_the_old_file_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]
    assert path.read_text() == "old"


def test_a_table_made_from_something_else_is_not_current(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_table(path, OUTCOMES, outcomes("a"), made_from="one")
    assert is_current(path, OUTCOMES, made_from="one")
    assert not is_current(path, OUTCOMES, made_from="other")


def test_a_truncated_file_is_not_current(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_table(path, OUTCOMES, outcomes("a"), made_from="one")
    path.write_bytes(path.read_bytes()[:-20])
    assert not is_current(path, OUTCOMES, made_from="one")


def test_tables_of_many_batches_become_one(tmp_path: Path) -> None:
    paths = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    write_table(paths[0], OUTCOMES, outcomes("a"), made_from="one")
    write_table(paths[1], OUTCOMES, outcomes("b"), made_from="two")
    merged = concatenate(paths, OUTCOMES)
    write_table(tmp_path / "all.parquet", OUTCOMES, merged)
    assert [r.item for r in read_rows(tmp_path / "all.parquet", OUTCOMES)] == [
        "a",
        "b",
    ]


def test_no_byte_of_a_table_can_change_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_table(path, OUTCOMES, outcomes("a", "b"), made_from="one")
    written = path.read_bytes()
    for place in range(len(written)):
        damaged = bytearray(written)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(DamagedFile, match=r"x\.parquet is damaged"):
            read_table(path, OUTCOMES)
        assert not is_current(path, OUTCOMES, made_from="one")


@pytest.mark.parametrize("length", [0, 3, 8, 500, -1])
def test_no_end_of_a_table_can_be_missing_unnoticed(
    tmp_path: Path, length: int
) -> None:
    path = tmp_path / "x.parquet"
    write_table(path, OUTCOMES, outcomes("a"))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedFile):
        read_table(path, OUTCOMES)


def test_a_damaged_page_is_noticed_where_only_some_columns_are_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.parquet"
    write_table(path, OUTCOMES, outcomes(*(f"item {n}" for n in range(999))))
    first = pq.read_metadata(path).row_group(0).column(2)
    written = path.read_bytes()
    for place in (first.total_compressed_size // 2, first.total_compressed_size - 1):
        damaged = bytearray(written)
        damaged[(first.dictionary_page_offset or 4) + place] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(DamagedFile):
            read_columns(path, OUTCOMES, ["item"])


def test_other_programs_read_a_sealed_table(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_table(path, OUTCOMES, outcomes("a", "b"))
    assert pq.read_table(path)["item"].to_pylist() == ["a", "b"]
    found = duckdb.sql(f"SELECT item FROM '{path}' ORDER BY item").fetchall()
    assert found == [("a",), ("b",)]


def test_no_value_in_a_file_of_json_can_change_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    content = {"a": 1.5, "b": ["é", None, True], "c": {"d": "text"}}
    write_json(path, content)
    assert read_json(path) == content
    written = path.read_bytes()
    for place in range(len(written)):
        damaged = bytearray(written)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        try:
            assert read_json(path) == content
        except DamagedFile:
            continue


@pytest.mark.parametrize("length", [200, 240, 255])
def test_a_name_as_long_as_file_systems_allow_can_be_written(
    tmp_path: Path, length: int
) -> None:
    path = tmp_path / ("é" * (length // 2) + "n" * (length % 2))
    with replacing(path) as temporary:
        temporary.write_text("x")
    assert path.read_text() == "x" and len(list(tmp_path.iterdir())) == 1
