"""Template structures: a folder of mmCIF files, or all of them in one indexed file.

The packed store is one SQLite file. It holds each entry's text, compressed, and what
has to be known of each chain to judge it as a template, so that no structure is parsed
until it is chosen. Entries that cannot be used are left out and listed in it.
"""

import gzip
import hashlib
import json
import sqlite3
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from itertools import batched
from multiprocessing import get_context
from pathlib import Path, PurePath
from typing import BinaryIO, Protocol, cast, runtime_checkable

import zstandard

from af3_core.chemistry.residue_letters import residue_letters
from af3_core.job import InputError
from af3_core.search.templates import TemplateChain
from af3_core.templates.chain import format_chain, release_date
from af3_core.templates.entry import (
    NUCLEIC_ACIDS,
    PEPTIDES,
    Entry,
    ReadChain,
    polymer_chains,
    read_entry,
    read_polymer,
)
from workflow.tables import replacing

_SUFFIXES = (".cif", ".cif.gz")
_TABLES = """
    CREATE TABLE entries (
        pdb_id TEXT PRIMARY KEY, release_date TEXT NOT NULL, mmcif BLOB NOT NULL);
    CREATE TABLE chains (
        pdb_id TEXT NOT NULL, author_id TEXT NOT NULL, letters TEXT NOT NULL,
        unresolved TEXT NOT NULL, PRIMARY KEY (pdb_id, author_id)) WITHOUT ROWID;
    CREATE TABLE problems (file TEXT NOT NULL, reason TEXT NOT NULL);
    CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_FORMAT = "foldmill templates 1"
_BATCH = 32  # files of a tar held at a time, per worker


@runtime_checkable
class Readable(Protocol):
    """What bytes can be read from: an open file, or a stream that is unpacked."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...


@dataclass(frozen=True)
class FolderStructures:
    """mmCIF files in a folder, named by entry in lower case, possibly gzipped."""

    folder: Path

    def text(self, pdb_id: str) -> str | None:
        """An entry's text, or None if there is no such file."""
        for suffix in _SUFFIXES:
            path = self.folder / f"{pdb_id}{suffix}"
            if path.is_file():
                return _decode(path.name, path.read_bytes())
        return None

    def chain(self, pdb_id: str, author_id: str) -> TemplateChain | None:
        """What is known of a chain; None if it is not there or cannot be used."""
        return self._chains(pdb_id).get(author_id)

    @cached_property
    def _chains(self) -> Callable[[str], dict[str, TemplateChain]]:
        @lru_cache(maxsize=4096)
        def chains(pdb_id: str) -> dict[str, TemplateChain]:
            try:
                text = self.text(pdb_id)
                return {} if text is None else describe_chains(read_entry(text))
            except (ValueError, OSError, EOFError):
                return {}

        return chains


@dataclass(frozen=True)
class PackedStructures:
    """A packed store, opened for reading by any number of processes."""

    path: Path

    @cached_property
    def _database(self) -> sqlite3.Connection:
        try:
            uri = f"{self.path.resolve().as_uri()}?mode=ro&immutable=1"
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            about = dict(connection.execute("SELECT name, value FROM about"))
        except sqlite3.Error as error:
            raise InputError(
                str(self.path), "structures", str(error), "a packed template store"
            ) from error
        if about.get("format") != _FORMAT:
            found = about.get("format", "no format")
            raise InputError(str(self.path), "structures", found, _FORMAT)
        return connection

    def text(self, pdb_id: str) -> str | None:
        """An entry's text, or None if it is not in the store."""
        query = "SELECT mmcif FROM entries WHERE pdb_id = ?"
        row = self._database.execute(query, (pdb_id,)).fetchone()
        return None if row is None else zstandard.decompress(row[0]).decode()

    def chain(self, pdb_id: str, author_id: str) -> TemplateChain | None:
        """What is known of a chain; None if it is not in the store."""
        query = """
            SELECT release_date, letters, unresolved FROM chains JOIN entries
            USING (pdb_id) WHERE pdb_id = ? AND author_id = ?
        """
        row = self._database.execute(query, (pdb_id, author_id)).fetchone()
        if row is None:
            return None
        released, letters, unresolved = row
        return TemplateChain(
            release_date=date.fromisoformat(released),
            letters=letters,
            unresolved=frozenset(json.loads(unresolved)),
        )

    def problems(self) -> list[tuple[str, str]]:
        """Files that were left out when the store was made, and why."""
        return list(self._database.execute("SELECT file, reason FROM problems"))

    def num_entries(self) -> int:
        """How many structures the store has."""
        query = "SELECT count(*) FROM entries"
        (count,) = self._database.execute(query).fetchone()
        return count

    def digest(self) -> str:
        """SHA-256 over the names and texts of all entries."""
        (value,) = self._database.execute(
            "SELECT value FROM about WHERE name = 'digest'"
        ).fetchone()
        return value


Structures = FolderStructures | PackedStructures


def open_structures(path: Path) -> Structures:
    """A folder of mmCIF files or a packed store.

    Raises:
        InputError: neither.
    """
    if path.is_dir():
        return FolderStructures(path)
    if not path.is_file():
        allowed = "a folder of mmCIF files or a packed template store"
        raise InputError(str(path), "structures", "no such file", allowed)
    return PackedStructures(path)


def chain_text(structures: Structures, pdb_id: str, author_id: str) -> str:
    """The mmCIF text of one chain of an entry.

    Raises:
        LookupError: the entry or chain is not there.
    """
    text = structures.text(pdb_id)
    entry = None if text is None else read_entry(text)
    chain_id = polymer_chains(entry).get(author_id) if entry else None
    if entry is None or chain_id is None:
        raise LookupError(f"no structure of {pdb_id}, chain {author_id}")
    return format_chain(entry, read_polymer(entry, chain_id))


def describe_chains(entry: Entry) -> dict[str, TemplateChain]:
    """All polymer chains of an entry that have atoms, by author's chain id.

    Raises:
        ValueError: no release date, or tables that do not fit together.
    """
    released = release_date(entry)
    if released is None:
        raise ValueError("it has no release date (_pdbx_audit_revision_history)")
    chains = {}
    for author_id, chain_id in polymer_chains(entry).items():
        chain = read_polymer(entry, chain_id)
        if chain.atoms:
            chains[author_id] = TemplateChain(
                release_date=date.fromisoformat(released),
                letters=_letters(chain),
                unresolved=frozenset(
                    int(chain.residues[i].label_seq_id) - 1 for i in chain.unresolved
                ),
            )
    return chains


def _letters(chain: ReadChain) -> str:
    if chain.kind not in PEPTIDES | NUCLEIC_ACIDS:
        return "X" * len(chain.residues)
    unknown = "X" if chain.kind in PEPTIDES else "N"
    return residue_letters([r.component for r in chain.residues], unknown=unknown)


def _decode(name: str, content: bytes) -> str:
    return (gzip.decompress(content) if name.endswith(".gz") else content).decode()


@dataclass(frozen=True)
class _Packed:
    """One file of the source, read."""

    pdb_id: str
    text: bytes
    chains: dict[str, TemplateChain]
    problem: str = ""


def pack_structures(
    source: Path | Readable, target: Path, *, workers: int = 1
) -> PackedStructures:
    """Packs a folder or tar of mmCIF files into one store.

    A tar may be an open stream, read once from its beginning to its end.

    Files that cannot be used are left out and listed in `problems`.

    Raises:
        InputError: the source is neither, or holds no mmCIF file.
    """
    digest, num_entries = hashlib.sha256(), 0
    with (
        replacing(target) as temporary,
        closing(sqlite3.connect(temporary)) as database,
        ProcessPoolExecutor(workers, get_context("forkserver")) as pool,
    ):
        database.executescript(f"PRAGMA journal_mode = OFF; {_TABLES}")
        batches = batched(_list_files(source), _BATCH * workers)
        read = (pair for batch in batches for pair in pool.map(_read_file, batch))
        for name, packed in read:
            if packed.problem:
                row = (name, packed.problem)
                database.execute("INSERT INTO problems VALUES (?, ?)", row)
                continue
            num_entries += 1
            digest.update(f"{packed.pdb_id} {len(packed.text)}\n".encode())
            digest.update(packed.text)
            _insert(database, name, packed)
        about = {"format": _FORMAT, "digest": digest.hexdigest(), "source": str(source)}
        database.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        database.commit()
    if not num_entries:
        target.unlink()
        raise InputError(str(source), "structures", "no usable file", "mmCIF files")
    return PackedStructures(target)


def _insert(database: sqlite3.Connection, name: str, packed: _Packed) -> None:
    released = next(iter(packed.chains.values())).release_date.isoformat()
    blob = zstandard.compress(packed.text, 6)
    try:
        entry = (packed.pdb_id, released, blob)
        database.execute("INSERT INTO entries VALUES (?, ?, ?)", entry)
    except sqlite3.IntegrityError:
        row = (name, f"{packed.pdb_id} is there already")
        database.execute("INSERT INTO problems VALUES (?, ?)", row)
        return
    database.executemany(
        "INSERT INTO chains VALUES (?, ?, ?, ?)",
        [
            (packed.pdb_id, author, chain.letters, json.dumps(sorted(chain.unresolved)))
            for author, chain in packed.chains.items()
        ],
    )


def _list_files(source: Path | Readable) -> Iterator[tuple[str, bytes | Path]]:
    """Names of mmCIF files, with contents or paths, in a fixed order."""
    if isinstance(source, Path) and source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.name.lower().endswith(_SUFFIXES):
                yield path.name, path
        return
    try:
        with (
            tarfile.open(source)
            if isinstance(source, Path)
            else tarfile.open(fileobj=cast(BinaryIO, source), mode="r|")
        ) as archive:
            for member in archive:
                name = PurePath(member.name).name
                if member.isfile() and name.lower().endswith(_SUFFIXES):
                    file = archive.extractfile(member)
                    yield name, file.read() if file else b""
    except (tarfile.TarError, OSError, EOFError) as error:
        allowed = "a folder or tar of mmCIF files"
        raise InputError(str(source), "structures", str(error), allowed) from error


def _read_file(file: tuple[str, bytes | Path]) -> tuple[str, _Packed]:
    name, content = file
    pdb_id = name.lower().removesuffix(".gz").removesuffix(".cif")
    try:
        data = content if isinstance(content, bytes) else content.read_bytes()
        text = _decode(name, data)
        chains = describe_chains(read_entry(text))
        if not chains:
            raise ValueError("it has no polymer chain with atoms")
    except (ValueError, OSError, EOFError) as error:
        return name, _Packed(pdb_id, b"", {}, problem=str(error)[:300])
    return name, _Packed(pdb_id, text.encode(), chains)


def list_problems(problems: Iterable[tuple[str, str]]) -> str:
    """Files left out, one per line, for people."""
    return "".join(f"{file}\t{reason}\n" for file, reason in problems)
