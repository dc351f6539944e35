"""Packed entries: found as loose ones are, and looked after likewise."""

import random
from pathlib import Path

import pytest

from tests.workflow.store.test_entries import key_of, make_table
from workflow.store.__main__ import main
from workflow.store.entries import Store, list_entries, pack_entries, pack_paths

KEYS = [key_of(letters) for letters in ("A", "C", "D", "E")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of four entries, packed."""
    store = Store(tmp_path / "store")
    for score, key in enumerate(KEYS):
        store.put(key, make_table(float(score)))
    assert pack_entries(store) == len(KEYS)
    return store


def test_packed_entries_are_found_and_their_files_are_gone(store: Store) -> None:
    for score, key in enumerate(KEYS):
        assert store.get(key)["score"].to_pylist() == [float(score)]
        assert key in store and not store.path(key).exists()
    assert store.get(key_of("F")) is None and key_of("F") not in store


def test_what_comes_later_is_found_beside_the_packs_and_packed_in_turn(
    store: Store,
) -> None:
    later = [key_of(f"A{n}") for n in range(300)]
    for key in later:
        store.put(key, make_table())
    assert pack_entries(store) == len(later)
    assert all(store.get(key) is not None for key in (*KEYS, *later))
    # 256 folders, some of which were packed before.
    assert len(pack_paths(store)) <= 256 + len(KEYS)


def test_an_entry_that_is_loose_and_packed_does_no_harm(store: Store) -> None:
    store.put(KEYS[0], make_table(0.0))
    assert pack_entries(store) == 1
    assert store.get(KEYS[0])["score"].to_pylist() == [0.0]


def test_a_damaged_pack_is_as_good_as_absent(store: Store) -> None:
    for pack in pack_paths(store):
        pack.write_bytes(pack.read_bytes()[:50])
    assert all(store.get(key) is None and key not in store for key in KEYS)


def test_no_byte_of_a_pack_can_change_unnoticed(store: Store) -> None:
    pack, chosen = pack_paths(store)[0], random.Random(1)
    content = pack.read_bytes()
    expected = [store.get(key) for key in KEYS]
    for place in chosen.sample(range(len(content)), 400):
        damaged = bytearray(content)
        damaged[place] ^= 1 << chosen.randrange(8)
        pack.write_bytes(damaged)
        for key, table in zip(KEYS, expected, strict=True):
            found = store.get(key)
            assert found is None or found.equals(table), place
        list(list_entries(store))


def test_damaged_entries_are_not_packed(store: Store) -> None:
    key = key_of("G")
    store.put(key, make_table())
    store.path(key).write_bytes(b"PAR1")
    assert pack_entries(store) == 0 and store.path(key).exists()


def test_packed_entries_are_listed_verified_and_pruned(store: Store, capsys) -> None:
    assert {e.key["sequence"] for e in list_entries(store)} == {
        repr(letter) for letter in "ACDE"
    }
    assert main(["verify", str(store.folder)]) == 0
    assert "4 entries are good, 0 damaged" in capsys.readouterr().out
    assert main(["prune", str(store.folder), "--older-than", "0"]) == 0
    assert "4 entries removed" in capsys.readouterr().out
    assert not pack_paths(store) and store.get(KEYS[0]) is None


def test_a_damaged_entry_is_taken_out_of_its_pack(store: Store, capsys) -> None:
    pack = next(p for p in pack_paths(store))
    content = bytearray(pack.read_bytes())
    content[len(content) // 3] ^= 0xFF
    pack.write_bytes(content)
    assert main(["verify", str(store.folder), "--remove"]) == 1
    assert main(["verify", str(store.folder)]) == 0
