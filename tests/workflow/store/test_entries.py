import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from af3_core.columns import ContractError
from af3_core.contracts import SHARD_HITS
from af3_core.search.hits import BestHits, Hit, Region
from workflow.searching.hit_tables import shard_table
from workflow.store.__main__ import main
from workflow.store.entries import STALE_SECONDS, Key, Store, list_entries, make_key


def make_table(score: float = 1.0) -> object:
    region = Region(start=1, end=3, row="ACD", score=score, p_value=0.5)
    return shard_table(BestHits(9, 1, [Hit("t", "", score, 0.1, (region,))]))


def key_of(sequence: str, **more: object) -> Key:
    return make_key(SHARD_HITS, sequence=sequence, **more)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_what_was_put_is_got(store: Store) -> None:
    store.put(key_of("A"), make_table(7.0))
    table = store.get(key_of("A"))
    assert table is not None
    assert table["score"].to_pylist() == [7.0]
    assert key_of("A") in store


def test_an_empty_result_is_a_result(store: Store) -> None:
    store.put(key_of("A"), shard_table(BestHits(9)))
    table = store.get(key_of("A"))
    assert table is not None
    assert table.num_rows == 0


@pytest.mark.parametrize(
    "other",
    [key_of("C"), key_of("A", z=2.0), key_of("A", z=1), key_of("A", flags="")],
)
def test_every_part_of_the_key_counts(store: Store, other: Key) -> None:
    store.put(key_of("A", z=1.0), make_table())
    assert store.get(other) is None


def test_no_byte_of_an_entry_can_change_unnoticed(store: Store) -> None:
    store.put(key_of("A"), make_table())
    path = store.path(key_of("A"))
    content, chosen = path.read_bytes(), random.Random(1)
    for place in chosen.sample(range(len(content)), 400):
        damaged = bytearray(content)
        damaged[place] ^= 1 << chosen.randrange(8)
        path.write_bytes(damaged)
        table = store.get(key_of("A"))
        # A seal that cannot be recognised leaves the rest as it was.
        is_whole = b"FMSEAL01" not in damaged and table == make_table()
        assert table is None or is_whole, place
        list(list_entries(store))


def test_entries_of_the_first_version_stay_valid(store: Store) -> None:
    """They have no seal."""
    store.put(key_of("A"), make_table())
    path = store.path(key_of("A"))
    entry = pq.read_table(path)
    pq.write_table(entry, path, compression="zstd", write_page_checksum=True)
    assert store.get(key_of("A")) == make_table() and key_of("A") in store
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 8] ^= 1
    path.write_bytes(damaged)
    assert store.get(key_of("A")) is None


def test_a_cut_entry_is_as_good_as_absent(store: Store) -> None:
    store.put(key_of("A"), make_table())
    path = store.path(key_of("A"))
    path.write_bytes(path.read_bytes()[:-40])
    assert store.get(key_of("A")) is None


def test_an_entry_under_anothers_name_is_not_taken(store: Store) -> None:
    store.put(key_of("A"), make_table())
    target = store.path(key_of("C"))
    target.parent.mkdir(parents=True, exist_ok=True)
    store.path(key_of("A")).rename(target)
    assert store.get(key_of("C")) is None


def test_a_table_of_another_kind_is_refused(store: Store) -> None:
    with pytest.raises(ContractError):
        store.put(key_of("A"), make_table().drop(["score"]))
    assert store.get(key_of("A")) is None


def test_a_claim_is_given_to_one_only(store: Store) -> None:
    assert store.claim(key_of("A"))
    assert not store.claim(key_of("A"))
    store.release(key_of("A"))
    assert store.claim(key_of("A"))


def test_claims_are_given_back_when_the_work_fails(store: Store) -> None:
    assert store.claim(key_of("A"))
    with pytest.raises(KeyError), store.keep_claims([key_of("A")]):
        raise KeyError
    assert store.claim(key_of("A"))


def test_the_claim_of_a_dead_process_is_free_at_once(store: Store) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from tests.workflow.store.test_entries import key_of\n"
        "from workflow.store.entries import Store\n"
        "assert Store(Path(sys.argv[1])).claim(key_of('A'))\n"
    )
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", code, str(store.folder), root]
    subprocess.run(command, check=True, cwd=root)
    assert store.claim(key_of("A"))


def test_a_claim_from_another_host_ends_with_its_age(store: Store) -> None:
    assert store.claim(key_of("A"))
    path = store.path(key_of("A")).with_suffix(".claim")
    path.write_text("elsewhere 1 1")
    assert not store.claim(key_of("A"))
    long_ago = time.time() - 2 * STALE_SECONDS
    os.utime(path, (long_ago, long_ago))
    assert store.claim(key_of("A"))


def test_entries_are_listed_with_their_keys(store: Store) -> None:
    store.put(key_of("A"), make_table())
    (entry,) = list_entries(store)
    assert entry.key["sequence"] == "'A'"
    assert entry.rows == 1


def test_verifying_names_and_removes_the_damaged(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.put(key_of("A"), make_table())
    store.put(key_of("C"), make_table())
    store.path(key_of("A")).write_bytes(b"PAR1")
    assert main(["verify", str(store.folder), "--remove"]) == 1
    printed = capsys.readouterr().out
    assert store.path(key_of("A")).name in printed
    assert main(["verify", str(store.folder)]) == 0
    assert store.get(key_of("C")) is not None


def test_pruning_by_age_keeps_the_young(store: Store) -> None:
    store.put(key_of("A"), make_table())
    store.put(key_of("C"), make_table())
    os.utime(store.path(key_of("A")), (0, 0))
    assert main(["prune", str(store.folder), "--older-than", "30"]) == 0
    assert store.get(key_of("A")) is None
    assert store.get(key_of("C")) is not None


def test_listing_an_absent_store_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
