"""Stores that several users share, and stores that may only be read."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.campaigns import ROOT
from tests.workflow.store.test_entries import key_of, make_table
from workflow.store.entries import Store, fill_store

FILL = """
import sys
from pathlib import Path
from tests.workflow.store.test_entries import key_of, make_table
from workflow.store.entries import Store, fill_store
store = Store(Path(sys.argv[1]), Path(sys.argv[2]))
keys = {name: key_of(name) for name in sys.argv[3]}
made = fill_store(store, keys, lambda names: ((n, make_table()) for n in names), print)
assert all(store.get(key) is not None and key in store for key in keys.values())
print(made)
"""


def fill_as_another(store: Path, own: Path, names: str) -> list[str]:
    """What a user without privileges sees who fills a store; files are root's."""
    drop = []
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("no setpriv (util-linux) to drop root's privileges with")
        drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    done = subprocess.run(
        [*drop, sys.executable, "-c", FILL, str(store), str(own), names],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def forbid_writing(folder: Path) -> None:
    """Takes the permission to write from everybody, as of another's folder."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(permissions(path) & 0o555)


@pytest.fixture
def shared(tmp_path: Path) -> Store:
    store = Store(tmp_path / "shared", tmp_path / "unused")
    store.put(key_of("A"), make_table())
    return store


def test_who_may_only_read_a_store_keeps_what_it_lacks_elsewhere(
    shared: Store, tmp_path: Path
) -> None:
    forbid_writing(shared.folder)
    own = tmp_path / "own"
    assert fill_as_another(shared.folder, own, "A") == ["A", "0"]
    assert not own.exists()
    assert sorted(fill_as_another(shared.folder, own, "ABC")) == ["2", "A", "B", "C"]
    assert fill_as_another(shared.folder, own, "ABC")[-1] == "0"
    assert len(list(own.rglob("*.parquet"))) == 2
    assert not list(own.rglob("*.claim"))


def test_a_claim_in_a_store_that_may_only_be_read_is_waited_for(
    shared: Store, tmp_path: Path
) -> None:
    assert shared.claim(key_of("B"))
    reader = Store(shared.folder, tmp_path / "own")
    forbid_writing(shared.folder)
    try:
        assert not reader.claim(key_of("B"))
    finally:
        shared.folder.chmod(0o755)


def test_what_is_added_has_the_permissions_of_the_store(tmp_path: Path) -> None:
    folder = tmp_path / "group"
    folder.mkdir()
    folder.chmod(0o2775)
    store = Store(folder, tmp_path / "unused")
    before = os.umask(0o077)
    try:
        fill_store(
            store,
            {"A": key_of("A")},
            lambda names: [(name, make_table()) for name in names],
            print,
        )
    finally:
        os.umask(before)
    path = store.path(key_of("A"))
    assert permissions(path) == 0o664
    assert permissions(path.parent) == permissions(path.parent.parent) == 0o2775


def test_a_store_that_nobody_prepared_keeps_to_the_umask(shared: Store) -> None:
    path = shared.path(key_of("A"))
    assert permissions(path) == permissions(shared.folder) & 0o666
    assert permissions(path.parent) == permissions(shared.folder)
