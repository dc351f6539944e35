"""Items: committed one by one; none stops the others; none is made twice."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from af3_core.contracts import OUTCOMES
from af3_core.job import InputError
from workflow.campaign import Campaign
from workflow.engine.failures import classify
from workflow.engine.items import Item, outcome, work_through
from workflow.tables import DamagedFile

HERE = Campaign()
"""The campaign in the current folder."""


@pytest.fixture
def items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    monkeypatch.chdir(tmp_path)
    return [
        Item(name, name, tmp_path / f"{name}.parquet", OUTCOMES, made_from="v1")
        for name in ("a", "b", "c")
    ]


def table_of(item: Item) -> pa.Table:
    return OUTCOMES.table([outcome("test", "batch", item.name)])


def test_a_bad_item_is_recorded_and_the_rest_go_on(items: list[Item]) -> None:
    def make(item: Item) -> pa.Table:
        if item.name == "b":
            raise InputError("b.json", "name", "?", "letters")
        return table_of(item)

    rows = work_through(HERE, "test", "batch", items, make)
    assert [row.status for row in rows] == ["done", "failed", "done"]
    assert rows[1].cause == "input"
    assert "b.json: name" in str(rows[1].evidence)


def test_what_is_committed_is_not_made_again(items: list[Item]) -> None:
    made: list[str] = []

    def make(item: Item) -> pa.Table:
        made.append(item.name)
        if item.name == "c" and len(made) == 3:
            raise KeyboardInterrupt
        return table_of(item)

    with pytest.raises(KeyboardInterrupt):
        work_through(HERE, "test", "batch", items, make)
    work_through(HERE, "test", "batch", items, make)
    assert made == ["a", "b", "c", "c"]


def test_an_item_that_meets_a_damaged_file_is_a_row_and_the_file_is_gone(
    items: list[Item], tmp_path: Path
) -> None:
    path = tmp_path / "features.parquet"
    path.write_bytes(b"damaged")

    def make(item: Item) -> pa.Table:
        if item.name == "b":
            raise DamagedFile(path, "its footer")
        return table_of(item)

    rows = work_through(HERE, "test", "batch", items, make)
    assert [row.cause for row in rows] == [None, "damaged", None]
    assert "features.parquet is damaged" in str(rows[1].evidence)
    assert not path.exists()


def test_an_item_whose_job_failed_before_is_skipped(items: list[Item]) -> None:
    before = replace(outcome("featurise", "x", "b"), cause="conformer")
    rows = work_through(HERE, "test", "batch", items, table_of, blocked={"b": before})
    assert [row.status for row in rows] == ["done", "skipped", "done"]
    assert rows[1].cause == "conformer"


def test_a_defect_of_our_own_is_a_row_and_its_traceback_is_in_the_log(
    items: list[Item], capsys: pytest.CaptureFixture[str]
) -> None:
    def make(item: Item) -> pa.Table:
        return INCOMPLETE if item.name == "b" else table_of(item)

    rows = work_through(HERE, "test", "batch", items, make)
    assert [row.cause for row in rows] == [None, "defect", None]
    assert "ContractError" in str(rows[1].evidence)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


INCOMPLETE = pa.table({"stage": ["test"]})


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
            "gpu_memory",
        ),
        (MemoryError(), "host_memory"),
        (OSError(28, "No space left on device"), "disk"),
        (ValueError("no conformer of component XYZ"), "conformer"),
        (RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS"), "device"),
        (KeyError("x"), "defect"),
    ],
)
def test_a_failure_is_sorted_by_its_cause(error: Exception, cause: str) -> None:
    assert classify(error).cause == cause
