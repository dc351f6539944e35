"""One file for a batch, of which nothing is made twice and one item is read alone."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from af3_core.contracts import RELAXED
from tests.workflow.synthetic_campaign import filled
from workflow.campaign import Campaign
from workflow.results.batch_files import BatchFiles, is_whole
from workflow.tables import is_current, read_made_from, write_table

BATCH, NAMES = "b0", ("one.1", "none.1", "two.1")
SAMPLES = {"one.1": 1, "none.1": 0, "two.1": 3}
FILES = BatchFiles(RELAXED, Campaign().relaxed)


def relax(names: Sequence[str]) -> None:
    """Leaves what relaxing these items leaves."""
    for name in names:
        rows = [
            {"job_id": name.split(".")[0], "seed": 1, "sample": sample}
            for sample in range(SAMPLES[name])
        ]
        table = filled(RELAXED, rows)
        write_table(FILES.path(name), RELAXED, table, made_from=f"from {name}")


def is_done(name: str) -> bool:
    """Whether an item has a current file of its own."""
    return is_current(FILES.path(name), RELAXED, made_from=f"from {name}")


def files() -> list[str]:
    return sorted(path.name for path in Path("results/relaxed").iterdir())


@pytest.fixture(autouse=True)
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of three items that is complete."""
    monkeypatch.chdir(tmp_path)
    relax(NAMES)
    FILES.join(BATCH, NAMES)


def num_samples(name: str) -> int:
    return len(FILES.rows(BATCH, name))


def test_a_complete_batch_has_one_file_that_any_program_reads() -> None:
    assert files() == ["b0.parquet"]
    table = pq.read_table(FILES.path(BATCH))
    assert table["job_id"].to_pylist() == ["one", "two", "two", "two"]


def test_an_item_is_read_by_itself() -> None:
    assert {name: num_samples(name) for name in NAMES} == SAMPLES
    assert {row.job_id for row in FILES.rows(BATCH, "two.1")} == {"two"}
    assert pq.ParquetFile(FILES.path(BATCH)).num_row_groups == len(NAMES)


def test_an_item_that_could_not_be_relaxed_has_no_rows() -> None:
    FILES.part(BATCH)
    FILES.path("one.1").unlink()
    FILES.join(BATCH, NAMES)
    assert (num_samples("one.1"), num_samples("two.1")) == (0, 3)
    assert FILES.made_from(BATCH, "one.1") == ""


def test_a_batch_that_is_not_complete_cannot_be_read() -> None:
    with pytest.raises(FileNotFoundError):
        FILES.rows("b1", "other.1")


def test_taken_apart_every_item_is_done_again() -> None:
    FILES.part(BATCH)
    assert files() == sorted(f"{name}.parquet" for name in NAMES)
    assert all(is_done(name) for name in NAMES)
    FILES.join(BATCH, NAMES)
    assert {name: num_samples(name) for name in NAMES} == SAMPLES


def test_a_newer_file_of_an_item_is_kept() -> None:
    path = FILES.path("one.1")
    write_table(path, RELAXED, filled(RELAXED, []), made_from="something newer")
    FILES.part(BATCH)
    assert read_made_from(path) == "something newer"


def test_what_another_process_has_joined_meanwhile_is_not_lost() -> None:
    """Two at work on one batch, as after a driver was killed."""
    relax(NAMES[2:])
    FILES.join(BATCH, NAMES)
    assert [num_samples(name) for name in NAMES] == [SAMPLES[name] for name in NAMES]
    FILES.join(BATCH, NAMES)
    assert [num_samples(name) for name in NAMES] == [SAMPLES[name] for name in NAMES]
    assert {FILES.made_from(BATCH, n) for n in NAMES} == {f"from {n}" for n in NAMES}


def test_what_is_not_there_needs_no_taking_apart() -> None:
    FILES.part("b1")
    assert files() == ["b0.parquet"]


@pytest.mark.parametrize("length", [0, 3, 200, -1])
def test_a_torn_file_is_seen_and_made_again(length: int) -> None:
    path = FILES.path(BATCH)
    assert is_whole(path)
    path.write_bytes(path.read_bytes()[:length])
    assert not is_whole(path)
    FILES.part(BATCH)
    assert not any(is_done(name) for name in NAMES)
    relax(NAMES)
    FILES.join(BATCH, NAMES)
    assert is_whole(path) and num_samples("two.1") == 3


def test_a_removed_file_is_seen() -> None:
    FILES.path(BATCH).unlink()
    assert not is_whole(FILES.path(BATCH))


def test_what_each_item_was_made_from_is_in_the_file() -> None:
    metadata = pq.read_metadata(FILES.path(BATCH)).metadata
    made_from = {name: f"from {name}" for name in NAMES}
    assert json.loads(metadata[b"items"]) == made_from
    assert FILES.made_from(BATCH, "two.1") == "from two.1"
