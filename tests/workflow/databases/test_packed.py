from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from af3_core.job import InputError
from af3_core.search.targets import AMINO, DigitalTargets, PackedTargets
from tests.workflow.searching.search_examples import (
    CRAMBIN,
    DATABASES,
    GB1,
    MANIFEST,
    MGNIFY,
    QUERIES,
    copy_database,
    stored_rows,
)
from workflow.databases.__main__ import main
from workflow.databases.files import (
    digitise,
    make_database,
    read_records,
    read_targets,
    require_unchanged,
)
from workflow.databases.manifest import Database, Shard, read_manifest
from workflow.databases.packed import count_packed, read_packed, write_packed
from workflow.databases.shards import (
    digitise_database,
    shard_database,
    verify_database,
)
from workflow.searching.search_keys import hits_key
from workflow.searching.sequences import search_batch
from workflow.store.entries import Store

ODD = (
    ">same twice\nMKVLA\n>same twice\nMKVLAGG\n>none\nacdxbzuoj*\n"
    ">tab\tand  blanks \nMK\n>empty\n\n>\xc3\xa9 \xe2\x82\xac\nMKV\n"
)


def packed_in_batches(database: Database, folder: Path, size: int) -> Shard:
    """Its digitised form, in batches of about so many bytes of FASTA."""
    (shard,) = database.shards
    path = folder / f"{shard.path.name}.packed"
    blocks = (digitise(r, AMINO, shard.path) for r in read_records(shard.path, size))
    write_packed(blocks, shard, path)
    return replace(shard, path=path, bytes=path.stat().st_size)


def records(targets: list[DigitalTargets] | list[PackedTargets]) -> list[tuple]:
    """Names, descriptions and residues as HMMER gets them."""
    return [
        (s.name, s.description or "", bytes(memoryview(s.sequence)))
        for part in targets
        for s in part.take(None)
    ]


@pytest.mark.parametrize("size", [1, 20_000, 16 << 20])
def test_hmmer_gets_the_same_sequences_in_the_same_order(
    size: int, tmp_path: Path
) -> None:
    path = tmp_path / "uniref90.fasta"
    path.write_bytes(MGNIFY.path.read_bytes() + ODD.encode("latin-1"))
    database = make_database("uniref90", "unpaired", [path])
    shard = packed_in_batches(database, tmp_path, size)
    wanted = records(list(read_targets(database.shards[0], AMINO)))
    assert records(list(read_targets(shard, AMINO))) == wanted
    assert count_packed(shard.path) == shard


def test_the_longest_come_first_in_a_batch_and_parts_are_even(tmp_path: Path) -> None:
    targets = next(read_packed(packed_in_batches(MGNIFY, tmp_path, 16 << 20)))
    lengths = targets.packed.lengths
    assert (np.diff(lengths) <= 0).all()
    parts = targets.split(3)
    sizes = [int(part.packed.lengths.sum()) for part in parts]
    assert sum(sizes) == lengths.sum() > 0.99 * MGNIFY.shards[0].residues
    assert max(sizes) - min(sizes) <= 2 * lengths.max()
    together = [record for part in parts for record in records([part])]
    assert sorted(together) == sorted(records([targets]))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_digitised_database_gives_the_same_rows_under_the_same_key(
    threads: int, tmp_path: Path
) -> None:
    proteins = [sequence for name, sequence in QUERIES.items() if name != "trna"]
    shard = packed_in_batches(MGNIFY, tmp_path, 20_000)
    digitised = replace(MGNIFY, shards=(shard,))
    for number, database in enumerate((MGNIFY, digitised)):
        search_batch(proteins, database, Store(tmp_path / str(number)), threads=threads)
    stores = [Store(tmp_path / "0"), Store(tmp_path / "1")]
    for sequence in proteins:
        keys = [hits_key(sequence, d, "paper").digest for d in (MGNIFY, digitised)]
        assert keys[0] == keys[1]
        rows = [stored_rows(store, sequence, MGNIFY) for store in stores]
        assert rows[0] == rows[1] is not None


def test_the_command_digitises_what_hmmer_searches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, folder = tmp_path / "packed.tsv", tmp_path / "packed"
    command = ["digitise", str(MANIFEST), str(folder), str(manifest)]
    assert main(command) == 0
    found = {database.name: database for database in read_manifest(manifest)}
    for name, database in found.items():
        was = DATABASES[name]
        is_packed = was.role in ("unpaired", "paired", "templates")
        assert all(shard.is_packed == is_packed for shard in database.shards)
        assert (database.digest, database.z) == (was.digest, was.z)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert main(command) == 0
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert main(["verify", str(manifest)]) == 0
    assert "uniref90: as it was" in capsys.readouterr().out


def test_shards_are_digitised_one_by_one(tmp_path: Path) -> None:
    sharded = shard_database(MGNIFY, tmp_path / "shards", 3)
    digitised = digitise_database(sharded, tmp_path / "packed")
    verify_database(digitised)
    search_batch([GB1], digitised, Store(tmp_path / "store"))
    search_batch([GB1], MGNIFY, Store(tmp_path / "whole"))
    assert stored_rows(Store(tmp_path / "store"), GB1, MGNIFY) == stored_rows(
        Store(tmp_path / "whole"), GB1, MGNIFY
    )
    with pytest.raises(InputError, match="got 'a digitised database'"):
        shard_database(digitised, tmp_path / "again", 2)


def spoilt(shard: Shard, change: str) -> None:
    content = bytearray(shard.path.read_bytes())
    if change == "a byte":
        content[content.index(bytes(memoryview(residues_of(CRAMBIN))))] ^= 1
    elif change == "the end":
        del content[-200:]
    else:
        content[:] = b">a\nMKV\n"
    shard.path.write_bytes(content)


def residues_of(sequence: str) -> np.ndarray:
    block = digitise(f">q\n{sequence}\n".encode(), AMINO, Path("q"))
    return np.asarray(block[0].sequence)


@pytest.mark.parametrize("change", ["a byte", "the end", "everything"])
def test_damage_is_noticed_before_anything_is_kept(change: str, tmp_path: Path) -> None:
    path = tmp_path / "uniref90.fasta"
    path.write_text(f">target\n{CRAMBIN}\n>other\nMKVLA\n")
    database = make_database("uniref90", "unpaired", [path])
    digitised = digitise_database(database, tmp_path / "packed")
    spoilt(digitised.shards[0], change)
    with pytest.raises(InputError, match="content: got .*digitise it again"):
        list(read_packed(digitised.shards[0]))
    with pytest.raises(InputError, match="content: got .*digitise it again"):
        count_packed(digitised.shards[0].path)


def test_the_form_of_another_file_is_refused(tmp_path: Path) -> None:
    shard = packed_in_batches(MGNIFY, tmp_path, 16 << 20)
    other = replace(shard, digest=DATABASES["uniref90"].shards[0].digest)
    with pytest.raises(InputError, match="what was made of SHA-256"):
        list(read_packed(other))


def test_a_newer_file_is_verified_before_its_first_search(tmp_path: Path) -> None:
    copied = copy_database(MGNIFY, tmp_path)
    digitised = digitise_database(copied, tmp_path / "packed")
    newer = replace(digitised, known_at=0.0)
    require_unchanged(newer, tmp_path / "marks")
    assert len(list((tmp_path / "marks").iterdir())) == 1


def test_a_tool_that_wants_fasta_is_told_so_by_line(tmp_path: Path) -> None:
    manifest = tmp_path / "packed.tsv"
    main(["digitise", str(MANIFEST), str(tmp_path / "p"), str(manifest)])
    text = manifest.read_text().replace("jackhmmer", "mmseqs", 1)
    manifest.write_text(text)
    with pytest.raises(InputError, match="line 2, path: .*FASTA for the tool mmseqs"):
        read_manifest(manifest)


def test_a_database_that_cannot_be_digitised_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["digitise", str(MANIFEST), str(tmp_path), str(tmp_path / "m.tsv")]
    assert main([*command, "--only", "rfam"]) == 2
    assert "'rfam'; allowed: a protein database" in capsys.readouterr().err
