"""Fused operations of the model and of the search. Knows nothing of proteins.

Backends that need more than JAX (CUDA, Triton) say so when they are asked for. A search
on a CPU needs not even JAX, and starts in half the time without it: so what
`kernels.public` lists is imported when one of its names is first used.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernels.public import *  # noqa: F403


def __getattr__(name: str) -> object:
    if importlib.util.find_spec(f"kernels.{name}") is not None:
        return importlib.import_module(f"kernels.{name}")
    public = importlib.import_module("kernels.public")
    if name not in public.__all__:
        raise AttributeError(f"module 'kernels' has no attribute {name!r}")
    return getattr(public, name)
