"""Writes files as PyTorch does, without PyTorch."""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
from numpy import ndarray

_STORAGES = {
    np.dtype("f4"): "FloatStorage",
    np.dtype("f2"): "HalfStorage",
    np.dtype(ml_dtypes.bfloat16): "BFloat16Storage",
}


def write_torch(
    path: Path, tensors: Mapping[str, ndarray], *, planted: str = ""
) -> None:
    """A state dict in PyTorch's zip format; equal arrays share their storage.

    Args:
        planted: a global, such as "os system", that is called with no argument.
    """
    keys: dict[int, str] = {}
    stream = b"\x80\x02}("
    for name, values in tensors.items():
        key = keys.setdefault(id(values), str(len(keys)))
        stream += _text(name) + _tensor(values, key)
    if planted:
        stream += _text("planted") + _name(planted) + b")R"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", stream + b"u.")
        archive.writestr("archive/byteorder", b"little")
        for values in tensors.values():
            if (key := keys.pop(id(values), None)) is not None:
                data = np.ascontiguousarray(values).tobytes()
                archive.writestr(f"archive/data/{key}", data)


def _name(name: str) -> bytes:
    return b"c" + name.replace(" ", "\n").encode() + b"\n"


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _number(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _numbers(numbers: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_number, numbers)) + b"t"


def _tensor(values: ndarray, key: str) -> bytes:
    strides = tuple(s // values.itemsize for s in np.ascontiguousarray(values).strides)
    storage = (
        *(b"(", _text("storage"), _name(f"torch {_STORAGES[values.dtype]}")),
        *(_text(key), _text("cpu"), _number(values.size), b"tQ"),
    )
    return b"".join(
        (
            *(_name("torch._utils _rebuild_tensor_v2"), b"(", *storage, _number(0)),
            *(_numbers(values.shape), _numbers(strides), b"\x89"),
            *(_name("collections OrderedDict"), b")R", b"tR"),
        )
    )
