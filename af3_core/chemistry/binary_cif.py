"""Columns of a BinaryCIF file, decoded one by one and only as far as rows are read.

The chemical component dictionary has 2.4 million atom rows, of which a job needs a few
dozen. Numbers stay integers, runs stay runs and strings stay offsets into one text
until rows are asked for. Encodings: BinaryCIF specification 0.3,
doi:10.1371/journal.pcbi.1008247.
"""

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from jaxtyping import Integer, Shaped

_BYTE_TYPES = {
    **{1: "i1", 2: "<i2", 3: "<i4", 4: "u1", 5: "<u2", 6: "<u4"},
    **{32: "<f4", 33: "<f8"},
}

Encoded = dict[str, Any]
"""The file's own description of a column, an array or an encoding."""


@dataclass(frozen=True, eq=False)
class Runs:
    """An array of repeated values, which is not written out."""

    values: Integer[np.ndarray, "runs"]
    stops: Integer[np.ndarray, "runs"]
    """One past the last row of each run."""

    def __len__(self) -> int:
        return int(self.stops[-1])

    def __getitem__(self, rows: slice) -> Integer[np.ndarray, "rows"]:
        first = np.searchsorted(self.stops, rows.start, side="right")
        last = np.searchsorted(self.stops, rows.stop, side="left") + 1
        bounds = np.clip(self.stops[first:last], rows.start, rows.stop)
        counts = np.diff(bounds, prepend=rows.start)
        return np.repeat(self.values[first:last], counts)


@dataclass(frozen=True, eq=False)
class Strings:
    """A table of distinct strings."""

    text: str
    offsets: Integer[np.ndarray, "strings_and_one"]

    def __getitem__(self, index: int) -> str:
        return self.text[self.offsets[index] : self.offsets[index + 1]]

    def find(self, wanted: str) -> int | None:
        """Returns the index of a string, None where the table does not have it."""
        start = self.text.find(wanted)
        while start >= 0 and wanted:
            index = int(np.searchsorted(self.offsets, start))
            if self.offsets[index] == start and self[index] == wanted:
                return index
            start = self.text.find(wanted, start + 1)
        return None


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a category."""

    _values: np.ndarray | Runs
    """Numbers, or indices into the table of strings."""
    _mask: np.ndarray | Runs | None
    """0 where a value is present; None where all are."""
    _strings: Strings | None = None
    _factor: float | None = None
    """What fixed-point numbers are to be divided by."""

    def __len__(self) -> int:
        return len(self._values)

    def texts(self, start: int, stop: int) -> tuple[str | None, ...]:
        """Rows of a text column; None where a value is unknown or not applicable."""
        indices = self._values[start:stop].tolist()
        present = self._present(start, stop)
        if self._strings is None:
            raise ValueError("the column holds numbers, not texts")
        rows = zip(indices, present, strict=True)
        return tuple(self._strings[i] if ok else None for i, ok in rows)

    def numbers(self, start: int, stop: int) -> tuple[float | int | None, ...]:
        """Rows of a numeric column; None where a value is unknown."""
        values = self._values[start:stop]
        if self._strings is not None:
            raise ValueError("the column holds texts, not numbers")
        if self._factor is not None:
            values = values / self._factor
        rows = zip(values.tolist(), self._present(start, stop), strict=True)
        return tuple(value if ok else None for value, ok in rows)

    def _present(self, start: int, stop: int) -> list[bool]:
        if self._mask is None:
            return [True] * (stop - start)
        return (self._mask[start:stop] == 0).tolist()

    def find(self, text: str) -> tuple[int, int] | None:
        """First and one past the last row that holds a text, equal ones together."""
        if self._strings is None or not isinstance(self._values, Runs):
            raise ValueError("only columns of runs of texts are searched")
        index = self._strings.find(text)
        if index is None:
            return None
        (run,) = np.flatnonzero(self._values.values == index).tolist()
        start = int(self._values.stops[run - 1]) if run else 0
        return start, int(self._values.stops[run])


def read_categories(path: Path) -> dict[str, dict[str, Encoded]]:
    """Returns the still encoded columns of a one-block file: category, column."""
    with path.open("rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            (block,) = msgpack.unpackb(content)["dataBlocks"]
    return {
        category["name"]: {column["name"]: column for column in category["columns"]}
        for category in block["categories"]
    }


def decode_column(column: Encoded) -> Column:
    """Decodes a column as far as is cheap."""
    mask = None if column["mask"] is None else _decode_lazily(column["mask"])
    first, *others = column["data"]["encoding"]
    if first["kind"] == "StringArray":
        packed = {"data": column["data"]["data"], "encoding": first["dataEncoding"]}
        offsets = {"data": first["offsets"], "encoding": first["offsetEncoding"]}
        strings = Strings(first["stringData"], _decode(offsets))
        return Column(_decode_lazily(packed), mask, strings)
    if first["kind"] == "FixedPoint":
        packed = {"data": column["data"]["data"], "encoding": others}
        return Column(_decode_lazily(packed), mask, _factor=float(first["factor"]))
    return Column(_decode_lazily(column["data"]), mask)


def _decode_lazily(packed: Encoded) -> np.ndarray | Runs:
    kinds = [encoding["kind"] for encoding in packed["encoding"]]
    if kinds[0] == "RunLength":
        return _decode_runs(packed["data"], packed["encoding"][1:])
    if kinds[:2] == ["Delta", "RunLength"]:
        delta, _, *others = packed["encoding"]
        return _add_up(_decode_runs(packed["data"], others), delta["origin"])
    return _decode(packed)


def _decode_runs(data: bytes, encodings: list[Encoded]) -> Runs:
    pairs = _decode({"data": data, "encoding": encodings})
    return Runs(pairs[::2], np.cumsum(pairs[1::2], dtype=np.int64))


def _add_up(differences: Runs, origin: int) -> Runs:
    """Returns the running sum of an array as runs; most differences are 0."""
    is_step = differences.values != 0
    counts = np.diff(differences.stops, prepend=0)[is_step]
    firsts = (differences.stops[is_step] - counts).repeat(counts)
    within = np.arange(len(firsts)) - (np.cumsum(counts) - counts).repeat(counts)
    starts = firsts + within
    values = origin + np.cumsum(differences.values[is_step].repeat(counts))
    if not len(starts) or starts[0] > 0:
        starts, values = np.insert(starts, 0, 0), np.insert(values, 0, origin)
    return Runs(values, np.append(starts[1:], len(differences)))


def _decode(packed: Encoded) -> Shaped[np.ndarray, "rows"]:
    """Undoes the encodings of a numeric array, last applied first."""
    values = packed["data"]
    for encoding in reversed(packed["encoding"]):
        values = _DECODERS[encoding["kind"]](values, encoding)
    return values


def _decode_byte_array(data: bytes, encoding: Encoded) -> np.ndarray:
    return np.frombuffer(data, dtype=_BYTE_TYPES[encoding["type"]])


def _decode_delta(values: np.ndarray, encoding: Encoded) -> np.ndarray:
    decoded = np.cumsum(values, dtype=np.int32)
    decoded += np.int32(encoding["origin"])
    return decoded


def _decode_run_length(values: np.ndarray, encoding: Encoded) -> np.ndarray:
    return np.repeat(values[::2], values[1::2])


def _decode_integer_packing(values: np.ndarray, encoding: Encoded) -> np.ndarray:
    """Adds extreme values to what follows: so are numbers beyond the type written."""
    if len(values) == encoding["srcSize"]:
        return values
    limits = np.iinfo(values.dtype)
    is_carried = values == limits.max
    if not encoding["isUnsigned"]:
        is_carried |= values == limits.min
    decoded = values.astype(np.int32)
    carried = np.flatnonzero(is_carried)
    for position in carried.tolist():
        decoded[position + 1] += decoded[position]
    return np.delete(decoded, carried)


_DECODERS = {
    "ByteArray": _decode_byte_array,
    "Delta": _decode_delta,
    "RunLength": _decode_run_length,
    "IntegerPacking": _decode_integer_packing,
}
