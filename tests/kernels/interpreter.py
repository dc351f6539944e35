"""Runs a Triton kernel on a CPU, array in and array out, in Triton's interpreter.

The interpreter wants torch tensors; `_Tensor` is the part of one that it uses. It
also truncates float32 to bfloat16 and multiplies bfloat16 as if it were integers:
`_faithful_bfloat16` makes it round to nearest and multiply numbers, as hardware does.
"""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import triton.language as tl
from triton.runtime import interpreter


class _Tensor:
    """A NumPy array behind the few methods of a torch tensor the interpreter calls."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.dtype = array.dtype.name

    def data_ptr(self) -> int:
        return self.array.ctypes.data

    def untyped_storage(self) -> "_Tensor":
        return self

    def cpu(self) -> "_Tensor":
        return self

    def new_empty(self, size: int, device: str) -> "_Tensor":
        return _Tensor(np.empty(size, self.array.dtype))

    def set_(self, storage: "_Tensor", *layout: Any) -> None:
        self.array = storage.array

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return self.array.shape

    def stride(self) -> tuple[int, ...]:
        return self.array.strides

    def copy_(self, other: "_Tensor") -> None:
        """Nothing to copy: host and device storage are the same memory."""


def launch(
    module: str,
    kernel: str,
    grid: tuple[int, ...],
    arrays: dict[str, np.ndarray],
    outputs: dict[str, np.ndarray],
    arguments: dict[str, Any],
) -> dict[str, np.ndarray]:
    """Runs a kernel of `module` over `grid` and returns `outputs`, which it fills.

    The process must have been started with TRITON_INTERPRET=1.
    """
    function = getattr(importlib.import_module(module), kernel)
    tensors = {name: _Tensor(np.ascontiguousarray(x)) for name, x in arrays.items()}
    tensors |= {name: _Tensor(x) for name, x in outputs.items()}
    with _faithful_bfloat16():
        function[grid](**tensors, **arguments)
    return outputs


@contextlib.contextmanager
def _faithful_bfloat16() -> Iterator[None]:
    builder = interpreter.interpreter_builder
    create_dot, cast_impl = builder.create_dot, builder.cast_impl

    def widen(x: Any) -> Any:
        if x.dtype.scalar != tl.bfloat16:
            return x
        data = x.data.view(ml_dtypes.bfloat16).astype(np.float32)
        return interpreter.TensorHandle(data, tl.float32)

    def dot(a: Any, b: Any, *rest: Any) -> Any:
        return create_dot(widen(a), widen(b), *rest)

    def cast(source: Any, target: Any) -> Any:
        if source.dtype.scalar == tl.float32 and target.scalar == tl.bfloat16:
            data = source.data.astype(ml_dtypes.bfloat16).view(np.uint16)
            return interpreter.TensorHandle(data, tl.bfloat16)
        return cast_impl(source, target)

    builder.create_dot, builder.cast_impl = dot, cast
    try:
        yield
    finally:
        del builder.create_dot, builder.cast_impl
