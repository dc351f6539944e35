"""Files of a sequence database: checked, counted, digested, read in blocks.

What HMMER would stop at in the middle of a search is found when the files are counted.
"""

import contextlib
import functools
import hashlib
import io
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, UInt8
from numpy import ndarray
from pyhmmer.easel import Alphabet, DigitalSequenceBlock, SequenceFile

from af3_core.job import InputError
from af3_core.search.settings import Role
from af3_core.search.targets import DigitalTargets, Targets
from workflow.databases.manifest import PACKED, TOOLS, Database, Shard
from workflow.databases.packed import count_packed, read_packed
from workflow.databases.template_store import PackedStructures, Readable

BLOCK_BYTES = 16 << 20
_LOG = logging.getLogger(__name__)
VERIFIED = "verified"
"""Folder of a search store with the marks of files that were digested."""
LONGEST_PROTEIN = 100_000
_HEADER_MARK, _LINE_FEED, _CARRIAGE_RETURN, _SPACE = 62, 10, 13, 32
_LETTERS = "letters of amino acids or nucleotides, as HMMER reads them"
_LINE_ENDS = "line feeds, alone or after a carriage return; tr '\\r' '\\n' mends that"

_NAMES: tuple[tuple[str, str, Role], ...] = (
    ("uniref90", "uniref90", "unpaired"),
    ("small_bfd", "small_bfd", "unpaired"),
    ("bfd-first_non_consensus", "small_bfd", "unpaired"),
    ("mgnify", "mgnify", "unpaired"),
    ("mgy_clusters", "mgnify", "unpaired"),
    ("uniprot", "uniprot", "paired"),
    ("rfam", "rfam", "rna"),
    ("rnacentral", "rnacentral", "rna"),
    ("nt_rna", "nt_rna", "rna"),
    ("pdb_seqres", "pdb_seqres", "templates"),
)
"""Beginning of a file's name, the database's name and role, in the order of merging."""
_SUFFIXES = (".fasta", ".fa", ".fas", ".faa", ".fna", ".txt")
_COMPRESSED = (".gz", ".zst", ".xz", ".bz2")
_SHARD_NAME = re.compile(r"-(\d{5})-of-(\d{5})")
_STRUCTURES = ("pdb_mmcif", "mmcif_files")


@dataclass
class _Count:
    """Digest and sizes of what has been read so far of a file."""

    path: Path
    is_rna: bool
    hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    size: int = 0
    sequences: int = 0
    residues: int = 0
    lines: int = 0
    empty: int = 0
    first_empty: str = ""

    def add(self, chunk: bytes) -> None:
        """Takes a piece of whole records.

        Raises:
            InputError: the search would not read one of them; it is named.
        """
        piece = _Piece(chunk)
        lengths = piece.lengths
        if (fault := piece.find_fault(self.is_rna)) is not None:
            index, value, allowed, offset = fault
            where = f"{self._name(piece, index)}, line {self.lines + offset + 1}"
            raise InputError(str(self.path), where, value, allowed)
        empty = np.flatnonzero(lengths == 0)
        if len(empty) and not self.empty:
            self.first_empty = self._name(piece, int(empty[0]))
        self.hash.update(chunk)
        self.size += len(chunk)
        self.sequences += len(lengths)
        self.residues += int(lengths.sum())
        self.lines += len(piece.line_ends)
        self.empty += len(empty)

    def _name(self, piece: "_Piece", index: int) -> str:
        name = piece.name(index)
        number = f"record {self.sequences + index + 1}"
        return f"{number} ({name})" if name else number

    def shard(self) -> Shard:
        if self.empty:
            _LOG.warning(
                "%s: %d records have no residues, the first is %s; they count in Z, as"
                " in HMMER",
                *(self.path, self.empty, self.first_empty),
            )
        return Shard(
            path=self.path,
            digest=self.hash.hexdigest(),
            bytes=self.size,
            sequences=self.sequences,
            residues=self.residues,
        )


@dataclass(frozen=True)
class _Piece:
    """Whole FASTA records as bytes, beginning with a header."""

    text: bytes

    @functools.cached_property
    def bytes(self) -> UInt8[ndarray, "b"]:
        """Them as numbers, with a line feed at the end."""
        text = self.text if self.text.endswith(b"\n") else self.text + b"\n"
        return np.frombuffer(text, np.uint8)

    @functools.cached_property
    def line_ends(self) -> Int[ndarray, "l"]:
        return np.flatnonzero(self.bytes == _LINE_FEED)

    @functools.cached_property
    def bounds(self) -> Int[ndarray, "2 r"]:
        """Where the header and the body of each record begin."""
        marks = np.flatnonzero(self.bytes == _HEADER_MARK)
        starts = marks[(marks == 0) | (self.bytes[marks - 1] == _LINE_FEED)]
        return np.stack([starts, self.line_ends[self.line_ends.searchsorted(starts)]])

    @functools.cached_property
    def printed(self) -> Int[ndarray, "2 r"]:
        """Bytes that are no white space, of headers and bodies."""
        bounds = np.append(self.bounds.T.ravel(), len(self.bytes))
        blanks = np.flatnonzero(self.bytes <= _SPACE).searchsorted(bounds)
        return (np.diff(bounds) - np.diff(blanks)).reshape(-1, 2).T

    @property
    def lengths(self) -> Int[ndarray, "r"]:
        """Residues of each record."""
        return self.printed[1]

    def name(self, index: int) -> str:
        start, end = self.bounds[:, index].tolist()
        words = self.text[start + 1 : end].split()
        return words[0].decode("utf-8", "replace") if words else ""

    def find_fault(self, is_rna: bool) -> tuple[int, str, str, int] | None:
        """What the search would not read: record, value, what is allowed, and line.

        Both are counted from 0.
        """
        if b"\r" in self.text:
            returns = np.flatnonzero(self.bytes == _CARRIAGE_RETURN)
            lone = returns[self.bytes[returns + 1] != _LINE_FEED]
            if len(lone):
                return self._at(lone[0], "a carriage return", _LINE_ENDS)
        nameless = np.flatnonzero(self.printed[0] <= 1)
        if len(nameless):
            place = self.bounds[0, nameless[0]]
            return self._at(place, ">", "a name after '>'")
        unreadable = np.frombuffer(self.text.translate(_unreadable(is_rna)), bool)
        bad = np.flatnonzero(self._any(unreadable)[1])
        if len(bad):
            start = int(self.bounds[1, bad[0]])
            place = start + int(np.argmax(unreadable[start:]))
            return self._at(place, repr(chr(int(self.bytes[place]))), _LETTERS)
        too_long = np.flatnonzero(self.lengths > LONGEST_PROTEIN)
        if not is_rna and len(too_long):
            found = f"{int(self.lengths[too_long[0]])} residues"
            allowed = f"at most {LONGEST_PROTEIN}, which is as far as HMMER goes"
            return self._at(self.bounds[0, too_long[0]], found, allowed)
        return None

    def _any(self, mask: Bool[ndarray, "b"]) -> Bool[ndarray, "2 r"]:
        """Whether the header and the body of each record have such a byte."""
        padded = np.append(mask, np.zeros(len(self.bytes) - len(mask), bool))
        found = np.logical_or.reduceat(padded, self.bounds.T.ravel())
        return found.reshape(-1, 2).T

    def _at(self, place: int, value: str, allowed: str) -> tuple[int, str, str, int]:
        index = int(self.bounds[0].searchsorted(place, side="right")) - 1
        return index, value, allowed, int(self.line_ends.searchsorted(place))


@functools.cache
def _unreadable(is_rna: bool) -> bytes:
    """1 for each byte that HMMER does not read within a sequence, as it says itself."""
    alphabet = Alphabet.rna() if is_rna else Alphabet.amino()
    unreadable = bytearray(b"\1" * 256)
    for byte in range(256):
        record = io.BytesIO(b">a\nA" + bytes([byte]) + b"A\n")
        with SequenceFile(record, "fasta", digital=True, alphabet=alphabet) as file:
            try:
                unreadable[byte] = len(file.read_block()) != 1
            except ValueError:
                continue
    return bytes(unreadable)


def read_records(path: Path, chunk_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The file in pieces of about `chunk_bytes`, each of whole FASTA records.

    Raises:
        InputError: the file is not there or does not begin with `>`.
    """
    try:
        with path.open("rb") as file:
            yield from split_records(file, path, chunk_bytes)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(str(path), "file", reason, "a readable FASTA file") from error


def split_records(
    file: Readable, path: Path, chunk_bytes: int = BLOCK_BYTES
) -> Iterator[bytes]:
    """What is read from an open file, likewise; errors name it `path`."""
    rest = b""
    while piece := file.read(chunk_bytes):
        rest += piece
        if b"\r" in rest and b"\n" not in rest:
            raise InputError(str(path), "line ends", "carriage returns", _LINE_ENDS)
        cut = rest.rfind(b"\n>") + 1
        if cut:
            yield _checked(rest[:cut], path)
            rest = rest[cut:]
    if rest:
        yield _checked(rest, path)


def _checked(records: bytes, path: Path) -> bytes:
    if not records.startswith(b">"):
        found = records[:20].decode("ascii", "replace")
        raise InputError(str(path), "file", found, "FASTA, beginning with '>'")
    return records


def read_targets(shard: Shard, alphabet: Alphabet) -> Iterator[Targets]:
    """The sequences of a shard for a search, a few megabytes at a time.

    Raises:
        InputError: the file is not the one of the manifest. That is certain only when
            all has been read, so nothing may be kept of a stream that was not read to
            its end.
    """
    if shard.is_packed:
        return read_packed(shard)
    return map(DigitalTargets, read_blocks(shard, alphabet))


def read_blocks(shard: Shard, alphabet: Alphabet) -> Iterator[DigitalSequenceBlock]:
    """The sequences of a FASTA file, digitised, a few megabytes at a time.

    Raises:
        InputError: see `read_targets`.
    """
    digest = hashlib.sha256()
    for records in read_records(shard.path):
        digest.update(records)
        yield digitise(records, alphabet, shard.path)
    if digest.hexdigest() != shard.digest:
        raise _changed(shard, digest.hexdigest(), f"SHA-256 {shard.digest}")


def require_unchanged(database: Database, marks: Path) -> None:
    """Makes sure that a database is still the manifest's, before a search begins.

    All files have to be there in full length. One that was written after the manifest
    is read and digested, once: an empty file among the `marks` says that it was.

    Raises:
        InputError: a file is missing or not the one of the manifest.
    """
    for shard in database.shards:
        try:
            status = shard.path.stat()
        except OSError as error:
            reason, allowed = error.strerror or str(error), "a readable FASTA file"
            raise InputError(str(shard.path), "file", reason, allowed) from error
        if status.st_size != shard.bytes:
            size, wanted = f"{status.st_size} bytes", f"{shard.bytes} bytes"
            raise _changed(shard, size, wanted)
        mark = marks / f"{shard.digest[:32]}-{status.st_mtime_ns}"
        if status.st_mtime <= database.known_at or mark.exists():
            continue
        found = (
            count_packed(shard.path).digest
            if shard.is_packed
            else _digest_file(shard.path)
        )
        if found != shard.digest:
            raise _changed(shard, found, f"SHA-256 {shard.digest}")
        with contextlib.suppress(OSError):  # then the next search reads it again
            marks.mkdir(parents=True, exist_ok=True)
            mark.touch()


def _changed(shard: Shard, found: str, wanted: str) -> InputError:
    allowed = f"{wanted}, as the manifest has it; if the database is new, make it again"
    return InputError(str(shard.path), "content", found, allowed)


def digitise(records: bytes, alphabet: Alphabet, path: Path) -> DigitalSequenceBlock:
    """FASTA records in HMMER's alphabet.

    Headers that are not UTF-8 are carried with a replacement for what is none.

    Raises:
        InputError: a character that stands for no residue, or a protein too long.
    """
    if not records.isascii():
        records = records.decode("utf-8", "replace").encode("utf-8")
    file = SequenceFile(
        io.BytesIO(records), format="fasta", digital=True, alphabet=alphabet
    )
    try:
        block = file.read_block()
    except ValueError as error:
        raise InputError(str(path), "sequences", str(error), "residue codes") from error
    finally:
        file.close()
    if alphabet.is_amino() and block and len(block.largest()) > LONGEST_PROTEIN:
        longest = block.largest()
        allowed = f"at most {LONGEST_PROTEIN} residues, which is as far as HMMER goes"
        raise InputError(str(path), longest.name, f"{len(longest)} residues", allowed)
    return block


def count_file(path: Path, role: Role) -> Shard:
    """Digest and sizes of a FASTA file, or of a digitised one.

    Raises:
        InputError: there is a record that a search would stop at, or damage.
    """
    if path.suffix == PACKED:
        return count_packed(path)
    return count_records(read_records(path), path, role)


def count_records(pieces: Iterable[bytes], path: Path, role: Role) -> Shard:
    """Digest and sizes of a file from pieces of whole records, as they come.

    Raises:
        InputError: there is a record that a search would stop at.
    """
    count = _Count(path, is_rna=role == "rna")
    for records in pieces:
        count.add(records)
    return count.shard()


def make_database(
    name: str, role: Role, paths: list[Path], *, version: str = "", url: str = ""
) -> Database:
    """Reads all files of a database once: digest, number of sequences, residues."""
    whole, shards = hashlib.sha256(), []
    for path in paths:

        def read(path: Path = path) -> Iterator[bytes]:
            for records in read_records(path):
                whole.update(records)
                yield records

        shards.append(count_records(read(), path, role))
    return database_of(name, role, shards, whole.hexdigest(), version=version, url=url)


def database_of(
    name: str,
    role: Role,
    shards: Sequence[Shard],
    digest: str,
    *,
    version: str = "",
    url: str = "",
) -> Database:
    """A database of counted files; `digest` is of all of them, one after the other."""
    sequences = sum(shard.sequences for shard in shards)
    residues = sum(shard.residues for shard in shards)
    return Database(
        name=name,
        role=role,
        tool=TOOLS[role][0],
        version=version,
        url=url,
        digest=digest,
        z=residues / 1e6 if role == "rna" else float(sequences),
        max_sequences=None,
        flags="",
        shards=tuple(shards),
    )


def make_structures(path: Path) -> Database:
    """The entry of a folder of mmCIF files or of a packed template store.

    Raises:
        InputError: no such folder or file.
    """
    if not path.exists():
        allowed = "a folder of mmCIF files or a packed template store"
        raise InputError(str(path), "structures", "no such file", allowed)
    is_folder = path.is_dir()
    digest = _digest_listing(path) if is_folder else PackedStructures(path).digest()
    size = 0 if is_folder else path.stat().st_size
    return Database(
        name=path.stem,
        role="structures",
        tool="folder" if is_folder else "store",
        version="",
        url="",
        digest=digest,
        z=0.0,
        max_sequences=None,
        flags="",
        shards=(Shard(path, digest, size, 0, 0),),
    )


def _digest_listing(folder: Path) -> str:
    entries = sorted(
        f"{entry.name} {_digest_file(Path(entry.path))}"
        for entry in os.scandir(folder)
        if entry.name.endswith((".cif", ".cif.gz"))
    )
    return hashlib.sha256("\n".join(entries).encode()).hexdigest()


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_databases(folder: Path) -> list[tuple[str, Role, list[Path]]]:
    """Databases in a folder, known by their files' names: name, role, files.

    Shards are named as AlphaFold 3 has them, `NAME-00000-of-00005`; a whole file
    beside them is left alone.

    Raises:
        InputError: a shard is missing, or a file has to be unpacked first.
    """
    entries = sorted(path for path in folder.iterdir() if path.is_file())
    files = [path for path in entries if _is_fasta(path)]
    for path in entries:
        is_known = any(path.name.startswith(prefix) for prefix, _, _ in _NAMES)
        if (
            path.suffix in _COMPRESSED
            and is_known
            and path.with_suffix("") not in files
        ):
            allowed = "an unpacked file; unpack it, or `fetch` does, or move it away"
            raise InputError(str(path), "file", path.name, allowed)
    found = []
    for prefix, name, role in _NAMES:
        matching = [path for path in files if path.name.startswith(prefix)]
        shards = [path for path in matching if _SHARD_NAME.search(path.name)]
        if matching:
            _require_all_shards(shards or matching)
            found.append((name, role, shards or matching))
    return found


def find_unknown(folder: Path) -> list[Path]:
    """FASTA files of a folder that are none of the known databases."""
    known = {path for _, _, paths in find_databases(folder) for path in paths}
    used = {path.name.partition("-0")[0] for path in known}
    return sorted(
        path
        for path in folder.iterdir()
        if _is_fasta(path) and path not in known and path.name not in used
    )


def _is_fasta(path: Path) -> bool:
    if path.suffix == ".txt" and not _SHARD_NAME.search(path.name):
        with path.open("rb") as file:
            return file.read(1) == b">"
    is_named = path.suffix in _SUFFIXES or _SHARD_NAME.search(path.name) is not None
    return is_named and path.suffix not in (*_COMPRESSED, PACKED) and path.is_file()


def find_role(file_name: str) -> tuple[str, Role]:
    """The name and role of the database that a file is known to be.

    Raises:
        InputError: its name is not known.
    """
    for prefix, name, role in _NAMES:
        if file_name.startswith(prefix):
            return name, role
    known = ", ".join(prefix for prefix, _, _ in _NAMES)
    raise InputError(file_name, "name", file_name, f"a name that begins with {known}")


def _require_all_shards(paths: list[Path]) -> None:
    numbered = [_SHARD_NAME.search(path.name) for path in paths]
    if len(paths) == 1 and numbered[0] is None:
        return
    names = ", ".join(path.name for path in paths)
    totals = {int(match[2]) if match else 0 for match in numbered}
    indices = [int(match[1]) for match in numbered if match]
    if len(totals) != 1 or indices != list(range(max(totals))):
        allowed = "one file, or all shards NAME-00000-of-0000N once"
        raise InputError(str(paths[0].parent), "shards", names, allowed)


def find_structures(folder: Path) -> list[Path]:
    """Template structures beside the databases: a packed store, else a folder."""
    stores = sorted(folder.glob("*.templates"))
    return stores or [folder / name for name in _STRUCTURES if (folder / name).is_dir()]


def make_manifest(folder: Path) -> tuple[Database, ...]:
    """All databases of a folder, counted and digested.

    Raises:
        InputError: the folder holds none that is known, or a shard is missing.
    """
    if not folder.is_dir():
        raise InputError(str(folder), "databases", "no such folder", "a folder")
    databases = [make_database(*found) for found in find_databases(folder)]
    databases += [make_structures(path) for path in find_structures(folder)[:1]]
    if not databases:
        known = ", ".join(prefix for prefix, _, _ in _NAMES)
        raise InputError(str(folder), "databases", "none found", f"files named {known}")
    for path in find_unknown(folder):
        _LOG.warning(
            "%s is none of the known databases and is left alone; a row of the manifest"
            " may name it",
            path,
        )
    return tuple(databases)
