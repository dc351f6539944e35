"""Files of a sequence database: counted, digested, cut into shards, read in blocks."""

import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyhmmer.easel import Alphabet, DigitalSequenceBlock, SequenceFile

from af3_core.job import InputError
from af3_core.search.settings import Role
from workflow.databases.catalogue import TOOLS, Database, Shard
from workflow.databases.template_store import PackedStructures, Readable

BLOCK_BYTES = 16 << 20
LONGEST_PROTEIN = 100_000
_HEADER = re.compile(rb"^>[^\n]*\n?", re.MULTILINE)
_NO_RESIDUE = b" \t\r\n"

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
_SUFFIXES = (".fasta", ".fa", ".fas", ".txt")
_SHARD_NAME = re.compile(r"-(\d{5})-of-(\d{5})")
_STRUCTURES = ("pdb_mmcif", "mmcif_files")


@dataclass
class _Count:
    """Digest and sizes of what has been read so far."""

    hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    bytes: int = 0
    sequences: int = 0
    residues: int = 0

    def add(self, chunk: bytes) -> None:
        bodies, sequences = _HEADER.subn(b"", chunk)
        self.hash.update(chunk)
        self.bytes += len(chunk)
        self.sequences += sequences
        self.residues += len(bodies.translate(None, _NO_RESIDUE))

    def shard(self, path: Path) -> Shard:
        return Shard(
            path=path,
            digest=self.hash.hexdigest(),
            bytes=self.bytes,
            sequences=self.sequences,
            residues=self.residues,
        )


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


def read_blocks(shard: Shard, alphabet: Alphabet) -> Iterator[DigitalSequenceBlock]:
    """The digitised sequences of a shard, a few megabytes at a time.

    Raises:
        InputError: the file is not the one of the manifest. That is certain only when
            all has been read, so nothing may be kept of a stream that was not read to
            its end.
    """
    if shard.path.exists() and shard.path.stat().st_size != shard.bytes:
        size = shard.path.stat().st_size
        raise _changed(shard, f"{size} bytes", f"{shard.bytes} bytes")
    digest = hashlib.sha256()
    for records in read_records(shard.path):
        digest.update(records)
        yield digitise(records, alphabet, shard.path)
    if digest.hexdigest() != shard.digest:
        raise _changed(shard, digest.hexdigest(), f"SHA-256 {shard.digest}")


def _changed(shard: Shard, found: str, wanted: str) -> InputError:
    allowed = f"{wanted}, as the manifest has it; if the database is new, make it again"
    return InputError(str(shard.path), "content", found, allowed)


def digitise(records: bytes, alphabet: Alphabet, path: Path) -> DigitalSequenceBlock:
    """FASTA records in HMMER's alphabet.

    Raises:
        InputError: a character that stands for no residue, or a protein too long.
    """
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


def count_file(path: Path) -> Shard:
    """Digest and sizes of a FASTA file."""
    return count_records(read_records(path), path)


def count_records(pieces: Iterable[bytes], path: Path) -> Shard:
    """Digest and sizes of a file from pieces of whole records, as they come."""
    count = _Count()
    for records in pieces:
        count.add(records)
    return count.shard(path)


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

        shards.append(count_records(read(), path))
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
        InputError: a shard is missing.
    """
    files = sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and (path.suffix in _SUFFIXES or _SHARD_NAME.search(path.name))
    )
    found = []
    for prefix, name, role in _NAMES:
        matching = [path for path in files if path.name.startswith(prefix)]
        shards = [path for path in matching if _SHARD_NAME.search(path.name)]
        if matching:
            _require_all_shards(shards or matching)
            found.append((name, role, shards or matching))
    return found


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
    return tuple(databases)
