"""Sorts what can go wrong with one item into causes, each with what to do about it.

`ITEM_ERRORS` is what an item may raise without stopping its batch. Anything else
(a broken contract, a bug in the batch's own code) ends the step with a traceback.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass

from af3_core.job import InputError

ITEM_ERRORS = (
    ValueError,
    RuntimeError,
    OSError,
    MemoryError,
    ArithmeticError,
    LookupError,
)


@dataclass(frozen=True)
class Failure:
    """Why an item has no result."""

    cause: str
    evidence: str
    remedy: str


@dataclass(frozen=True)
class Category:
    """A cause, how it is recognised, and its remedy in plain words."""

    cause: str
    matches: Callable[[BaseException], bool]
    remedy: str


def _says(*phrases: str) -> Callable[[BaseException], bool]:
    return lambda error: any(phrase in str(error) for phrase in phrases)


CATEGORIES = (
    Category(
        "input",
        lambda error: isinstance(error, InputError),
        "Mend the field named in the evidence; the job then runs with the next start.",
    ),
    Category(
        "gpu_memory",
        _says("RESOURCE_EXHAUSTED", "out of memory"),
        "Use a device with more memory, fewer samples, or unified memory.",
    ),
    Category(
        "device",
        _says("CUDA_ERROR", "cublas", "CUDNN_STATUS", "illegal memory access"),
        "Restart the worker; if it happens again, exclude the node.",
    ),
    Category(
        "host_memory",
        lambda error: isinstance(error, MemoryError),
        "Give the rule more mem_mb.",
    ),
    Category(
        "disk",
        lambda error: (
            isinstance(error, OSError)
            and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
        ),
        "Free disk space or mend the file system, then start again.",
    ),
    Category(
        "conformer",
        _says("conformer"),
        "Give ideal coordinates for the component (userCCD), or another SMILES.",
    ),
    Category(
        "template",
        _says("template"),
        "Mend or leave out the template named in the evidence.",
    ),
)

UNKNOWN = Category(
    "unknown",
    lambda error: True,
    "See the step's log; if the input looks right, report it as a defect.",
)


def classify(error: BaseException) -> Failure:
    """The failure that an exception stands for."""
    category = next((c for c in CATEGORIES if c.matches(error)), UNKNOWN)
    evidence = " ".join(f"{type(error).__name__}: {error}".split())
    return Failure(category.cause, evidence[:500], category.remedy)
