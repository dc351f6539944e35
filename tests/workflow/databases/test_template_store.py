import gzip
import shutil
import tarfile
from datetime import date
from pathlib import Path

import pytest

from af3_core.job import InputError
from tests.workflow.searching.search_examples import DATABASES
from workflow.databases.__main__ import main
from workflow.databases.template_store import (
    FolderStructures,
    PackedStructures,
    chain_text,
    open_structures,
    pack_structures,
)

FOLDER = DATABASES["pdb_mmcif"].path
ENTRIES = ("1ake", "1ejg", "1ubi", "1vii")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedStructures:
    target = tmp_path_factory.mktemp("packed") / "pdb.templates"
    return pack_structures(FOLDER, target)


@pytest.mark.parametrize("pdb_id", ENTRIES)
def test_a_packed_store_says_what_the_folder_says(
    packed: PackedStructures, pdb_id: str
) -> None:
    folder = FolderStructures(FOLDER)
    assert packed.chain(pdb_id, "A") == folder.chain(pdb_id, "A")
    assert chain_text(packed, pdb_id, "A") == chain_text(folder, pdb_id, "A")


def test_a_chain_is_described(packed: PackedStructures) -> None:
    chain = packed.chain("1vii", "A")
    assert chain is not None
    assert chain.letters == "MLSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF"
    assert (chain.release_date, chain.unresolved) == (date(1996, 1, 1), frozenset())


@pytest.mark.parametrize(("pdb_id", "author_id"), [("9xyz", "A"), ("1ubi", "B")])
def test_what_is_not_there_is_none(
    packed: PackedStructures, pdb_id: str, author_id: str
) -> None:
    assert packed.chain(pdb_id, author_id) is None
    assert FolderStructures(FOLDER).chain(pdb_id, author_id) is None
    with pytest.raises(LookupError, match=f"{pdb_id}, chain {author_id}"):
        chain_text(packed, pdb_id, author_id)


def spoil(folder: Path) -> None:
    """A folder of good, gzipped and differently broken files."""
    shutil.copy(FOLDER / "1ubi.cif", folder)
    with gzip.open(folder / "1vii.cif.gz", "wb") as file:
        file.write((FOLDER / "1vii.cif").read_bytes())
    text = (FOLDER / "1ejg.cif").read_text()
    (folder / "2bad.cif").write_text(text[: len(text) // 2])
    (folder / "3bad.cif").write_text("nothing")
    dateless = text.replace("_pdbx_audit_revision_history.revision_date", "_x.date")
    (folder / "4bad.cif").write_text(dateless)
    (folder / "5bad.cif.gz").write_bytes(b"no gzip")
    (folder / "6bad.cif").write_bytes(b"\xff\xfe")
    (folder / "readme.txt").write_text("not one of them")


def test_broken_files_are_left_out_and_listed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    spoil(source)
    packed = pack_structures(source, tmp_path / "pdb.templates", workers=2)
    assert packed.num_entries() == 2
    problems = dict(packed.problems())
    assert sorted(problems) == [
        *("2bad.cif", "3bad.cif", "4bad.cif", "5bad.cif.gz", "6bad.cif")
    ]
    assert "release date" in problems["4bad.cif"]


def test_a_broken_file_of_a_folder_is_no_template(tmp_path: Path) -> None:
    spoil(tmp_path)
    folder = FolderStructures(tmp_path)
    assert folder.chain("1vii", "A") is not None
    assert all(folder.chain(f"{i}bad", "A") is None for i in range(2, 7))


def test_a_tar_packs_to_the_same_store(
    packed: PackedStructures, tmp_path: Path
) -> None:
    archive = tmp_path / "pdb.tar"
    with tarfile.open(archive, "w") as tar:
        for pdb_id in ENTRIES:
            tar.add(FOLDER / f"{pdb_id}.cif", f"mmcif_files/{pdb_id}.cif")
    from_tar = pack_structures(archive, tmp_path / "tar.templates")
    assert from_tar.digest() == packed.digest()


@pytest.mark.parametrize("content", [b"", b"no database", None])
def test_what_is_no_store_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "pdb.templates"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="packed template store"):
        open_structures(path).chain("1ubi", "A")


def test_packing_nothing_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no usable file"):
        pack_structures(tmp_path / "empty", tmp_path / "pdb.templates")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_the_command_packs_and_lists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "source", tmp_path / "pdb.templates"
    source.mkdir()
    spoil(source)
    assert main(["pack", str(source), str(target), "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert "3bad.cif\tit is not mmCIF" in printed
    assert "2 entries packed, 5 files left out" in printed
