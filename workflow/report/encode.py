"""How data travels inside the page.

Everything is gzip in base64, in script elements that never run: no name from an input
file meets the HTML or the JavaScript parser, and the page stays small.
"""

import base64
import gzip
import json
import math

import numpy as np
from jaxtyping import UInt16

_GZIP_LEVEL = 6


def pack_json(value: object) -> str:
    """Base64 of gzipped JSON; NaN and infinities, which JSON lacks, become null."""
    return pack_bytes(to_json(value))


def pack_bytes(data: bytes) -> str:
    """Base64 of gzipped bytes; equal data gives equal text."""
    return base64.b64encode(gzip.compress(data, _GZIP_LEVEL, mtime=0)).decode()


def to_json(value: object) -> bytes:
    """UTF-8 JSON of a tree of plain values."""
    text = json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))
    return text.encode()


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def pack_sections(head: object, *sections: bytes) -> str:
    """JSON and binary sections in one text: lengths (uint32), then the parts."""
    parts = [to_json(head), *sections]
    lengths = np.array([len(parts), *map(len, parts)], "<u4").tobytes()
    return pack_bytes(lengths + b"".join(parts))


def encode_matrix(matrix: UInt16[np.ndarray, "n n"]) -> bytes:
    """A smooth matrix as bytes that compress well.

    Each row as differences between neighbours (modulo 2^16, the first to zero), zigzag
    so that small steps of either sign are small numbers; all low bytes, then all high.
    """
    steps = np.diff(matrix.astype(np.int32), axis=1, prepend=np.int32(0))
    zigzag = np.where(steps < 0, -2 * steps - 1, 2 * steps).astype(np.uint32)
    low, high = (zigzag & 0xFF).astype(np.uint8), (zigzag >> 8).astype(np.uint8)
    return low.tobytes() + high.tobytes()
