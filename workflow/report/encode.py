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
_ZERO = np.uint16(0)


def pack_json(value: object) -> str:
    """Base64 of gzipped JSON."""
    return pack_bytes(to_json(value))


def pack_bytes(data: bytes) -> str:
    """Base64 of gzipped bytes; equal data gives equal text."""
    return base64.b64encode(gzip.compress(data, _GZIP_LEVEL, mtime=0)).decode()


def to_json(value: object) -> bytes:
    """UTF-8 JSON of a tree of plain values; NaN and infinities become null."""
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:  # rare, and looking for NaN in every tree is slow
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

    Each value as its difference from left + above - above left (zero outside), modulo
    2^16, zigzag so that small steps of either sign are small numbers; all low bytes,
    then all high bytes. On a real PAE matrix this is 42 % smaller than gzip alone.
    """
    steps = np.diff(np.diff(matrix, axis=0, prepend=_ZERO), axis=1, prepend=_ZERO)
    signed = steps.view(np.int16)
    zigzag = ((signed << 1) ^ (signed >> 15)).view(np.uint16)
    low, high = (zigzag & 0xFF).astype(np.uint8), (zigzag >> 8).astype(np.uint8)
    return low.tobytes() + high.tobytes()
