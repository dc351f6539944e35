"""Columns of a BinaryCIF file, decoded one by one when they are asked for.

The chemical component dictionary has 2.4 million atom rows. A job needs a few dozen
of them, so numbers stay compact integer arrays and strings stay indices into a small
table until a row is read. Encodings: BinaryCIF specification 0.3,
doi:10.1371/journal.pcbi.1008247.
"""

from dataclasses import dataclass
from pathlib import Path

import msgpack
import numpy as np
from jaxtyping import Int, Shaped

_BYTE_TYPES = {1: "i1", 2: "<i2", 3: "<i4", 4: "u1", 5: "<u2", 6: "<u4"} | {
    32: "<f4",
    33: "<f8",
}

Packed = dict  # one encoded array: {"data": bytes, "encoding": [...]}


@dataclass(frozen=True)
class Column:
    """One column: `table[values]` where there is a table, else `values / factor`."""

    values: Shaped[np.ndarray, "rows"]
    """Numbers, or indices into `table`."""
    mask: Int[np.ndarray, "rows"] | None
    """0 where a value is present; None where all are."""
    table: tuple[str, ...] | None = None
    factor: float | None = None

    def texts(self, start: int, stop: int) -> tuple[str | None, ...]:
        """Rows of a text column; None where a value is unknown or not applicable."""
        if self.table is None:
            raise ValueError("the column holds numbers, not texts")
        present = self._present(start, stop)
        indices = self.values[start:stop].tolist()
        return tuple(
            self.table[i] if ok else None
            for i, ok in zip(indices, present, strict=True)
        )

    def numbers(self, start: int, stop: int) -> tuple[float | int | None, ...]:
        """Rows of a numeric column; None where a value is unknown."""
        if self.table is not None:
            raise ValueError("the column holds texts, not numbers")
        values = self.values[start:stop]
        if self.factor is not None:
            values = values / self.factor
        return tuple(
            value if ok else None
            for value, ok in zip(
                values.tolist(), self._present(start, stop), strict=True
            )
        )

    def _present(self, start: int, stop: int) -> list[bool]:
        if self.mask is None:
            return [True] * (stop - start)
        return (self.mask[start:stop] == 0).tolist()


def read_categories(path: Path) -> dict[str, dict[str, dict]]:
    """Returns the still encoded columns of a one-block file: category, column."""
    file = msgpack.unpackb(path.read_bytes(), raw=False)
    (block,) = file["dataBlocks"]
    return {
        category["name"]: {column["name"]: column for column in category["columns"]}
        for category in block["categories"]
    }


def decode_column(column: dict) -> Column:
    """Decodes a column as far as is cheap: strings and fractions stay integers."""
    data, encodings = column["data"]["data"], list(column["data"]["encoding"])
    mask = None if column["mask"] is None else decode(column["mask"])
    if encodings[0]["kind"] == "StringArray":
        (encoding,) = encodings
        indices = decode({"data": data, "encoding": encoding["dataEncoding"]})
        return Column(indices, mask, table=_string_table(encoding))
    if encodings[0]["kind"] == "FixedPoint":
        fixed_point = encodings.pop(0)
        values = decode({"data": data, "encoding": encodings})
        return Column(values, mask, factor=float(fixed_point["factor"]))
    return Column(decode(column["data"]), mask)


def decode(packed: Packed) -> Shaped[np.ndarray, "rows"]:
    """Undoes the encodings of a numeric array, last applied first."""
    values: np.ndarray | bytes = packed["data"]
    for encoding in reversed(packed["encoding"]):
        values = _DECODERS[encoding["kind"]](values, encoding)
    return values


def _decode_byte_array(data: bytes, encoding: dict) -> np.ndarray:
    return np.frombuffer(data, dtype=_BYTE_TYPES[encoding["type"]])


def _decode_delta(values: np.ndarray, encoding: dict) -> np.ndarray:
    decoded = np.cumsum(values, dtype=np.int32)
    decoded += np.int32(encoding["origin"])
    return decoded


def _decode_run_length(values: np.ndarray, encoding: dict) -> np.ndarray:
    return np.repeat(values[::2], values[1::2])


def _decode_integer_packing(values: np.ndarray, encoding: dict) -> np.ndarray:
    """Sums runs of extreme values, by which numbers beyond the type are written."""
    if len(values) == encoding["srcSize"]:
        return values
    limits = np.iinfo(values.dtype)
    continues = values == limits.max
    if not encoding["isUnsigned"]:
        continues |= values == limits.min
    totals = np.cumsum(values, dtype=np.int64)[~continues]
    return np.diff(totals, prepend=0).astype(np.int32)


def _decode_fixed_point(values: np.ndarray, encoding: dict) -> np.ndarray:
    return values / encoding["factor"]


_DECODERS = {
    "ByteArray": _decode_byte_array,
    "Delta": _decode_delta,
    "RunLength": _decode_run_length,
    "IntegerPacking": _decode_integer_packing,
    "FixedPoint": _decode_fixed_point,
}


def _string_table(encoding: dict) -> tuple[str, ...]:
    text = encoding["stringData"]
    offsets = decode(
        {"data": encoding["offsets"], "encoding": encoding["offsetEncoding"]}
    )
    bounds = offsets.tolist()
    return tuple(text[a:b] for a, b in zip(bounds, bounds[1:], strict=False))
