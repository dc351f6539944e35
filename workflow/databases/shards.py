"""Cuts databases into shards and checks that files are still what the manifest says."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from af3_core.job import InputError
from af3_core.search.targets import AMINO
from workflow.databases.files import (
    BLOCK_BYTES,
    count_file,
    make_structures,
    read_blocks,
    read_records,
)
from workflow.databases.manifest import PACKED, Database, Shard
from workflow.databases.packed import count_packed, write_packed
from workflow.tables import replacing

MAX_SHARDS = 99_999


def shard_name(stem: str, index: int, count: int) -> str:
    """AlphaFold 3's name of a shard; `STEM@COUNT` is its name for all of them."""
    return f"{stem}-{index:05d}-of-{count:05d}"


def shard_database(database: Database, folder: Path, count: int) -> Database:
    """Cuts a database into shards of about equal size, in one pass.

    Records stay in order, so the digest of the whole stays the same and so does what
    the search store knows of it.

    Raises:
        InputError: fewer sequences than shards, or a file that has changed.
        OSError: the folder cannot be written; no shard is left then.
    """
    num_sequences = sum(shard.sequences for shard in database.shards)
    if not 1 <= count <= min(num_sequences, MAX_SHARDS):
        allowed = f"1 to {min(num_sequences, MAX_SHARDS)} for {database.name}"
        raise InputError(str(database.path), "shards", count, allowed)
    if any(shard.is_packed for shard in database.shards):
        allowed = "FASTA; cut it first, and digitise the shards"
        raise InputError(str(database.path), "shards", "a digitised database", allowed)
    stem = database.path.name.partition("-00000-of-")[0]
    paths = [folder / shard_name(stem, i, count) for i in range(count)]
    whole = hashlib.sha256()
    with ExitStack() as stack:
        files = [stack.enter_context(replacing(path)).open("wb") for path in paths]
        for file in files:
            stack.callback(file.close)
        total = sum(shard.bytes for shard in database.shards)
        for index, record in _assign(database, total, count):
            files[index].write(record)
            whole.update(record)
        if whole.hexdigest() != database.digest:
            allowed = f"SHA-256 {database.digest}, as the manifest has it"
            raise InputError(str(database.path), "content", whole.hexdigest(), allowed)
        _require_no_empty(files, database)
    shards = tuple(count_file(path, database.role) for path in paths)
    return replace(database, shards=shards, known_at=math.inf)


def _assign(
    database: Database, total_bytes: int, count: int
) -> Iterator[tuple[int, bytes]]:
    """Pieces of whole records with the shard each goes to; every shard gets some."""
    chunk = max(1, min(BLOCK_BYTES, total_bytes // (64 * count)))
    index = done = in_shard = 0
    left = sum(shard.sequences for shard in database.shards)
    for shard in database.shards:
        for piece in read_records(shard.path, chunk):
            for record in _records(piece):
                is_full = done >= total_bytes * (index + 1) / count
                must_move = left <= count - 1 - index
                if in_shard and index < count - 1 and (is_full or must_move):
                    index, in_shard = index + 1, 0
                yield index, record
                done, in_shard, left = done + len(record), in_shard + 1, left - 1


def _records(piece: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(piece):
        end = piece.find(b"\n>", start) + 1 or len(piece)
        yield piece[start:end]
        start = end


def _require_no_empty(files: Sequence[BinaryIO], database: Database) -> None:
    for file in files:
        if not file.tell():
            raise InputError(
                str(database.path), "sequences", "an empty shard", "a sequence each"
            )


def digitise_database(database: Database, folder: Path) -> Database:
    """Writes the digitised form of every file of a database.

    Its digest and sizes stay those of the FASTA files, and so does what the search
    store knows of it. What is there already, and whole, is kept.

    Raises:
        InputError: a file has changed, or damage in one that is there.
        OSError: the folder cannot be written.
    """
    return replace(
        database,
        shards=tuple(_digitise(shard, folder) for shard in database.shards),
        known_at=math.inf,
    )


def _digitise(shard: Shard, folder: Path) -> Shard:
    if shard.is_packed:
        return shard
    path = folder / f"{shard.path.name}{PACKED}"
    if not path.is_file() or count_packed(path).digest != shard.digest:
        with replacing(path) as temporary:
            write_packed(read_blocks(shard, AMINO), shard, temporary)
    return replace(shard, path=path, bytes=path.stat().st_size)


def verify_database(database: Database) -> None:
    """Reads all files of a database again and compares with the manifest.

    Raises:
        InputError: a file is missing or differs.
    """
    if database.role == "structures":
        found = make_structures(database.path).digest
        if found != database.digest:
            allowed = f"SHA-256 {database.digest}"
            raise InputError(str(database.path), "content", found, allowed)
        return
    for shard in database.shards:
        found = count_file(shard.path, database.role)
        if found != shard:
            shown = f"{found.bytes} bytes, SHA-256 {found.digest}"
            allowed = f"{shard.bytes} bytes, SHA-256 {shard.digest}"
            raise InputError(str(shard.path), "content", shown, allowed)
