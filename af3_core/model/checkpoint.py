"""Checkpoints in the published file format: read, checked and written.

A file is a stream of records, plain (`.bin`) or compressed (`.bin.zst`), whole or
cut into numbered parts. A record is five little-endian int32 (lengths of scope, name
and dtype, number of dimensions, bytes of data), then scope, name and dtype in UTF-8,
the dimensions as int32, and the values in C order.
"""

import contextlib
import hashlib
import io
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

import jax
import ml_dtypes
import numpy as np
import zstandard

from af3_core.job import InputError
from af3_core.model.checkpoint_files import (
    FORMAT,
    Card,
    find_parts,
    read_card,
    read_config,
    write_card,
)
from af3_core.model.config import ModelConfig
from af3_core.model.parameters import Shapes, parameter_shapes
from af3_core.model.renames import IDENTIFIER, RENAMES, UNUSED
from af3_core.structures.mmcif_origin import RELEASES, WeightsOrigin, WeightsRelease

_HEADER = struct.Struct("<5i")
_ALIGNMENT = 64
"""Bytes; JAX uses arrays so aligned without copying them."""
_DTYPES = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "uint8": np.dtype(np.uint8),
}
_Stream = io.BufferedReader | zstandard.ZstdDecompressionReader
FROM_SCRATCH = b"foldmill"
"""Begins the identifier of weights that were trained here from random ones."""
_MAX_NAME, _MAX_DIMENSIONS, _MAX_SHOWN = 1024, 8, 10


class Record(NamedTuple):
    """One parameter as it stands in the file."""

    scope: str
    name: str
    values: np.ndarray


@dataclass(frozen=True)
class Checkpoint:
    """Weights, and what is needed to use and to name them."""

    params: Mapping[str, Mapping[str, jax.Array]]
    config: ModelConfig
    identifier: str
    """64 bytes of the release, in hexadecimal."""
    digest: str
    """SHA-256 of all records, in hexadecimal, whatever the compression."""
    release: WeightsRelease
    """What they are called, and their licence."""

    @property
    def origin(self) -> WeightsOrigin:
        """Whose weights these are."""
        return self.release.origin


def _release_of(identifier: bytes) -> WeightsRelease:
    """What the identifier says of weights without anything stated beside them."""
    if not any(identifier):
        return RELEASES["untrained"]
    is_ours = identifier.startswith(FROM_SCRATCH)
    return RELEASES["foldmill" if is_ours else "alphafold3"]


def load_checkpoint(
    path: Path,
    config: ModelConfig | None = None,
    *,
    dtype: Literal["float32", "bfloat16"] | None = None,
) -> Checkpoint:
    """Loads a checkpoint onto JAX's default device, record by record.

    `path` is the file, the first of its parts, the name that its parts share, or a
    folder that holds one checkpoint. Without `config`, the one stored beside the file
    is taken (see `config_path`), else the published one.

    Args:
        dtype: of the activations that the weights are for. With bfloat16, weights that
            a file has in float32 are rounded now where the network would round them
            each time that it uses them. None: as they are in the file.

    Raises:
        InputError: no checkpoint there; or it is cut short, corrupt, not a
            checkpoint, does not hold exactly the parameters of `config`, or is not
            the one that was imported under its name.
    """
    parts = find_parts(path)
    card = read_card(path)
    config = config or card.config
    shapes = parameter_shapes(config)
    digest = hashlib.sha256()
    found: dict[tuple[str, str], Any] = {}
    for record in read_records(parts, digest):
        key = record.scope, record.name
        if key in found:
            raise _refuse(parts, ":".join(key), "twice", "every parameter once")
        values = record.values
        if dtype == "bfloat16" and values.dtype == np.float32:
            path_here = RENAMES.get(record.scope, "")
            wanted = shapes.get(path_here, {}).get(record.name)
            values = values if wanted is None else values.astype(wanted.dtype)
        # On a CPU the buffer is taken over; elsewhere it is freed after the transfer.
        found[key] = jax.device_put(values)
    if card.digest not in ("", digest.hexdigest()):
        allowed = f"{card.digest}, as when they were imported"
        raise _refuse(parts, "SHA-256 of the records", digest.hexdigest(), allowed)
    identifier = np.asarray(found.pop(IDENTIFIER, np.zeros(0, np.uint8))).tobytes()
    params = _rename(found, shapes, parts)
    release = card.release or _release_of(identifier)
    return Checkpoint(params, config, identifier.hex(), digest.hexdigest(), release)


def check_checkpoint(path: Path) -> ModelConfig:
    """Reads a checkpoint as `load_checkpoint` does, keeping nothing of it.

    Returns:
        The configuration of its network.

    Raises:
        InputError: it could not be loaded.
    """
    parts, config = find_parts(path), read_config(path)
    found = {
        (record.scope, record.name): jax.ShapeDtypeStruct(
            record.values.shape, record.values.dtype
        )
        for record in read_records(parts)
    }
    found.pop(IDENTIFIER, None)
    _rename(found, parameter_shapes(config), parts)
    return config


def read_records(
    parts: list[Path], digest: "hashlib._Hash | None" = None
) -> Iterator[Record]:
    """Streams the records of a checkpoint; `digest` is fed with their bytes.

    Raises:
        InputError: the stream is cut short, corrupt or something else.
    """
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(_open_parts(parts))
        number = 0
        while True:
            try:
                record = _read_record(stream, digest)
            except (zstandard.ZstdError, _Malformed) as error:
                raise _refuse(parts, f"record {number}", str(error), FORMAT) from error
            if record is None:
                break
            number += 1
            yield record
        if number == 0:
            raise _refuse(parts, "checkpoint", "an empty file", FORMAT)


class _Malformed(ValueError):
    """A record breaks the format."""


class _Parts(io.RawIOBase):
    """Several files read as one."""

    def __init__(self, parts: list[Path]) -> None:
        self._files = [part.open("rb") for part in parts]
        self._current = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._current < len(self._files):
            if count := self._files[self._current].readinto(buffer):
                return count
            self._current += 1
        return 0

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


@contextlib.contextmanager
def _open_parts(parts: list[Path]) -> Iterator[_Stream]:
    compressed = any(".zst" in part.suffixes for part in parts)
    with contextlib.closing(_Parts(parts)) as raw:
        if not compressed:
            yield io.BufferedReader(raw, 1 << 20)
            return
        decompressor = zstandard.ZstdDecompressor()
        with decompressor.stream_reader(
            cast(IO[bytes], raw), read_across_frames=True
        ) as stream:
            yield stream


def _read_exactly(stream: _Stream, count: int, what: str) -> np.ndarray:
    """`count` bytes as an aligned array."""
    padded = np.empty(count + _ALIGNMENT, np.uint8)
    start = -padded.ctypes.data % _ALIGNMENT
    buffer = padded[start : start + count]
    view, done = memoryview(buffer), 0
    while done < count and (read := stream.readinto(view[done:])):
        done += read
    if done < count:
        raise _Malformed(f"file ends after {done} of {count} bytes of {what}")
    return buffer


def _read_record(stream: _Stream, digest: "hashlib._Hash | None") -> Record | None:
    head = stream.read(1)
    if not head:
        return None
    head += _read_exactly(stream, _HEADER.size - 1, "a header").tobytes()
    lengths = _HEADER.unpack(head)
    num_scope, num_name, num_dtype, num_dimensions, num_bytes = lengths
    is_plausible = (
        all(0 < n <= _MAX_NAME for n in lengths[:3])
        and 0 <= num_dimensions <= _MAX_DIMENSIONS
        and num_bytes >= 0
    )
    if not is_plausible:
        raise _Malformed(f"not a record's header: {', '.join(map(str, lengths))}")
    length = num_scope + num_name + num_dtype + 4 * num_dimensions
    label = _read_exactly(stream, length, "a name").tobytes()
    ends = num_scope, num_scope + num_name, num_scope + num_name + num_dtype
    try:
        scope, name, dtype = (
            label[start:end].decode("utf-8")
            for start, end in zip((0, *ends), ends, strict=False)
        )
    except UnicodeDecodeError as error:
        raise _Malformed("a name that is not UTF-8") from error
    shape = struct.unpack(f"<{num_dimensions}i", label[ends[-1] :])
    if dtype not in _DTYPES:
        raise _Malformed(f"{scope}:{name} has dtype {dtype!r}")
    is_sized = math.prod(shape) * _DTYPES[dtype].itemsize == num_bytes
    if min(shape, default=1) < 0 or not is_sized:
        raise _Malformed(f"{scope}:{name} has {num_bytes} bytes for shape {shape}")
    data = _read_exactly(stream, num_bytes, f"{scope}:{name}")
    if digest is not None:
        digest.update(head + label)
        digest.update(data)
    return Record(scope, name, data.view(_DTYPES[dtype]).reshape(shape))


def _rename(
    found: Mapping[tuple[str, str], Any], expected: Shapes, parts: list[Path]
) -> dict[str, dict[str, Any]]:
    """Moves parameters to our paths; refuses unless they are exactly `expected`."""
    params: dict[str, dict[str, Any]] = {}
    problems = []
    for (scope, name), values in found.items():
        if scope in UNUSED:
            continue
        path = RENAMES.get(scope)
        wanted = expected.get(path, {}).get(name) if path else None
        if wanted is None:
            problems.append(f"unknown {scope}:{name}")
        elif wanted.shape != values.shape:
            problems.append(
                f"{scope}:{name} ({path}) has shape {values.shape}, not {wanted.shape}"
            )
        else:
            params.setdefault(str(path), {})[name] = values
    scopes = {path: scope for scope, path in RENAMES.items()}
    problems += [
        f"missing {scopes[path]}:{name} ({path})"
        for path, leaves in expected.items()
        for name in leaves
        if (scopes[path], name) not in found
    ]
    if problems:
        shown = problems[:_MAX_SHOWN]
        if len(problems) > _MAX_SHOWN:
            shown.append(f"and {len(problems) - _MAX_SHOWN} more")
        allowed = "exactly the parameters of its model configuration: " + "; ".join(
            shown
        )
        raise _refuse(parts, "parameters", f"{len(problems)} that do not fit", allowed)
    return params


def _refuse(parts: list[Path], field: str, value: str, allowed: str) -> InputError:
    return InputError(str(parts[0]), field, value, allowed)


def published_shapes(
    config: ModelConfig,
) -> dict[tuple[str, str], jax.ShapeDtypeStruct]:
    """Every record that a checkpoint of `config` holds, by scope and name, sorted.

    The published table, for the published configuration. What AlphaFold 3 computes
    with and discards (`UNUSED`) is among them.
    """
    ours = parameter_shapes(config)
    records = {
        (scope, name): shape
        for scope, path in RENAMES.items()
        for name, shape in ours.get(path, {}).items()
    }
    for scope, twin in UNUSED.items():
        # A discarded first computation has the shapes of the second, which is used.
        prefix = scope[: scope.index(twin.removesuffix("_1"))]
        records[scope, "weights"] = records[prefix + twin, "weights"]
    records[IDENTIFIER] = jax.ShapeDtypeStruct((64,), np.uint8)
    return dict(sorted(records.items()))


def write_records(path: Path, records: Iterator[Record]) -> str:
    """Writes a checkpoint; compressed if the name ends in .zst. Atomic.

    Returns the SHA-256 of all records, in hexadecimal.
    """
    partial, digest = path.with_name(path.name + ".partial"), hashlib.sha256()
    with contextlib.ExitStack() as stack:
        stack.callback(partial.unlink, missing_ok=True)
        stream: Any = stack.enter_context(partial.open("wb"))
        if path.suffix == ".zst":
            compressor = zstandard.ZstdCompressor(level=1)
            stream = stack.enter_context(compressor.stream_writer(stream))
        for scope, name, values in records:
            labels = [x.encode() for x in (scope, name, values.dtype.name)]
            sizes = *map(len, labels), values.ndim, values.nbytes
            shape = struct.pack(f"<{values.ndim}i", *values.shape)
            data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
            for piece in (_HEADER.pack(*sizes) + b"".join(labels) + shape, data):
                stream.write(piece)
                digest.update(piece)
        stream.close()
        partial.replace(path)
    return digest.hexdigest()


def write_checkpoint(
    path: Path,
    params: Mapping[str, Mapping[str, Any]],
    config: ModelConfig,
    identifier: bytes = bytes(64),
) -> None:
    """Writes parameters in the published format, and `config` beside them."""

    def records() -> Iterator[Record]:
        for (scope, name), shape in published_shapes(config).items():
            if (scope, name) == IDENTIFIER:
                values = np.frombuffer(identifier, np.uint8)
            elif scope in UNUSED:
                values = np.zeros(shape.shape, shape.dtype)
            else:
                values = np.asarray(params[RENAMES[scope]][name]).astype(shape.dtype)
            yield Record(scope, name, values)

    write_card(path, Card(config))
    write_records(path, records())


def write_random_checkpoint(path: Path, config: ModelConfig, seed: int) -> None:
    """Writes pseudo-random parameters for `config`; equal seeds, equal files.

    Weights are normal with the deviation 1/√(inputs) that keeps activations in range,
    scales are near 1, biases and offsets near 0: an untrained network that is finite
    everywhere, and meaningless.
    """

    def records() -> Iterator[Record]:
        for (scope, name), shape in published_shapes(config).items():
            text = f"{seed}:{scope}:{name}".encode()
            entropy = int.from_bytes(hashlib.sha256(text).digest()[:16], "little")
            values = np.random.default_rng(entropy).standard_normal(shape.shape)
            if (scope, name) == IDENTIFIER:
                values = np.zeros(shape.shape)
            elif name == "scale":
                values = 1 + 0.1 * values
            elif name in ("bias", "offset", "output_b"):
                values = 0.1 * values
            else:
                values = 0.04 * values
            yield Record(scope, name, values.astype(shape.dtype))

    write_card(path, Card(config))
    write_records(path, records())
