"""Reads and writes the files of a campaign: whole, checked, or not at all.

A file appears under its name only when it is complete: it is written beside it and
renamed. Every table is sealed: between its data and its footer, where Parquet's readers
do not look, stand digests of both. Every read verifies them, so a damaged file is never
taken for a result; `DamagedFile` says which it is. `made_from` is a digest of all that
a table was computed from; it lives in the file's metadata, so a stale table is
recognised without reading its rows. Files of JSON carry a digest of their content.
"""

import functools
import hashlib
import io
import json
import os
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from af3_core.columns import Contract, ContractError, columns_of, rows_of

_COMPRESSION = "zstd"
_LIST_ENCODINGS = {
    pa.float32(): "BYTE_STREAM_SPLIT",
    pa.uint16(): "DELTA_BINARY_PACKED",
}
_NO_PARTITIONS: Any = None
"""A folder named a=b is no column; PyArrow's own type does not say that None may be."""
_SEAL = b"FMSEAL01"
"""Begins the seal: this, SHA-256 of all before it, SHA-256 of all after it."""
_SEAL_BYTES = len(_SEAL) + 2 * hashlib.sha256().digest_size
_TAIL = struct.Struct("<I4s")
"""Ends a Parquet file: length of the footer, and the magic number."""
_MAGIC = b"PAR1"
_LONGEST_NAME = 255
"""Bytes of a file's name, on all common file systems."""


class DamagedFile(Exception):
    """A file is not as it was written. It counts as absent, and is made again."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is damaged: {reason}")
        self.path = path


class Identity(NamedTuple):
    """What changes with a file's content, as the file server sees it."""

    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    """When the inode was last changed; unlike `modified_ns` nobody can set it back."""


def identity_of(path: str | Path) -> Identity:
    """What names this content of a file.

    Raises:
        OSError: there is no such file, or it cannot be seen.
    """
    status = os.stat(path)
    return Identity(
        status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path that becomes `path` when the block succeeds.

    Readers see the old file or the new one, never a part of it; a failed block
    leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}."
    if len(os.fsencode(prefix)) + 8 > _LONGEST_NAME:
        prefix = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()}."
    handle, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _current_umask() -> int:
    """The process's umask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _current_umask()


def write_table(
    path: Path,
    contract: Contract,
    table: pa.Table,
    *,
    made_from: str = "",
    notes: Mapping[str, str] | None = None,
) -> None:
    """Checks a table against its contract, seals it and writes it atomically.

    `notes` are further metadata of the file.

    Raises:
        ContractError: the table is not what the contract says.
    """
    contract.check(table, where=str(path))
    with table_writer(path, contract) as writer:
        writer.write_table(table, row_group_size=1024)
        writer.add_key_value_metadata({"made_from": made_from, **(notes or {})})


@contextmanager
def table_writer(path: Path, contract: Contract) -> Iterator[pq.ParquetWriter]:
    """Writes a sealed table piece by piece; it appears when the block succeeds."""
    with replacing(path) as temporary:
        with pq.ParquetWriter(
            temporary,
            contract.schema,
            compression=_COMPRESSION,
            write_page_checksum=True,
            **_encodings(contract.schema),
        ) as writer:
            yield writer
        seal(temporary)


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Parquet encodings that make lists of numbers compress a third better.

    Neighbouring errors differ little, and coordinates share their leading bytes.
    """
    chosen = {
        f"{field.name}.list.element": _LIST_ENCODINGS[field.type.value_type]
        for field in schema
        if pa.types.is_list(field.type) and field.type.value_type in _LIST_ENCODINGS
    }
    if not chosen:
        return {}
    others = [path for path in _leaves(schema) if path not in chosen]
    return {"use_dictionary": others or False, "column_encoding": chosen}


def _leaves(schema: pa.Schema) -> Iterator[str]:
    """Paths of a schema's columns as Parquet calls them; structures have none here."""
    for field in schema:
        is_list = pa.types.is_list(field.type)
        yield f"{field.name}.list.element" if is_list else field.name


def seal(path: Path) -> None:
    """Puts digests of data and footer between the two, in place."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size - _TAIL.size)
        length, _ = _TAIL.unpack(file.read(_TAIL.size))
        start = size - _TAIL.size - length
        data = digest_of_first(file, start)
        file.seek(start)
        footer = file.read()
        file.seek(start)
        file.write(_SEAL + data + hashlib.sha256(footer).digest() + footer)


def digest_of_first(file: BinaryIO, num_bytes: int) -> bytes:
    """SHA-256 of the first bytes of a file, which is then at the end of them."""
    digest = hashlib.sha256()
    file.seek(0)
    while num_bytes and (piece := file.read(min(num_bytes, 1 << 20))):
        digest.update(piece)
        num_bytes -= len(piece)
    return digest.digest()


def verify(path: Path) -> None:
    """Reads a sealed table from end to end, once for each process and content.

    Raises:
        DamagedFile: a byte of it is not as it was written.
        FileNotFoundError: there is no such file.
    """
    _verify(path, identity_of(path))


@functools.lru_cache(maxsize=1 << 16)
def _verify(path: Path, identity: Identity) -> None:
    with path.open("rb") as file:
        _require_whole(file, identity.size, path)


def is_sealed(content: bytes) -> bool:
    """Whether a table was sealed when it was written; undecided if it is damaged."""
    return _SEAL in content


def verify_content(content: bytes, path: Path) -> None:
    """Checks the content of a sealed table, of which `path` is the name.

    Raises:
        DamagedFile: a byte of it is not as it was written.
    """
    _require_whole(io.BytesIO(content), len(content), path)


def _require_whole(file: BinaryIO, size: int, path: Path) -> None:
    found = _find_seal(file, size, path)
    if digest_of_first(file, found.num_bytes) != found.data:
        raise DamagedFile(path, "its data are not those that were written")


def read_seal(path: Path) -> str:
    """Names the content of a sealed table; only its end is read.

    Raises:
        DamagedFile: the footer is not as it was written.
        FileNotFoundError: there is no such file.
    """
    found = _read_seal(path, identity_of(path))
    return (found.data + found.footer).hex()


class _Seal(NamedTuple):
    num_bytes: int
    """That come before it."""
    data: bytes
    """Their digest."""
    footer: bytes
    """That of all after it."""


@functools.lru_cache(maxsize=1 << 16)
def _read_seal(path: Path, identity: Identity) -> _Seal:
    with path.open("rb") as file:
        return _find_seal(file, identity.size, path)


def _find_seal(file: BinaryIO, size: int, path: Path) -> _Seal:
    """The seal of a table whose footer is whole."""
    if size < _TAIL.size:
        raise DamagedFile(path, f"it has {size} bytes")
    file.seek(size - _TAIL.size)
    length, magic = _TAIL.unpack(file.read(_TAIL.size))
    start = size - _TAIL.size - length - _SEAL_BYTES
    if magic != _MAGIC or start < 0:
        raise DamagedFile(path, "it does not end as a table does")
    file.seek(start)
    found, footer = file.read(_SEAL_BYTES), file.read()
    seal = _Seal(start, found[len(_SEAL) : -32], found[-32:])
    if not found.startswith(_SEAL) or hashlib.sha256(footer).digest() != seal.footer:
        raise DamagedFile(path, "its footer is not the one that was written")
    return seal


def read_table(path: Path, contract: Contract) -> pa.Table:
    """Reads a table and checks it against its contract.

    Raises:
        ContractError: the file is not what the contract says.
        DamagedFile: it is not as it was written.
        FileNotFoundError: there is no such file.
    """
    verify(path)
    return contract.check(
        pq.read_table(path, partitioning=_NO_PARTITIONS), where=str(path)
    )


def read_rows[T](path: Path, contract: Contract[T]) -> list[T]:
    """The rows of a table, whose lists of numbers are NumPy arrays.

    Raises:
        ContractError: the file is not what the contract says.
        DamagedFile: it is not as it was written.
        FileNotFoundError: there is no such file.
    """
    return contract.rows(read_table(path, contract))


def read_rows_of[T](path: Path, contract: Contract, kind: type[T]) -> list[T]:
    """The rows of a table as a `row` class of some of its columns, the only ones read.

    Raises:
        ContractError, DamagedFile, FileNotFoundError: see `read_columns`.
    """
    names = [column.name for column in columns_of(kind)]
    return rows_of(read_columns(path, contract, names), kind)


def read_columns(
    path: Path,
    contract: Contract,
    columns: Sequence[str] | None = None,
    where: pc.Expression | None = None,
) -> pa.Table:
    """Chosen columns and rows of a table; the rest is never read.

    Raises:
        ContractError: the file holds another contract or version, or lacks a column.
        DamagedFile: a page that is read, or the footer, is not as it was written.
        FileNotFoundError: there is no such file.
    """
    notes = read_notes(path)
    if not is_of(notes, contract):
        found = f"{notes.get('contract')} version {notes.get('version')}"
        wanted = f"{contract.name} version {contract.version}"
        raise ContractError(f"{path}: holds {found}, wanted {wanted}")
    names = list(columns or contract.schema.names)
    try:
        table = pq.read_table(
            path,
            columns=names,
            filters=where,
            partitioning=_NO_PARTITIONS,
            page_checksum_verification=True,
        )
    except (pa.ArrowException, OSError) as error:
        # Whether the file or something else is at fault, its digest says.
        verify(path)
        raise error
    if missing := set(names) - set(table.schema.names):
        raise ContractError(f"{path}: lacks columns {', '.join(sorted(missing))}")
    return table


@contextmanager
def open_table(path: Path) -> Iterator[pq.ParquetFile]:
    """A table whose row groups are read one by one, pages checked as they are read.

    Raises:
        DamagedFile: the footer is not as it was written.
        FileNotFoundError: there is no such file.
    """
    _read_seal(path, identity_of(path))
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        yield file


def read_notes(path: Path) -> dict[str, str]:
    """A table's metadata: contract, version, made_from and whatever else was noted.

    Raises:
        DamagedFile: the footer is not as it was written.
        FileNotFoundError: there is no such file.
    """
    identity = identity_of(path)
    _read_seal(path, identity)
    return _read_notes(path, identity)


@functools.lru_cache(maxsize=1 << 12)
def _read_notes(path: Path, identity: Identity) -> dict[str, str]:
    found = pq.read_metadata(path).metadata or {}
    return {
        name.decode(): value.decode()
        for name, value in found.items()
        if not name.startswith(b"ARROW")
    }


def is_current(path: Path, contract: Contract, *, made_from: str) -> bool:
    """Whether a whole file of this contract, made from this, is there."""
    try:
        notes = read_notes(path)
        if notes.get("made_from") != made_from or not is_of(notes, contract):
            return False
        verify(path)
    except (DamagedFile, FileNotFoundError):
        return False
    return True


def is_of(notes: Mapping[str, str], contract: Contract) -> bool:
    """Whether a table with this metadata is of this contract and version."""
    found = (notes.get("contract"), notes.get("version"))
    return found == (contract.name, str(contract.version))


def read_made_from(path: Path) -> str:
    """What a table was made from, by its metadata; "" if there is no whole table."""
    try:
        return read_notes(path).get("made_from", "")
    except (DamagedFile, FileNotFoundError):
        return ""


def digest_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def concatenate(paths: Iterable[Path], contract: Contract) -> pa.Table:
    """All rows of several files of one contract."""
    tables = [read_table(path, contract) for path in paths]
    if not tables:
        return contract.table([])
    merged = pa.concat_tables([t.replace_schema_metadata(None) for t in tables])
    return contract.check(
        merged.replace_schema_metadata(contract.schema.metadata).cast(contract.schema),
        where=contract.name,
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes an object as JSON, atomically, and before it a digest of the text."""
    text = json.dumps(content, default=str)
    head = _head_of(text.encode())
    with replacing(path) as temporary:
        temporary.write_text(f"{head}\n{text}}}\n", encoding="ascii")


def read_json(path: Path) -> dict[str, Any]:
    """The object of a file that `write_json` wrote.

    Raises:
        DamagedFile: it is not as it was written.
        FileNotFoundError: there is no such file.
    """
    return json.loads(_checked_text(path))


def verify_json(path: Path) -> None:
    """Reads a file that `write_json` wrote, for its digest alone.

    Raises:
        DamagedFile: it is not as it was written.
        FileNotFoundError: there is no such file.
    """
    _checked_text(path)


def _checked_text(path: Path) -> bytes:
    head, _, rest = path.read_bytes().partition(b"\n")
    text = rest.removesuffix(b"}\n")
    if head != _head_of(text).encode() or text == rest:
        raise DamagedFile(path, "it is not the JSON that was written")
    return text


def _head_of(text: bytes) -> str:
    """What stands before the content of a file of JSON."""
    return f'{{"sha256": "{hashlib.sha256(text).hexdigest()}", "content":'


__all__ = [
    "ContractError",
    "DamagedFile",
    "Identity",
    "concatenate",
    "digest_file",
    "digest_of_first",
    "identity_of",
    "is_current",
    "is_of",
    "is_sealed",
    "open_table",
    "read_columns",
    "read_json",
    "read_made_from",
    "read_notes",
    "read_rows",
    "read_rows_of",
    "read_seal",
    "read_table",
    "replacing",
    "seal",
    "table_writer",
    "verify",
    "verify_content",
    "verify_json",
    "write_json",
    "write_table",
]
