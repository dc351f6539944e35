import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from af3_core.job import InputError
from tests.workflow.searching.search_examples import (
    CRAMBIN,
    GB1,
    MANIFEST,
    MGNIFY,
    PEPTIDE,
    QUERIES,
    VILLIN,
    copy_database,
    files_in,
    stored_rows,
)
from workflow.databases.files import make_manifest
from workflow.databases.manifest import Database, format_manifest
from workflow.databases.shards import shard_database
from workflow.searching.sequences import (
    search_batch,
    stage,
    staging_folder,
    unpaired_msa,
)
from workflow.store.entries import Store

ROOT = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_second_campaign_searches_only_what_is_new(store: Store) -> None:
    names = list(QUERIES)[:10]
    first = [QUERIES[name] for name in names]
    assert search_batch(first, MGNIFY, store) == 10
    second = [*first[:9], "ACDEFGHIKLMNPQRSTVWYACDEFGHIKL"]
    assert search_batch(second, MGNIFY, store) == 1


def test_everything_is_reported_once(store: Store) -> None:
    search_batch([GB1], MGNIFY, store)
    seen: list[str] = []
    search_batch([GB1, VILLIN], MGNIFY, store, on_result=seen.append)
    assert sorted(seen) == sorted([GB1, VILLIN])


def test_a_peptide_without_hits_is_searched_once(store: Store) -> None:
    assert search_batch([PEPTIDE], MGNIFY, store) == 1
    assert stored_rows(store, PEPTIDE, MGNIFY) == []
    assert search_batch([PEPTIDE], MGNIFY, store) == 0
    msa = unpaired_msa(PEPTIDE, "protein", [MGNIFY], store)
    assert msa.sequences == (PEPTIDE,)


@pytest.mark.parametrize("count", [2, 5, 40])
def test_shards_give_what_the_whole_gives(
    store: Store, tmp_path: Path, count: int
) -> None:
    sharded = shard_database(MGNIFY, tmp_path / "shards", count)
    elsewhere = Store(tmp_path / "other")
    search_batch([GB1, VILLIN, PEPTIDE], MGNIFY, store)
    search_batch([GB1, VILLIN, PEPTIDE], sharded, elsewhere)
    for sequence in (GB1, VILLIN, PEPTIDE):
        whole = stored_rows(store, sequence, MGNIFY)
        assert stored_rows(elsewhere, sequence, sharded) == whole
    assert not [name for name in files_in(elsewhere) if not name.endswith("parquet")]


def test_a_sharded_database_shares_the_entries_of_the_whole(
    store: Store, tmp_path: Path
) -> None:
    search_batch([GB1], MGNIFY, store)
    sharded = shard_database(MGNIFY, tmp_path / "shards", 3)
    assert search_batch([GB1], sharded, store) == 0


def test_a_changed_database_or_profile_invalidates_its_own_entries_only(
    store: Store, tmp_path: Path
) -> None:
    other = copy_database(MGNIFY, tmp_path / "other", times=2)
    search_batch([GB1], MGNIFY, store)
    assert search_batch([GB1], other, store) == 1
    assert search_batch([GB1], MGNIFY, store, profile="server") == 1
    assert search_batch([GB1], replace(MGNIFY, max_sequences=7), store) == 1
    assert search_batch([GB1], MGNIFY, store) == 0


def test_the_engine_and_profile_stand_in_every_row(store: Store) -> None:
    search_batch([GB1], MGNIFY, store, profile="server")
    (path,) = store.folder.rglob("*.parquet")
    rows = pq.read_table(path).to_pylist()
    assert {row["profile"] for row in rows} == {"server"}
    assert all(row["engine"].startswith("jackhmmer (HMMER 3.4") for row in rows)


def test_a_truncated_database_leaves_no_entry(store: Store, tmp_path: Path) -> None:
    database = copy_database(MGNIFY, tmp_path / "db")
    content = database.path.read_bytes()
    database.path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="bytes, as the manifest has it"):
        search_batch([GB1], database, store)
    assert files_in(store) == []


def test_a_database_changed_in_place_leaves_no_entry(
    store: Store, tmp_path: Path
) -> None:
    database = copy_database(MGNIFY, tmp_path / "db")
    content = database.path.read_bytes()
    database.path.write_bytes(content[:-3] + b"W" + content[-2:])
    with pytest.raises(InputError, match="SHA-256"):
        search_batch([GB1], database, store)
    assert files_in(store) == []


def test_a_missing_shard_is_named_and_what_was_searched_stays(
    store: Store, tmp_path: Path
) -> None:
    database = shard_database(MGNIFY, tmp_path / "shards", 3)
    missing = database.shards[2].path
    content = missing.read_bytes()
    missing.unlink()
    with pytest.raises(InputError, match="-00002-of-00003: file"):
        search_batch([GB1], database, store)
    assert stored_rows(store, GB1, database) is None
    missing.write_bytes(content)
    assert search_batch([GB1], database, store) == 1


@contextmanager
def no_file_larger_than(num_bytes: int) -> Iterator[None]:
    """Makes writing fail as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_nothing_behind(store: Store) -> None:
    with no_file_larger_than(500), pytest.raises(OSError):
        search_batch([GB1], MGNIFY, store)
    assert files_in(store) == []
    assert search_batch([GB1], MGNIFY, store) == 1


def start_search(manifest: Path, store: Store, *sequences: str) -> subprocess.Popen:
    """Another process that searches, and prints how many it searched itself."""
    code = (
        "import sys; from pathlib import Path\n"
        "from workflow.databases.manifest import read_manifest\n"
        "from workflow.searching.sequences import search_batch\n"
        "from workflow.store.entries import Store\n"
        "manifest, store, *sequences = sys.argv[1:]\n"
        "(database,) = read_manifest(Path(manifest))\n"
        "print(search_batch(sequences, database, Store(Path(store))))\n"
    )
    command = [sys.executable, "-c", code, str(manifest), str(store.folder), *sequences]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def write_manifest(database: Database, folder: Path) -> Path:
    path = folder / "databases.tsv"
    path.write_text(format_manifest([database], folder))
    return path


def test_two_campaigns_at_once_search_nothing_twice(
    store: Store, tmp_path: Path
) -> None:
    manifest = write_manifest(MGNIFY, tmp_path)
    sequences = [GB1, VILLIN, CRAMBIN, PEPTIDE]
    processes = [start_search(manifest, store, *sequences) for _ in range(2)]
    counts = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert sum(counts) == 4
    assert all(stored_rows(store, s, MGNIFY) is not None for s in sequences)


def test_a_search_that_is_killed_goes_on_with_the_next_shard(
    store: Store, tmp_path: Path
) -> None:
    large = copy_database(MGNIFY, tmp_path / "db", times=40)
    database = shard_database(large, tmp_path / "shards", 8)
    manifest = write_manifest(database, tmp_path)
    process = start_search(manifest, store, QUERIES["adk"], QUERIES["hba"])
    parts = store.folder / "shard_hits"
    while len(list(parts.rglob("[!.]*.parquet"))) < 2 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = len(list(parts.rglob("[!.]*.parquet")))
    assert 2 <= kept < 16
    assert stored_rows(store, QUERIES["adk"], database) is None
    assert search_batch([QUERIES["adk"], QUERIES["hba"]], database, store) == 2
    again = Store(tmp_path / "again")
    search_batch([QUERIES["adk"]], large, again)
    undisturbed = stored_rows(again, QUERIES["adk"], large)
    assert stored_rows(store, QUERIES["adk"], database) == undisturbed


def test_a_shard_is_staged_once(tmp_path: Path) -> None:
    (shard,) = MGNIFY.shards
    staged = stage(shard, tmp_path / "fast")
    before = staged.path.stat().st_mtime_ns
    assert stage(shard, tmp_path / "fast").path.stat().st_mtime_ns == before
    assert staged.path.read_bytes() == shard.path.read_bytes()


def test_the_staging_folder_may_be_a_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAST", str(tmp_path))
    assert staging_folder("$FAST/databases") == tmp_path / "databases"
    assert staging_folder(None) is None
    with pytest.raises(InputError, match="a variable that is set on the node"):
        staging_folder("$NO_SUCH_VARIABLE")


def test_a_staged_search_finds_the_same(store: Store, tmp_path: Path) -> None:
    search_batch([GB1], MGNIFY, store, stage_to=tmp_path / "fast")
    elsewhere = Store(tmp_path / "other")
    search_batch([GB1], MGNIFY, elsewhere)
    assert stored_rows(store, GB1, MGNIFY) == stored_rows(elsewhere, GB1, MGNIFY)


def test_the_manifest_of_the_examples_is_up_to_date() -> None:
    made = format_manifest(make_manifest(MANIFEST.parent), MANIFEST.parent)
    assert made == MANIFEST.read_text()
