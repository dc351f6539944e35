"""Faults of database files: said when the manifest is made, or read as HMMER does."""

import gzip
import io
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from pyhmmer.easel import Alphabet, SequenceFile

from af3_core.job import InputError
from af3_core.search.settings import Role
from tests.workflow.searching.search_examples import (
    DATABASES,
    GB1,
    MGNIFY,
    copy_database,
    stored_rows,
)
from workflow.databases.__main__ import main
from workflow.databases.files import BLOCK_BYTES, make_database, make_manifest
from workflow.databases.manifest import read_manifest
from workflow.searching.sequences import search_batch
from workflow.store.entries import Store

GOOD = b">one first\nACDEF\nGHIKL\n>two\nMKV\n"

REFUSED: dict[str, tuple[Role, bytes, str]] = {
    "a digit": (
        "unpaired",
        b">odd x\nACD\nE1F\n",
        r"record 3 \(odd\), line 8: got .*1",
    ),
    "a digit, PDB": ("templates", b">9zzz_B\nCT05A\n", r"record 3 \(9zzz_B\), line 7"),
    "a gap": ("paired", b">gap\nAC-DE\n", r"record 3 \(gap\), line 7: got .*-"),
    "NUL": ("unpaired", b">nul\nAC\0DE\n", r"record 3 \(nul\).*x00"),
    "a header in a sequence": ("unpaired", b">a\nACD>b\nE\n", r"record 3 \(a\).*>"),
    "no name": ("unpaired", b">\nACD\n", "record 3, line 6: .*a name after '>'"),
    "a name of spaces": ("unpaired", b">  \nACD\n", "record 3, line 6"),
    "a lone carriage return": ("unpaired", b">a b\rc\nACD\n", "carriage return"),
    "too long": ("unpaired", b">long\n" + b"A" * 100_001, r"\(long\).*100001 residues"),
    "protein in RNA": ("rna", b"", r"record 1 \(one\), line 2: got .*E"),
    "UTF-16": ("unpaired", GOOD.decode().encode("utf-16"), "record 2"),
}
READ: dict[str, tuple[Role, bytes]] = {
    "carriage returns and line feeds": ("unpaired", GOOD.replace(b"\n", b"\r\n")),
    "lower case": ("unpaired", GOOD.lower()),
    "no last line feed": ("unpaired", GOOD.removesuffix(b"\n")),
    "one name twice": ("unpaired", GOOD + GOOD),
    "stops, spaces and empty lines": ("unpaired", b">a\nAC D\n\n\nEF*\n>b\nMK\n"),
    "letters of no residue": ("unpaired", b">a\nBJOUXZ\n"),
    "T in RNA": ("rna", b">a\nGATTACA\n>b\nGGCUN\n"),
    "a header that is not UTF-8": ("unpaired", b">Z\xfc prot\xe9ine\nACD\n>b\nMK\n"),
    "'>' within and at the end of headers": ("unpaired", b">a b->c>\nACD\n>b\nMK\n"),
}


@pytest.mark.parametrize(("role", "record", "said"), REFUSED.values(), ids=REFUSED)
def test_what_hmmer_would_stop_at_is_said_when_files_are_counted(
    role: Role, record: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "database.fasta"
    path.write_bytes(GOOD + record)
    with pytest.raises(InputError, match=said) as caught:
        make_database("made_up", role, [path])
    assert caught.value.file == str(path)


@pytest.mark.parametrize(("role", "text"), READ.values(), ids=READ)
def test_what_hmmer_reads_is_counted_as_hmmer_counts(
    role: Role, text: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "database.fasta"
    path.write_bytes(text)
    (shard,) = make_database("made_up", role, [path]).shards
    alphabet = Alphabet.rna() if role == "rna" else Alphabet.amino()
    with SequenceFile(io.BytesIO(text), "fasta", digital=True, alphabet=alphabet) as f:
        lengths = [len(sequence.sequence) for sequence in f.read_block()]
    assert (shard.sequences, shard.residues) == (len(lengths), sum(lengths))


def test_a_fault_is_found_wherever_in_the_file_it_is(tmp_path: Path) -> None:
    path = tmp_path / "database.fasta"
    record = b">%06d\n" + b"ACDEFGHIKL" * 30 + b"\n"
    good = b"".join(record % number for number in range(BLOCK_BYTES // 300))
    path.write_bytes(good + b">bad\nAC4\n" + good)
    number = good.count(b">") + 1
    said = rf"record {number} \(bad\), line {2 * number}:"
    with pytest.raises(InputError, match=said):
        make_database("made_up", "unpaired", [path])


@pytest.mark.timeout(20)
def test_carriage_returns_alone_are_no_ends_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "database.fasta"
    path.write_bytes(GOOD.replace(b"\n", b"\r") * 100_000)
    with pytest.raises(InputError, match="line ends: got 'carriage returns'"):
        make_database("made_up", "unpaired", [path])


def test_empty_records_count_as_in_hmmer_and_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "database.fasta"
    path.write_bytes(GOOD + b">empty\n>four\nACD\n>last\n")
    with caplog.at_level(logging.WARNING):
        assert make_database("made_up", "unpaired", [path]).z == 5
    assert "2 records have no residues, the first is record 3 (empty)" in caplog.text


def test_a_file_that_is_no_known_database_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy_database(MGNIFY, tmp_path)
    (tmp_path / "ours.fasta").write_bytes(GOOD)
    (tmp_path / "README.txt").write_text("not FASTA")
    with caplog.at_level(logging.WARNING):
        assert len(make_manifest(tmp_path)) == 1
    [told] = caplog.messages
    assert "ours.fasta is none of the known databases" in told


@pytest.mark.parametrize(
    ("ending", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)]
)
def test_a_packed_database_is_named_and_not_left_out(
    ending: str, pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_database(MGNIFY, tmp_path)
    (tmp_path / f"uniref90.fasta{ending}").write_bytes(pack(GOOD))
    assert main(["make", str(tmp_path), str(tmp_path / "m.tsv")]) == 2
    assert f"uniref90.fasta{ending}: file" in capsys.readouterr().err
    (tmp_path / "uniref90.fasta").write_bytes(GOOD)
    assert len(make_manifest(tmp_path)) == 2


def test_a_hit_whose_header_is_not_utf8_is_carried(tmp_path: Path) -> None:
    path = tmp_path / "uniref90.fasta"
    header = b">LATIN prot\xe9ine of Schr\xf6dinger\n"
    path.write_bytes(DATABASES["uniref90"].path.read_bytes() + header + GB1.encode())
    database, store = (
        make_database("uniref90", "unpaired", [path]),
        Store(tmp_path / "s"),
    )
    search_batch([GB1], database, store)
    rows = {row.target: row.description for row in stored_rows(store, GB1, database)}
    assert rows["LATIN"] == "prot\ufffdine of Schr\ufffddinger"


def test_a_file_that_changed_is_noticed_before_a_search_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, manifest = copy_database(MGNIFY, tmp_path).path, tmp_path / "m.tsv"
    assert main(["make", str(tmp_path), str(manifest)]) == 0
    (database,) = read_manifest(manifest)
    changed = path.read_bytes().replace(b"LHLKQ", b"LHLKW", 1)
    path.write_bytes(changed)
    later = manifest.stat().st_mtime + 5
    os.utime(path, (later, later))
    monkeypatch.setattr("workflow.searching.sequences.search_stream", None)
    with pytest.raises(InputError, match="content: got .*SHA-256"):
        search_batch([GB1], database, Store(tmp_path / "store"))
    path.write_bytes(changed[:1000])
    with pytest.raises(InputError, match="content: got '1000 bytes'"):
        search_batch([GB1], database, Store(tmp_path / "store"))


def test_a_file_that_only_looks_newer_is_digested_once(tmp_path: Path) -> None:
    database = replace(copy_database(MGNIFY, tmp_path), known_at=0.0)
    store = Store(tmp_path / "store")
    assert search_batch([GB1], database, store) == 1
    [mark] = (store.folder / "verified").iterdir()
    assert mark.name.startswith(database.shards[0].digest[:32])
