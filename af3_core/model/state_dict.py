"""Reads tensors from PyTorch's files and from safetensors, without PyTorch.

PyTorch's format is a zip archive: `data.pkl` describes tensors in pickle's language,
`data/0`, `data/1` … hold their bytes. Unpickling runs whatever a file names, so nothing
is unpickled here: a small interpreter follows the few instructions that tensors need,
looks every name up in a list, and calls nothing that the file brings along.
"""

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickletools import genops
from typing import Any, Literal, NamedTuple

import ml_dtypes
import numpy as np
import safetensors
from numpy import ndarray

from af3_core.job import InputError

_FORMATS = (
    "a state dict that torch.save of PyTorch 1.6 or newer has written (.pt), or"
    " safetensors"
)
_MAX_DESCRIPTION = 1 << 27
"""Bytes of `data.pkl`; those of a few thousand tensors are one million."""
_ZIP, _MAX_SHOWN = b"PK\x03\x04", 5
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, EOFError, OSError),
    *(NotImplementedError, UnicodeDecodeError),
)
"""What a damaged archive raises: of its own, and for names, versions and places that
cannot be."""
_LENGTH_BYTES = 8
"""Of the length that safetensors begins with, before its JSON."""

_STORAGES = {
    "torch FloatStorage": np.dtype("f4"),
    "torch HalfStorage": np.dtype("f2"),
    "torch BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch DoubleStorage": np.dtype("f8"),
    "torch LongStorage": np.dtype("i8"),
    "torch IntStorage": np.dtype("i4"),
    "torch ShortStorage": np.dtype("i2"),
    "torch CharStorage": np.dtype("i1"),
    "torch ByteStorage": np.dtype("u1"),
    "torch BoolStorage": np.dtype("?"),
}
_REBUILD, _PARAMETER = (
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
)
_ORDERED_DICT, _SIZE = "collections OrderedDict", "torch Size"
_INERT = frozenset(
    {
        "__builtin__ int",
        "__builtin__ bool",
        "__builtin__ float",
        "builtins int",
        "builtins bool",
        "builtins float",
        "_operator add",
        "operator add",
        "pathlib PosixPath",
        "pathlib._local PosixPath",
        "ml_collections.config_dict.config_dict ConfigDict",
        "ml_collections.config_dict.config_dict FieldReference",
        "ml_collections.config_dict.config_dict _Op",
        "openfold3.projects.of3_all_atom.model OpenFold3",
    }
)
"""What OpenFold3's training writes beside tensors. It is passed over, never made."""
_ALLOWED = frozenset({*_STORAGES, _REBUILD, _PARAMETER, _ORDERED_DICT, _SIZE, *_INERT})


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file, read when asked for."""

    shape: tuple[int, ...]
    dtype: np.dtype
    place: tuple[object, ...]
    """Equal for tensors that are the same bytes of the file."""
    read: Callable[[], ndarray]


@contextlib.contextmanager
def open_state_dict(path: Path) -> Iterator[Mapping[str, Tensor]]:
    """The tensors of a file, by name; read while the file is open.

    Of a training checkpoint these are the averaged weights, as for inference.

    Raises:
        InputError: the file is cut short, corrupt or something else, or it names
            anything that tensors do not need.
    """
    if not path.is_file():
        raise InputError(str(path), "state dict", "no such file", _FORMATS)
    with path.open("rb") as file:
        start = file.read(_LENGTH_BYTES + 1)
    if start.startswith(_ZIP):
        with _open_zip(path) as tensors:
            yield tensors
    elif start[_LENGTH_BYTES:] == b"{":
        with _open_safetensors(path) as tensors:
            yield tensors
    else:
        raise InputError(str(path), "first bytes", start.hex(" "), _FORMATS)


@contextlib.contextmanager
def _open_safetensors(path: Path) -> Iterator[Mapping[str, Tensor]]:
    try:
        opened = safetensors.safe_open(path, framework="numpy")
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(str(path), "header", str(error), _FORMATS) from error

    def tensor(name: str) -> Tensor:
        part = file.get_slice(name)
        dtype = _SAFETENSORS.get(part.get_dtype())
        if dtype is None:
            allowed = f"one of {', '.join(_SAFETENSORS)}"
            raise InputError(str(path), name, part.get_dtype(), allowed)
        shape = tuple(part.get_shape())
        return Tensor(shape, dtype, (name,), lambda: file.get_tensor(name))

    with opened as file:
        yield {name: tensor(name) for name in file.keys()}  # noqa: SIM118


_SAFETENSORS = {
    "F32": np.dtype("f4"),
    "F16": np.dtype("f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F64": np.dtype("f8"),
    "I64": np.dtype("i8"),
    "I32": np.dtype("i4"),
}


@contextlib.contextmanager
def _open_zip(path: Path) -> Iterator[Mapping[str, Tensor]]:
    try:
        archive = zipfile.ZipFile(path)
    except _ZIP_ERRORS as error:
        allowed = "a whole file: this one is cut short or corrupt"
        raise InputError(str(path), "zip archive", str(error), allowed) from error
    with archive:
        reader = _Archive(path, archive)
        yield _tensors_of(reader.describe(), path)


class _Storage(NamedTuple):
    """A run of numbers in the archive."""

    key: str
    dtype: np.dtype
    length: int


class _Global(NamedTuple):
    """A name that the file mentions."""

    name: str


class _Opaque(NamedTuple):
    """Stands for an object that is not made."""

    name: str


class _Mark:
    """Where the arguments of the next instruction begin."""


class _Refused(ValueError):
    """The description asks for something that tensors do not need."""


class _Archive:
    """One file that torch.save has written."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self.archive = path, archive
        found = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        if len(found) != 1:
            shown = f"{len(found)} descriptions of tensors (data.pkl)"
            raise InputError(str(path), "zip archive", shown, _FORMATS)
        self.prefix = found[0].removesuffix("data.pkl")
        order = f"{self.prefix}byteorder"
        is_big = order in archive.namelist() and self._bytes(order) == b"big"
        self.byte_order: Literal["<", ">"] = ">" if is_big else "<"

    def describe(self) -> Any:
        """What the file holds: dicts, tuples, numbers, text and tensors."""
        entry = self._entry(f"{self.prefix}data.pkl")
        if entry.file_size > _MAX_DESCRIPTION:
            raise InputError(str(self.path), "data.pkl", entry.file_size, _FORMATS)
        try:
            return _Interpreter(self._rebuild).run(self._bytes(entry.filename))
        except _Refused as error:
            allowed = "tensors, and what OpenFold3's training writes beside them"
            raise InputError(str(self.path), "data.pkl", str(error), allowed) from error
        except InputError:
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            allowed = "a well-formed description of tensors"
            shown = f"{type(error).__name__}: {error}"
            raise InputError(str(self.path), "data.pkl", shown, allowed) from error

    def _entry(self, name: str) -> zipfile.ZipInfo:
        try:
            entry = self.archive.getinfo(name)
        except KeyError as error:
            allowed = "an archive that holds every storage it describes"
            raise InputError(str(self.path), name, "absent", allowed) from error
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            allowed = "an entry that is neither compressed nor encrypted"
            raise InputError(str(self.path), name, "packed otherwise", allowed)
        return entry

    def _bytes(self, name: str) -> bytes:
        entry = self._entry(name)
        try:
            return self.archive.read(entry)
        except _ZIP_ERRORS as error:
            allowed = "a whole file: this one is corrupt"
            raise InputError(str(self.path), name, str(error), allowed) from error

    def _rebuild(
        self, storage: _Storage, offset: int, shape: tuple, strides: tuple
    ) -> Tensor:
        """A tensor that lies within its storage, or _Refused."""
        size, name = storage.dtype.itemsize, f"{self.prefix}data/{storage.key}"
        numbers = (offset, storage.length, *shape, *strides)
        if not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise _Refused(f"storage {storage.key} with sizes {numbers}")
        end = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
        available = self._entry(name).file_size
        if 0 not in shape and end * size > available:
            raise _Refused(
                f"storage {storage.key} with {available} of {end * size} bytes"
            )

        def read() -> ndarray:
            dtype = storage.dtype.newbyteorder(self.byte_order)
            values = np.frombuffer(self._bytes(name), dtype)[offset:]
            steps = tuple(s * size for s in strides)
            view = np.lib.stride_tricks.as_strided(
                values, shape, steps, writeable=False
            )
            return view.astype(storage.dtype, copy=False)

        place = storage.key, offset, shape, strides
        return Tensor(shape, storage.dtype, place, read)


class _Interpreter:
    """Follows the instructions of a description; `rebuild` makes tensors."""

    def __init__(self, rebuild: Callable[..., Tensor]) -> None:
        self.rebuild = rebuild
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, description: bytes) -> Any:
        """The object that the description ends with."""
        for opcode, argument, _ in genops(description):
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise _Refused("a description without an end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in ("PROTO", "FRAME"):
            return
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _ARGUMENTS:
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "GLOBAL":
            stack.append(_look_up(argument))
        elif name == "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            stack.append(_look_up(f"{module} {name}"))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments = stack.pop()
            stack.append(self._call(stack.pop(), arguments))
        elif name == "BUILD":
            stack.pop()  # attributes: of an ordered dict, or of what is not made
            if not isinstance(stack[-1], dict | _Opaque):
                raise _Refused(f"attributes of {type(stack[-1]).__name__}")
        else:
            self._collect(name)

    def _collect(self, name: str) -> None:
        """Instructions that gather what lies on the stack."""
        stack = self.stack
        if name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            items = tuple(stack[-count:])
            del stack[-count:]
            stack.append(items)
        elif name == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif name in ("SETITEM", "APPEND"):
            count = 2 if name == "SETITEM" else 1
            items = stack[-count:]
            del stack[-count:]
            _add(stack[-1], items, name)
        elif name in ("SETITEMS", "APPENDS", "ADDITEMS"):
            items = self._since_mark()
            _add(stack[-1], items, name)
        else:
            raise _Refused(f"the instruction {name}")

    def _since_mark(self) -> list[Any]:
        stack = self.stack
        start = len(stack) - 1
        while not isinstance(stack[start], _Mark):
            start -= 1
        items = stack[start + 1 :]
        del stack[start:]
        return items

    def _call(self, function: Any, arguments: tuple) -> Any:
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise _Refused(f"a call of {type(function).__name__}")
        if function.name == _REBUILD and isinstance(arguments[0], _Storage):
            return self.rebuild(*arguments[:4])
        if function.name == _PARAMETER and isinstance(arguments[0], Tensor):
            return arguments[0]
        if function.name == _ORDERED_DICT:
            return dict(*arguments)
        if function.name == _SIZE:
            return tuple(*arguments)
        if function.name in _INERT:
            return _Opaque(function.name)
        raise _Refused(f"a call of {function.name} with {len(arguments)} arguments")


_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "MARK": _Mark,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}
_ARGUMENTS = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    }
)


def _look_up(name: str) -> _Global:
    if name not in _ALLOWED:
        raise _Refused(f"the name {name.replace(' ', '.')}")
    return _Global(name)


def _storage(described: Any) -> _Storage:
    kind, storage, key, _, length = described
    if kind != "storage" or storage.name not in _STORAGES or not isinstance(key, str):
        raise _Refused(f"a persistent object {described!r}")
    if not key.isalnum():
        raise _Refused(f"a storage named {key!r}")
    return _Storage(key, _STORAGES[storage.name], length)


def _add(container: Any, items: list[Any], name: str) -> None:
    if isinstance(container, _Opaque):
        return
    if name.startswith("SETITEM") and isinstance(container, dict):
        container.update(zip(items[::2], items[1::2], strict=True))
    elif name.startswith("APPEND") and isinstance(container, list):
        container.extend(items)
    elif name == "ADDITEMS" and isinstance(container, set):
        container.update(items)
    else:
        raise _Refused(f"{name} on {type(container).__name__}")


def _tensors_of(described: Any, path: Path) -> dict[str, Tensor]:
    """The state dict of a file: itself, or the averaged weights of training."""
    found, place = described, "state dict"
    is_training = isinstance(found, dict) and {"module", "state_dict", "ema"} & set(
        found
    )
    if is_training:
        average = found.get("ema")
        found = average.get("params") if isinstance(average, dict) else None
        place = "ema.params"
    if not isinstance(found, dict) or not found:
        allowed = "a dict of tensors by name; of a training checkpoint the average"
        raise InputError(str(path), place, type(found).__name__, allowed)
    others = [str(k) for k, v in found.items() if not isinstance(v, Tensor)]
    if others:
        shown = ", ".join(others[:_MAX_SHOWN])
        raise InputError(str(path), place, shown, "tensors, and nothing else")
    return {str(name): tensor for name, tensor in found.items()}
