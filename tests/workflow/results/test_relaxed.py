"""Relaxed structures: one file for a batch, of which nothing is made twice."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from af3_core.contracts import RELAXED
from tests.workflow.synthetic_campaign import filled
from workflow.batches import Batch, Plan, plan_path, write_plan_file
from workflow.campaign import Campaign
from workflow.engine.items import Item
from workflow.results.relaxed import (
    is_whole,
    join_relaxed,
    part_relaxed,
    read_relaxed,
)
from workflow.tables import read_made_from, write_table

HERE = Campaign()
"""The campaign in the current folder."""

BATCH, NAMES = "b0", ("one.1", "none.1", "two.1")
SAMPLES = {"one.1": 1, "none.1": 0, "two.1": 3}


def item_of(name: str) -> Item:
    return Item(name, name.split(".")[0], HERE.relaxed(name), RELAXED, f"from {name}")


def relax(names: Sequence[str]) -> None:
    """Leaves what relaxing these items leaves."""
    for name in names:
        rows = [
            {"job_id": name.split(".")[0], "seed": 1, "sample": sample}
            for sample in range(SAMPLES[name])
        ]
        item = item_of(name)
        table = filled(RELAXED, rows)
        write_table(item.path, RELAXED, table, made_from=item.made_from)


def plan(**batches: tuple[str, ...]) -> None:
    plan_path(HERE).parent.mkdir(parents=True, exist_ok=True)
    planned = {name: Batch(items) for name, items in batches.items()}
    write_plan_file(HERE, Plan("", jobs=planned))


def join(batch: str = BATCH, names: Sequence[str] = NAMES) -> None:
    join_relaxed(HERE.relaxed(batch), [item_of(name) for name in names])


def files() -> list[str]:
    return sorted(path.name for path in Path("results/relaxed").iterdir())


@pytest.fixture(autouse=True)
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of three items that is complete."""
    monkeypatch.chdir(tmp_path)
    plan(b0=NAMES)
    relax(NAMES)
    join()


def num_samples(name: str) -> int:
    return read_relaxed(HERE, name).num_rows


def test_a_complete_batch_has_one_file_that_any_program_reads() -> None:
    assert files() == ["b0.parquet"]
    table = pq.read_table(HERE.relaxed(BATCH))
    assert table["job_id"].to_pylist() == ["one", "two", "two", "two"]


def test_an_item_is_read_by_itself() -> None:
    assert {name: num_samples(name) for name in NAMES} == SAMPLES
    assert set(read_relaxed(HERE, "two.1")["job_id"].to_pylist()) == {"two"}
    assert pq.ParquetFile(HERE.relaxed(BATCH)).num_row_groups == len(NAMES)


def test_an_item_that_could_not_be_relaxed_has_no_rows() -> None:
    relax(["two.1"])
    join()
    assert read_relaxed(HERE, "one.1") is None and num_samples("two.1") == 3


def test_a_batch_that_is_not_complete_and_an_item_of_none_cannot_be_read() -> None:
    plan(b0=NAMES, b1=("other.1",))
    with pytest.raises(FileNotFoundError):
        read_relaxed(HERE, "other.1")
    with pytest.raises(LookupError, match=r"nowhere\.1 is in no batch"):
        read_relaxed(HERE, "nowhere.1")


def test_taken_apart_every_item_is_done_again() -> None:
    part_relaxed(HERE, BATCH, [BATCH])
    assert files() == sorted(f"{name}.parquet" for name in NAMES)
    assert all(item_of(name).is_done for name in NAMES)
    join()
    assert {name: num_samples(name) for name in NAMES} == SAMPLES


def test_a_newer_file_of_an_item_is_kept() -> None:
    item = item_of("one.1")
    table = filled(RELAXED, [])
    write_table(item.path, RELAXED, table, made_from="something newer")
    part_relaxed(HERE, BATCH, [BATCH])
    assert read_made_from(item.path) == "something newer"


def test_results_move_with_items_whose_batch_is_planned_no_more() -> None:
    plan(b1=("one.1",), b2=("two.1",))
    for batch, name in (("b1", "one.1"), ("b2", "two.1")):
        part_relaxed(HERE, batch, ["b1", "b2"])
        assert item_of(name).is_done
        join(batch, [name])
    assert files() == ["b1.parquet", "b2.parquet", "none.1.parquet"]
    assert (num_samples("one.1"), num_samples("two.1")) == (1, 3)


def test_the_files_of_other_batches_stay() -> None:
    part_relaxed(HERE, "b1", [BATCH, "b1"])
    assert files() == ["b0.parquet"]


@pytest.mark.parametrize("length", [0, 3, 200, -1])
def test_a_torn_file_is_seen_and_made_again(length: int) -> None:
    path = HERE.relaxed(BATCH)
    assert is_whole(path)
    path.write_bytes(path.read_bytes()[:length])
    assert not is_whole(path)
    part_relaxed(HERE, BATCH, [BATCH])
    assert not any(item_of(name).is_done for name in NAMES)
    relax(NAMES)
    join()
    assert is_whole(path) and num_samples("two.1") == 3


def test_a_removed_file_is_seen() -> None:
    HERE.relaxed(BATCH).unlink()
    assert not is_whole(HERE.relaxed(BATCH))


def test_a_file_of_somebody_else_is_left_alone(capsys) -> None:
    table = filled(RELAXED, [])
    write_table(HERE.relaxed("mine"), RELAXED, table)
    part_relaxed(HERE, BATCH, [BATCH])
    assert HERE.relaxed("mine").is_file()
    assert "left aside: results/relaxed/mine.parquet" in capsys.readouterr().err


def test_what_each_item_was_made_from_is_in_the_file() -> None:
    metadata = pq.read_metadata(HERE.relaxed(BATCH)).metadata
    made_from = {name: f"from {name}" for name in NAMES}
    assert json.loads(metadata[b"items"]) == made_from
