from pathlib import Path

import pytest

from af3_core.job import InputError
from tests.workflow.searching.search_examples import (
    DATABASES,
    MANIFEST,
    MGNIFY,
    copy_database,
)
from workflow.databases.__main__ import main
from workflow.databases.files import make_manifest, read_records
from workflow.databases.manifest import format_manifest, read_manifest
from workflow.databases.shards import shard_database, verify_database


def test_a_folder_is_counted_in_the_order_of_merging() -> None:
    found = {d.name: (d.role, d.z) for d in make_manifest(MANIFEST.parent)}
    assert list(found)[:4] == ["uniref90", "small_bfd", "mgnify", "uniprot"]
    assert found["uniref90"] == ("unpaired", 966.0)
    assert found["rfam"] == ("rna", 0.06196)
    assert found["pdb_mmcif"] == ("structures", 0.0)


def test_a_manifest_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    databases = [
        shard_database(MGNIFY, tmp_path / "shards", 3),
        copy_database(DATABASES["rfam"], tmp_path),
    ]
    path = tmp_path / "databases.tsv"
    path.write_text(format_manifest(databases, tmp_path))
    found = read_manifest(path)
    assert [d.name for d in found] == ["mgnify", "rfam"]
    for was, now in zip(databases, found, strict=True):
        assert (was.z, was.digest, was.role) == (now.z, now.digest, now.role)
        for one, other in zip(was.shards, now.shards, strict=True):
            assert one.path.samefile(other.path)
            assert one.digest == other.digest


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("unpaired", "unpared", r"line 2, role: got 'unpared'; allowed: unpaired"),
        ("jackhmmer", "blast", r"line 2, tool: got 'blast'"),
        ("\t966\t\t\t", "\tmany\t\t\t", r"line 2, z: got 'many'"),
        ("\t966\t\t\t", "\t-1\t\t\t", r"line 2, z: got '-1'"),
        ("\t966\t\t\t", "\t966\t\t--gpu 1\t", r"line 2, flags"),
        ("name\trole", "title\trole", r"columns: got 'title"),
        ("small_bfd\tunpaired\tjackhmmer", "small_bfd", r"line 3"),
        ("small_bfd\t", "uniref90\t", r"line 3: got 'uniref90'; allowed: rows that"),
    ],
)
def test_a_wrong_manifest_is_refused_by_line(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "databases.tsv"
    path.write_text(MANIFEST.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_manifest(path)


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none.tsv: databases"):
        read_manifest(tmp_path / "none.tsv")


@pytest.mark.parametrize("count", [1, 2, 5, 819])
def test_shards_are_the_whole_in_order_and_of_even_size(
    count: int, tmp_path: Path
) -> None:
    sharded = shard_database(MGNIFY, tmp_path, count)
    joined = b"".join(shard.path.read_bytes() for shard in sharded.shards)
    assert joined == MGNIFY.path.read_bytes()
    assert (sharded.digest, sharded.z) == (MGNIFY.digest, MGNIFY.z)
    assert len(sharded.shards) == count
    sizes = [shard.bytes for shard in sharded.shards]
    assert max(sizes) - min(sizes) <= 2 * 1_000 or count == 819


def test_more_shards_than_sequences_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 to 819 for mgnify"):
        shard_database(MGNIFY, tmp_path, 820)


def test_a_changed_file_is_not_cut(tmp_path: Path) -> None:
    database = copy_database(MGNIFY, tmp_path / "db")
    content = database.path.read_bytes()
    database.path.write_bytes(content.replace(b"LHLKQ", b"LHLKW", 1))
    with pytest.raises(InputError, match="SHA-256"):
        shard_database(database, tmp_path / "shards", 3)
    assert not list((tmp_path / "shards").iterdir())


def test_a_missing_shard_makes_no_manifest(tmp_path: Path) -> None:
    shard_database(MGNIFY, tmp_path, 3).shards[1].path.unlink()
    with pytest.raises(InputError, match="all shards NAME-00000-of-0000N once"):
        make_manifest(tmp_path)


def test_shards_are_found_beside_the_whole(tmp_path: Path) -> None:
    copy_database(MGNIFY, tmp_path)
    shard_database(MGNIFY, tmp_path, 3)
    (found,) = make_manifest(tmp_path)
    assert len(found.shards) == 3
    assert found.digest == MGNIFY.digest


@pytest.mark.parametrize("chunk", [1, 7, 100, 1 << 20])
def test_records_are_never_cut(chunk: int) -> None:
    pieces = list(read_records(MGNIFY.path, chunk))
    assert all(piece.startswith(b">") for piece in pieces)
    assert b"".join(pieces) == MGNIFY.path.read_bytes()


def test_what_is_no_fasta_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mgnify.fasta").write_text("ACDEF\n>a\nACD\n")
    with pytest.raises(InputError, match="FASTA, beginning with '>'"):
        make_manifest(tmp_path)


def test_verifying_reads_all_files_again(tmp_path: Path) -> None:
    database = copy_database(MGNIFY, tmp_path)
    verify_database(database)
    database.path.write_bytes(database.path.read_bytes() + b">x\nACD\n")
    with pytest.raises(InputError, match="mgnify.fasta: content"):
        verify_database(database)


def test_the_commands_make_cut_and_verify(tmp_path: Path) -> None:
    made, cut = tmp_path / "made.tsv", tmp_path / "cut.tsv"
    shards = tmp_path / "shards"
    assert main(["make", str(MANIFEST.parent), str(made)]) == 0
    only = ["--only", "mgnify", "rfam"]
    assert main(["shard", str(made), "4", str(shards), str(cut), *only]) == 0
    assert main(["verify", str(cut)]) == 0
    counts = {d.name: len(d.shards) for d in read_manifest(cut)}
    assert counts["mgnify"] == counts["rfam"] == 4
    assert counts["uniref90"] == 1


def test_a_command_names_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["make", str(tmp_path), str(tmp_path / "m.tsv")]) == 2
    assert "files named uniref90" in capsys.readouterr().err
