"""The pseudo-random checkpoint that the recorded outputs were computed with.

It has the published shapes and names. The values of a parameter depend on its name
alone: the CRC-32 of "scope:name" keys a Philox generator of standard normal float32.
Scales are 1 + 0.1 × that, biases and offsets 0.1 × that, all else 0.04 × that.
"""

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from af3_core.model.checkpoint import Record, published_shapes, write_records
from af3_core.model.config import ModelConfig

NUM_RECORDS = 405
TABLE_DIGEST = "0d935f37091835c91ce1eb6c0435ac63e703f1b1db5208295eec135887a47e05"
"""SHA-256 of the lines "scope<tab>name<tab>dtype<tab>AxBxC" of all records, sorted."""


def table_digest(config: ModelConfig) -> str:
    """The digest of a configuration's table of parameters; see `TABLE_DIGEST`."""
    lines = sorted(
        f"{scope}\t{name}\t{shape.dtype.name}\t{'x'.join(map(str, shape.shape))}\n"
        for (scope, name), shape in published_shapes(config).items()
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def parameter_values(scope: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 values of one parameter."""
    if scope == "__meta__":
        return np.zeros(shape, np.float32)
    key = zlib.crc32(f"{scope}:{name}".encode())
    generator = np.random.Generator(np.random.Philox(key=key))
    values = generator.standard_normal(shape, dtype=np.float32)
    if name == "scale":
        return 1 + 0.1 * values
    return (0.1 if name in ("offset", "bias") else 0.04) * values


def write_reference_checkpoint(path: Path) -> None:
    """Writes the checkpoint of the recorded outputs: 1 GB, about 20 s."""

    def records() -> Iterator[Record]:
        for (scope, name), shape in published_shapes(ModelConfig()).items():
            values = parameter_values(scope, name, shape.shape)
            yield Record(scope, name, values.astype(shape.dtype))

    write_records(path, records())
