"""Calls from XLA's programs for a CPU into machine code of ours, on all its cores."""

import ctypes
import hashlib
import itertools
import math
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from queue import SimpleQueue
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

Task = Callable[[int, int, int], None]
"""Computes units [first, last) of a call with the scratch memory of worker n."""
type Handler[M] = Callable[[M, list[int], list[int]], None]
"""Gets what was made for it, and the addresses of operands and results."""


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("dtype", ctypes.c_int),
        ("data", ctypes.c_void_p),
    )


class _Buffers(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("size", ctypes.c_int64),
        ("kinds", ctypes.c_void_p),
        ("buffers", ctypes.POINTER(ctypes.POINTER(_Buffer))),
    )


class _Extension(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("kind", ctypes.c_int),
        ("next", ctypes.c_void_p),
    )


class _Version(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("major", ctypes.c_int),
        ("minor", ctypes.c_int),
    )


class _Metadata(ctypes.Structure):
    _fields_ = (("struct_size", ctypes.c_size_t), ("version", _Version))


class _MetadataExtension(ctypes.Structure):
    _fields_ = (("base", _Extension), ("metadata", ctypes.POINTER(_Metadata)))


class _ErrorArguments(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("message", ctypes.c_char_p),
        ("code", ctypes.c_int),
    )


_CREATE_ERROR = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_ErrorArguments))


class _Api(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("version", _Version),
        ("internal", ctypes.c_void_p),
        ("create_error", _CREATE_ERROR),
    )


class _Frame(ctypes.Structure):
    """A call as XLA describes it: xla/ffi/api/c_api.h, version 0."""

    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.POINTER(_Extension)),
        ("api", ctypes.POINTER(_Api)),
        ("context", ctypes.c_void_p),
        ("stage", ctypes.c_int),
        ("operands", _Buffers),
        ("results", _Buffers),
    )


_ENTRY = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Frame))
_METADATA_KIND, _INTERNAL_ERROR = 1, 13
_LOCK = threading.Lock()
_RUNNING = threading.Lock()
"""XLA may begin calls that do not depend on one another at once, and programs may run
beside each other; each call has all cores to itself, and a kernel's memory."""
_REGISTERED: dict[str, Any] = {}


def target_name(operation: str, facts: object) -> str:
    """What programs call it, the same in every process.

    `facts` are all that tells one call of the operation from another, the processor
    for which it is made among them.
    """
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()
    return f"foldmill_{operation}_{digest[:16]}"


def with_derivative_of(
    plain: Callable[..., Array], ours: Callable[..., Array]
) -> Callable[..., Array]:
    """`ours`, which computes what `plain` does; JAX differentiates `plain`."""
    function = jax.custom_jvp(ours)

    @function.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        return jax.jvp(plain, primals, tangents)

    del derivative
    return function


def register[M](name: str, make: Callable[[], M], handler: Handler[M]) -> None:
    """Makes `handler` what programs that call `name` run; once for each name.

    Args:
        make: what the handler needs, as machine code. It is made by a thread of its
            own, while XLA compiles the program.
    """
    with _LOCK:
        if name in _REGISTERED:
            return

        made = _makers().submit(make)

        @_ENTRY
        def entry(frame: Any) -> int | None:
            call = frame.contents
            if call.extension and call.extension.contents.kind == _METADATA_KIND:
                wanted = ctypes.cast(
                    call.extension, ctypes.POINTER(_MetadataExtension)
                ).contents.metadata.contents
                version = call.api.contents.version
                wanted.version.major = version.major
                wanted.version.minor = version.minor
                return None
            # Raised here it would be lost: there is no Python above to take it. XLA
            # raises it where the result is awaited.
            with (caught := _Caught()), _RUNNING:
                # What failed once need not fail again: memory may be free by now.
                needed = make() if made.exception() else made.result()
                handler(needed, _addresses(call.operands), _addresses(call.results))
            if (error := caught.error) is not None:
                message = f"{name}: {type(error).__name__}: {error}".encode()
                size = ctypes.sizeof(_ErrorArguments)
                arguments = _ErrorArguments(size, None, message, _INTERNAL_ERROR)
                return call.api.contents.create_error(ctypes.byref(arguments))
            return None

        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(entry), platform="cpu")
        _REGISTERED[name] = entry


class _Caught:
    """What goes wrong inside, for whoever waits for the outcome elsewhere."""

    error: BaseException | None = None

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> bool:
        self.error = error
        return True


def _addresses(buffers: _Buffers) -> list[int]:
    return [buffers.buffers[i].contents.data or 0 for i in range(buffers.size)]


def array_at(address: int, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An operand, or a result, as NumPy sees it."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(
        shape
    )


@cache
def num_workers() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


@cache
def _makers() -> ThreadPoolExecutor:
    # One: nothing is made twice, and XLA has the other cores.
    return ThreadPoolExecutor(1, "machine code")


class _Team(NamedTuple):
    """Threads of our own, for the cores beside the caller's."""

    tasks: SimpleQueue[Callable[[], None]]
    size: int


@cache
def _team() -> _Team:
    tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def serve() -> None:
        while True:
            tasks.get()()

    for size in range(num_workers() - 1):
        try:
            threading.Thread(target=serve, name="kernels", daemon=True).start()
        except RuntimeError as error:
            warnings.warn(f"{1 + size} cores compute, not all: {error}", stacklevel=2)
            return _Team(tasks, size)
    return _Team(tasks, num_workers() - 1)


def run_units(task: Task, num_units: int, unit: int) -> None:
    """Has the cores compute units [0, num_units), `unit` at a time, each its share.

    When one fails, or the caller is interrupted, the others have ended before this
    raises, for what they write into is then no longer theirs.
    """
    count = -(-num_units // unit)
    if count > 1:
        count = min(count, 1 + _team().size)
    starts = itertools.count(0, unit)
    over = threading.Event()
    begun: list[int] = []
    ended: list[BaseException | None] = []
    told: SimpleQueue[None] = SimpleQueue()

    def take(worker: int) -> None:
        # next() of a count is one step of Python: no two workers get the same.
        while not over.is_set() and (first := next(starts)) < num_units:
            task(first, min(first + unit, num_units), worker)

    def help_out(worker: int) -> None:
        begun.append(worker)
        with (caught := _Caught()):
            take(worker)
        if caught.error is not None:
            over.set()
        ended.append(caught.error)
        told.put(None)

    with (caught := _Caught()):
        for worker in range(1, count):
            _team().tasks.put(partial(help_out, worker))
        take(0)
    over.set()
    # Who has not begun by now will find nothing to do.
    while len(ended) < len(begun):
        with (interrupted := _Caught()):
            told.get()
        caught.error = caught.error or interrupted.error
    for error in (caught.error, *ended):
        if error is not None:
            raise error


def unit_for(num_units: int, least: int, most: int) -> int:
    """How many units to compute at a time: a multiple of `least`, up to `most`, and no
    more than a core's fair share, rounded up."""
    fair = -(-num_units // (num_workers() * least)) * least
    return max(least, min(most, fair))
