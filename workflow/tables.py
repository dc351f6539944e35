"""Reads and writes the tables of a campaign: checked against their contract, whole
or not at all.

A file appears under its name only when it is complete: it is written beside it and
renamed. `made_from` is a digest of everything the table was computed from; it lives
in the file's metadata, so a stale table is recognised without reading its rows.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from af3_core.columns import Contract, ContractError

_COMPRESSION = "zstd"
_LIST_ENCODINGS = {
    pa.float32(): "BYTE_STREAM_SPLIT",
    pa.uint16(): "DELTA_BINARY_PACKED",
}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path that becomes `path` when the block succeeds.

    Readers see the old file or the new one, never a part of it; a failed block
    leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
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
    path: Path, contract: Contract, table: pa.Table, *, made_from: str = ""
) -> None:
    """Checks a table against its contract and writes it atomically.

    Raises:
        ContractError: the table is not what the contract says.
    """
    contract.check(table, where=str(path))
    metadata = {**table.schema.metadata, b"made_from": made_from.encode()}
    with replacing(path) as temporary:
        pq.write_table(
            table.replace_schema_metadata(metadata),
            temporary,
            compression=_COMPRESSION,
            row_group_size=1024,
            **encodings(table.schema),
        )


def encodings(schema: pa.Schema) -> dict[str, object]:
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


def read_table(path: Path, contract: Contract) -> pa.Table:
    """Reads a table and checks it against its contract.

    Raises:
        ContractError: the file is not what the contract says.
        FileNotFoundError: there is no such file.
    """
    return contract.check(pq.read_table(path, partitioning=None), where=str(path))


def read_rows(path: Path, contract: Contract) -> list[dict[str, object]]:
    """The rows of a small table."""
    return read_table(path, contract).to_pylist()


def is_current(path: Path, contract: Contract, *, made_from: str) -> bool:
    """Whether a complete file of this contract, made from this, is there.

    Only the footer is read. A file that is no Parquet file is not current.
    """
    if not path.is_file():
        return False
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError):
        return False
    return (
        metadata.get(b"contract") == contract.name.encode()
        and metadata.get(b"version") == str(contract.version).encode()
        and metadata.get(b"made_from") == made_from.encode()
    )


def read_made_from(path: Path) -> str:
    """What a table was made from, by its metadata; "" if there is no table."""
    if not path.is_file():
        return ""
    return (pq.read_schema(path).metadata or {}).get(b"made_from", b"").decode()


def digest_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def concatenate(paths: list[Path], contract: Contract) -> pa.Table:
    """All rows of several files of one contract."""
    tables = [read_table(path, contract) for path in paths]
    if not tables:
        return contract.table([])
    merged = pa.concat_tables([t.replace_schema_metadata(None) for t in tables])
    return contract.check(
        merged.replace_schema_metadata(contract.schema.metadata).cast(contract.schema),
        where=contract.name,
    )


__all__ = [
    "ContractError",
    "concatenate",
    "digest_file",
    "encodings",
    "is_current",
    "read_made_from",
    "read_rows",
    "read_table",
    "replacing",
    "write_table",
]
