"""A filter ahead of the search: what it leaves is taken up; the hits are the same."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from af3_core.job import InputError
from kernels import Device, lowering_for
from tests.workflow.databases.test_packed import packed_in_batches
from tests.workflow.searching.search_examples import (
    CRAMBIN,
    DATABASES,
    GB1,
    MGNIFY,
    PEPTIDE,
    VILLIN,
    copy_database,
    files_in,
    stored_rows,
)
from workflow.databases.files import database_of
from workflow.databases.manifest import Database
from workflow.databases.shards import shard_database
from workflow.filter import find_filter
from workflow.searching.search_keys import hits_key
from workflow.searching.sequences import (
    Filter,
    filter_batch,
    is_filtered,
    search_batch,
    survivors_key,
)
from workflow.settings import Settings, check_settings
from workflow.store.entries import Store

SEQUENCES = [GB1, VILLIN, CRAMBIN, PEPTIDE]
CPU = Filter("cpu", "cpu ahead")


def settings(named: str) -> Settings:
    raw = {
        "inputs": ["inputs"],
        "search": {"databases": "databases.tsv", "filter": named},
        "model": {"checkpoint": "weights"},
    }
    return check_settings(raw, source="config.yaml")


def test_processors_filter_where_they_are_named() -> None:
    assert find_filter(settings("cpu")).backend == "cpu"


def test_a_gpu_that_can_filters_and_is_named() -> None:
    with lowering_for(Device("cuda", (9, 0))):
        assert find_filter(settings("triton")) == ("triton", "triton on cuda 9.0")


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (Device("cpu"), "got 'triton'; allowed: search or cpu, for .*not on cpu"),
        (Device("cuda", (7, 5)), "this card has 7.5|8.0 to 12.1"),
    ],
    ids=["no_card", "old_card"],
)
def test_where_none_can_it_says_so_before_it_begins(device, said) -> None:
    with lowering_for(device), pytest.raises(InputError, match=said):
        find_filter(settings("triton"))


def whole(folder: Path) -> tuple[Database, Database]:
    return MGNIFY, MGNIFY


def sharded(folder: Path) -> tuple[Database, Database]:
    made = shard_database(MGNIFY, folder / "shards", 3)
    return made, made


def digitised(folder: Path) -> tuple[Database, Database]:
    """Filtered in the digitised form, in many batches, and searched as FASTA."""
    (shard,) = MGNIFY.shards
    folder.mkdir(exist_ok=True)
    packed = packed_in_batches(MGNIFY, folder, 20_000)
    return database_of("mgnify", "unpaired", [packed], shard.digest), MGNIFY


def searched_digitised(folder: Path) -> tuple[Database, Database]:
    return digitised(folder)[::-1]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("forms", [whole, sharded, digitised, searched_digitised])
def test_what_it_leaves_has_all_hits_in_every_form_of_a_database(
    forms: Callable[[Path], tuple[Database, Database]], threads: int, tmp_path: Path
) -> None:
    filtered, searched = forms(tmp_path / "forms")
    plain, store = Store(tmp_path / "plain"), Store(tmp_path / "store")
    search_batch(SEQUENCES, MGNIFY, plain)
    seen: list[str] = []
    num_made = filter_batch(
        *(SEQUENCES, filtered, store, CPU), threads=threads, on_result=seen.append
    )
    assert num_made == len(SEQUENCES) * len(filtered.shards)
    assert sorted(seen) == sorted(SEQUENCES)
    assert all(is_filtered(sequence, searched, store) for sequence in SEQUENCES)
    search_batch(SEQUENCES, searched, store, threads=threads)
    for sequence in SEQUENCES:
        rows = stored_rows(plain, sequence, MGNIFY)
        assert stored_rows(store, sequence, searched) == rows
    assert stored_rows(store, GB1, searched)


def test_it_leaves_few_and_hmmer_sees_no_others(tmp_path: Path) -> None:
    """An entry that lacks a hit costs that hit: the search does take it up."""
    store, settings = Store(tmp_path / "store"), MGNIFY.settings("paper")
    filter_batch([GB1], MGNIFY, store, CPU)
    key = survivors_key(GB1, MGNIFY.shards[0], settings)
    left = store.get(key)
    assert left is not None and 0 < left.num_rows < 0.1 * MGNIFY.shards[0].sequences
    places = left["place"].to_pylist()
    assert places == sorted(set(places))
    store.put(key, left.slice(0, 0))
    search_batch([GB1], MGNIFY, store)
    assert stored_rows(store, GB1, MGNIFY) == []


def test_hits_note_what_filtered_and_the_store_keeps_the_hits_alone(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "store")
    database = shard_database(MGNIFY, tmp_path / "shards", 2)
    filter_batch([GB1], database, store, CPU)
    search_batch([GB1, VILLIN], database, store)
    noted = [
        (store.notes(hits_key(sequence, database, "paper")) or {})["filtered_by"]
        for sequence in (GB1, VILLIN)
    ]
    assert noted == ["cpu ahead", "cpu"]
    assert len(files_in(store)) == 2


def test_rna_is_filtered_by_nobody(tmp_path: Path) -> None:
    store, rfam = Store(tmp_path / "store"), DATABASES["rfam"]
    sequence = "GGCUCCAUAGGAAAGGAUCCAGCGGCUAACCACUGGCAG"
    search_batch([sequence], rfam, store)
    notes = store.notes(hits_key(sequence, rfam, "paper"))
    assert notes is not None and notes["filtered_by"] == ""
    assert not rfam.has_filter


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_without_an_entry_the_search_filters_for_itself(
    harm: str, tmp_path: Path
) -> None:
    store, plain = Store(tmp_path / "store"), Store(tmp_path / "plain")
    filter_batch([GB1, VILLIN], MGNIFY, store, CPU)
    key = survivors_key(GB1, MGNIFY.shards[0], MGNIFY.settings("paper"))
    path = store.path(key)
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-200] + bytes(200))
    assert store.get(key) is None
    search_batch([GB1, VILLIN], MGNIFY, store)
    search_batch([GB1, VILLIN], MGNIFY, plain)
    for sequence in (GB1, VILLIN):
        rows = stored_rows(plain, sequence, MGNIFY)
        assert stored_rows(store, sequence, MGNIFY) == rows
    table = pq.read_table(store.path(hits_key(GB1, MGNIFY, "paper")))
    assert table.schema.metadata[b"filtered_by"] == b"cpu"


def test_what_is_there_is_not_filtered_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    search_batch([GB1], MGNIFY, store)
    assert filter_batch([GB1, VILLIN], MGNIFY, store, CPU) == 1
    assert filter_batch([GB1, VILLIN, CRAMBIN], MGNIFY, store, CPU) == 1


def test_a_database_that_changed_leaves_no_entry(tmp_path: Path) -> None:
    database = copy_database(MGNIFY, tmp_path / "db")
    content = database.path.read_bytes()
    place = content.index(b"\n") + 1
    changed = bytes([content[place] ^ 6])
    store = Store(tmp_path / "store")
    with pytest.raises(InputError, match="as the manifest has it"):
        database.path.write_bytes(content[:place] + changed + content[place + 1 :])
        filter_batch([GB1], database, store, CPU)
    assert files_in(store) == []
