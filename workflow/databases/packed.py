"""Protein databases digitised once, in a form that is mapped into memory.

A FASTA file is parsed and digitised in every search; its packed form is an Arrow file
that every process of a machine maps, and shares in the file system's cache. Each of its
batches are some megabytes of the FASTA file, in its order; within one, the longest
sequences come first. Residues are a byte each, in HMMER's alphabet. The file names the
FASTA file it was made of by its digest, and every batch has a checksum, which is
verified whenever it is read.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int32, UInt32
from numpy import ndarray
from pyhmmer.easel import DigitalSequenceBlock

from af3_core.job import InputError
from af3_core.search.targets import PackedTargets
from kernels.segments import PackedSequences
from workflow.databases.manifest import Shard

_SCHEMA = pa.schema(
    [
        pa.field("sequence", pa.binary(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("description", pa.string(), nullable=False),
        pa.field("place", pa.uint32(), nullable=False),
    ]
)
_MADE_OF, _CHECKSUM = b"made_of", b"crc32"
_VERSION = 1


def write_packed(
    blocks: Iterator[DigitalSequenceBlock], shard: Shard, path: Path
) -> None:
    """Writes the packed form of a FASTA file.

    Args:
        blocks: the file's sequences.
        shard: what the manifest says of the file.
        path: where it goes; the caller sees to it that it appears whole.
    """
    made_of = {
        "version": _VERSION,
        "digest": shard.digest,
        "sequences": shard.sequences,
        "residues": shard.residues,
    }
    schema = _SCHEMA.with_metadata({_MADE_OF: json.dumps(made_of).encode()})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for block in blocks:
            batch = _pack(block)
            checksum = str(_checksum(batch)).encode()
            writer.write_batch(batch, custom_metadata={_CHECKSUM: checksum})


def _pack(block: DigitalSequenceBlock) -> pa.RecordBatch:
    lengths = np.array([len(sequence) for sequence in block])
    order = np.argsort(-lengths, kind="stable")
    sequences = [block[i] for i in order.tolist()]
    columns = [
        pa.array([memoryview(s.sequence).tobytes() for s in sequences], pa.binary()),
        pa.array([s.name for s in sequences], pa.string()),
        pa.array([s.description for s in sequences], pa.string()),
        pa.array(order, pa.uint32()),
    ]
    return pa.record_batch(columns, schema=_SCHEMA)


def read_packed(shard: Shard) -> Iterator[PackedTargets]:
    """The sequences of a packed shard, some megabytes at a time.

    Raises:
        InputError: the file is not the one of the manifest, or damaged.
    """
    try:
        with pa.memory_map(str(shard.path)) as file:
            yield from _read(file, shard)
    except InputError:
        raise
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError, ValueError) as error:
        raise _refuse(shard.path, str(error)) from error


def _read(file: pa.MemoryMappedFile, shard: Shard) -> Iterator[PackedTargets]:
    reader = pa.ipc.open_file(file)
    made_of = _made_of(reader, shard.path)
    if made_of["digest"] != shard.digest:
        allowed = f"what was made of SHA-256 {shard.digest}, as the manifest has it"
        raise InputError(str(shard.path), "content", str(made_of["digest"]), allowed)
    for index in range(reader.num_record_batches):
        yield _unpack(_verified(reader, index, shard.path))


def _verified(
    reader: pa.ipc.RecordBatchFileReader, index: int, path: Path
) -> pa.RecordBatch:
    batch, metadata = reader.get_batch_with_custom_metadata(index)
    if metadata is None or str(_checksum(batch)).encode() != metadata[_CHECKSUM]:
        raise _refuse(path, f"batch {index} is damaged")
    return batch


def _unpack(batch: pa.RecordBatch) -> PackedTargets:
    starts, residues = _parts(batch.column("sequence"))
    return PackedTargets(
        # A copy of what the checksum has just read: nobody can change it any more.
        PackedSequences(np.append(residues, np.uint8(0)), starts.astype(np.int64)),
        batch.column("name"),
        batch.column("description"),
        _places(batch),
    )


def count_packed(path: Path) -> Shard:
    """What a packed file holds, all of it read and verified.

    Raises:
        InputError: it is damaged, or none.
    """
    sequences = residues = 0
    try:
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            made_of = _made_of(reader, path)
            for index in range(reader.num_record_batches):
                starts, _ = _parts(_verified(reader, index, path).column("sequence"))
                sequences += len(starts) - 1
                residues += int(starts[-1] - starts[0])
    except InputError:
        raise
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError, ValueError) as error:
        raise _refuse(path, str(error)) from error
    if (sequences, residues) != (made_of["sequences"], made_of["residues"]):
        raise _refuse(path, f"{sequences} sequences of {residues} residues")
    size = path.stat().st_size
    return Shard(path, str(made_of["digest"]), size, sequences, residues)


def _made_of(reader: pa.ipc.RecordBatchFileReader, path: Path) -> dict[str, object]:
    metadata = reader.schema.metadata or {}
    made_of = json.loads(metadata.get(_MADE_OF, b"{}"))
    if made_of.get("version") != _VERSION or not reader.schema.equals(_SCHEMA):
        raise _refuse(path, "another format")
    return made_of


def _refuse(path: Path, found: str) -> InputError:
    allowed = "a digitised database as it was written; digitise it again"
    return InputError(str(path), "content", found, allowed)


def _checksum(batch: pa.RecordBatch) -> int:
    """CRC-32 of what a batch holds, however its buffers lie."""
    checksum = zlib.crc32(_places(batch))
    for name in ("sequence", "name", "description"):
        for part in _parts(batch.column(name)):
            checksum = zlib.crc32(part, checksum)
    return checksum


def _places(batch: pa.RecordBatch) -> UInt32[ndarray, "s"]:
    """Uncopied; PyArrow's own way to NumPy imports pandas first."""
    _, values = batch.column("place").buffers()
    return np.frombuffer(values or b"", np.uint32)[: batch.num_rows]


def _parts(column: pa.Array) -> tuple[Int32[ndarray, "bounds"], ndarray]:
    """Where the values of a column begin and end, and their bytes, uncopied."""
    _, bounds, data = column.buffers()
    if column.offset or bounds is None:
        raise ValueError("a column that begins within its buffers")
    starts = np.frombuffer(bounds, np.int32)[: len(column) + 1]
    last = int(starts[-1]) if len(starts) else 0
    return starts, np.frombuffer(data or b"", np.uint8)[:last]
