from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from af3_core.job import InputError
from tests.workflow.searching.search_examples import (
    GB1,
    MGNIFY,
    PEPTIDE,
    VILLIN,
    stored_rows,
)
from workflow.databases.shards import shard_database
from workflow.searching import mmseqs
from workflow.searching.mmseqs import ToolError, find_mmseqs
from workflow.searching.sequences import search_batch
from workflow.store.entries import Store

BY_MMSEQS = replace(MGNIFY, tool="mmseqs")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    search_batch([GB1, VILLIN, PEPTIDE], BY_MMSEQS, store, threads=2)
    return store


def columns(row: str) -> str:
    return "".join(letter for letter in row if not letter.islower())


def test_rows_are_aligned_to_the_query(store: Store) -> None:
    rows = stored_rows(store, GB1, BY_MMSEQS)
    assert rows
    assert {len(columns(row.region.row)) for row in rows} == {len(GB1)}
    assert all(row.e_value <= 1e-4 for row in rows)


def test_the_engine_is_named_in_every_row(store: Store) -> None:
    for path in store.folder.rglob("*.parquet"):
        rows = pq.read_table(path).to_pylist()
        assert all(row["engine"].startswith("mmseqs (MMseqs2 ") for row in rows)


def test_its_results_are_never_taken_for_jackhmmers(store: Store) -> None:
    assert stored_rows(store, GB1, MGNIFY) is None
    assert stored_rows(store, PEPTIDE, BY_MMSEQS) == []


def test_jackhmmer_finds_most_of_the_same_sequences(
    store: Store, tmp_path: Path
) -> None:
    other = Store(tmp_path)
    search_batch([GB1], MGNIFY, other)
    theirs = {row.target for row in stored_rows(other, GB1, MGNIFY) or ()}
    ours = {row.target for row in stored_rows(store, GB1, BY_MMSEQS) or ()}
    assert len(ours & theirs) >= 0.8 * len(theirs)


def test_shards_are_scaled_to_the_whole(store: Store, tmp_path: Path) -> None:
    sharded = shard_database(BY_MMSEQS, tmp_path / "shards", 2)
    other = Store(tmp_path / "store")
    search_batch([GB1], sharded, other, stage_to=tmp_path)
    whole = {r.target: r.e_value for r in stored_rows(store, GB1, BY_MMSEQS) or ()}
    parts = {r.target: r.e_value for r in stored_rows(other, GB1, sharded) or ()}
    shared = whole.keys() & parts.keys()
    assert len(shared) >= 0.9 * len(whole)
    assert all(parts[t] == pytest.approx(whole[t], rel=0.3) for t in shared)


def test_a_wrong_flag_shows_what_the_program_said(tmp_path: Path) -> None:
    wrong = replace(BY_MMSEQS, flags="--no-such-flag 1")
    with pytest.raises(ToolError, match=r"(?s)search.*ended with status.*no-such-flag"):
        search_batch([GB1], wrong, Store(tmp_path))


def test_without_the_program_the_refusal_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(mmseqs, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="install MMseqs2"):
        find_mmseqs()
