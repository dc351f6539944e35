"""Sorts what can go wrong with one item into causes, each with what to do about it.

`classify` judges an exception; `classify_death` judges a process that was killed or
crashed, by its exit status and its last words. docs/failures.md is the same for users.
"""

import errno
import re
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from af3_core.columns import ContractError
from af3_core.job import InputError
from workflow.tables import DamagedFile

Cause = Literal[
    "input",
    "conformer",
    "template",
    "gpu_memory",
    "host_memory",
    "time_limit",
    "preemption",
    "lost_node",
    "device",
    "backend",
    "disk",
    "damaged",
    "defect",
    "unknown",
]
REMEDIES: dict[Cause, str] = {
    "input": (
        "Mend the field named in the evidence; the job then runs with the next start."
    ),
    "conformer": (
        "Give ideal coordinates for the component (userCCD), or another SMILES."
    ),
    "template": "Mend or leave out the template named in the evidence.",
    "gpu_memory": (
        "Use a device with more memory or a larger partition, or fewer samples;"
        " then `foldmill retry`."
    ),
    "host_memory": (
        "Give the rule more mem_mb, or use a node with more memory;"
        " then `foldmill retry`."
    ),
    "time_limit": (
        "Give the rule more runtime, or a partition with a longer limit; then"
        " `foldmill retry`. If others of its size took seconds, change the input."
    ),
    "preemption": "Nothing is wrong with the item; `foldmill retry`.",
    "lost_node": (
        "If other items of the node are well, look for what the item does to it;"
        " then `foldmill retry`."
    ),
    "device": "Exclude the node named in the evidence; then `foldmill retry`.",
    "backend": "Set `predict.attention` to xla; then `foldmill retry`.",
    "disk": "Free disk space or mend the file system; then `foldmill retry`.",
    "damaged": "Start the campaign again: the file is made again.",
    "defect": "Report it, with the traceback in the step's log and the job's input.",
    "unknown": "See the step's log; if the input looks right, report it as a defect.",
}
"""What a user can do when the step itself could not help."""


@dataclass(frozen=True)
class Failure:
    """Why an item has no result."""

    cause: Cause
    evidence: str
    remedy: str


class DeviceError(RuntimeError):
    """The device, not the item, is at fault; see `workflow.inference.canary`."""


def failure(cause: Cause, evidence: str) -> Failure:
    """A failure with its cause's remedy; the evidence as one short line."""
    return Failure(cause, " ".join(evidence.split())[:500], REMEDIES[cause])


@dataclass(frozen=True)
class _Sign:
    """One way of recognising a cause from an exception."""

    cause: Cause
    matches: Callable[[BaseException], bool]


def _says(*phrases: str) -> Callable[[BaseException], bool]:
    pattern = re.compile("|".join(re.escape(p) for p in phrases), re.IGNORECASE)
    return lambda error: pattern.search(str(error)) is not None


def _is_of_template(error: BaseException) -> bool:
    return isinstance(error, InputError) and "templates" in error.field


def _is_of_disk(error: BaseException) -> bool:
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)
    return isinstance(error, OSError) and error.errno in codes


def _is_of_host_memory(error: BaseException) -> bool:
    is_refused = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or is_refused


_HOST_MEMORY = (
    # What XLA says where the device is the CPU; on a GPU it is "while trying to".
    *("Out of memory allocating", "YNNPACK operation failed"),
    *("bad_alloc", "Cannot allocate memory", "Unable to allocate", "realloc of"),
    # In a kernel of ours, of which XLA passes on what was said.
    *("MemoryError", "can't start new thread"),
)
_GPU_MEMORY = (
    # XLA's allocators, then the libraries' own.
    *("RESOURCE_EXHAUSTED", "Resource exhausted", "Out of memory", "ran out of memory"),
    *("Failed to allocate request for", "CUDA_ERROR_OUT_OF_MEMORY"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"),
    *("hipErrorOutOfMemory", "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
)
_BACKEND = (
    # NVIDIA's assembler, the loader of what it made, and Triton's compiler.
    *("ptxas", "CUDA_ERROR_INVALID_PTX", "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"),
    *("CUDA_ERROR_NO_BINARY_FOR_GPU", "CUDA_ERROR_INVALID_IMAGE", "no kernel image"),
    *("Failed to load in-memory CUBIN", "out of resource: shared memory"),
    *("triton.compiler", "triton.runtime", "CUDNN_STATUS_NOT_SUPPORTED"),
    # Our kernels for processors, by what XLA calls them.
    "INTERNAL: foldmill_",
)
_DEVICE = (
    *("CUDA_ERROR", "hipError", "CUBLAS_STATUS", "cublas error", "CUDNN_STATUS"),
    *("illegal memory access", "unspecified launch failure", "uncorrectable ECC"),
    *("misaligned address", "stream in bad state", "device-side assert", "NCCL error"),
    *("Unable to initialize backend", "No visible GPU", "fell off the bus"),
)


def _is_of_backend(error: BaseException) -> bool:
    """By the kind of the exception too: Triton's say little themselves."""
    said = f"{type(error).__module__}.{type(error).__name__}: {error}"
    return any(phrase.casefold() in said.casefold() for phrase in _BACKEND)


_DEFECTS = (
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    NameError,
    NotImplementedError,
    ContractError,
)
"""What a sound program raises for no input, whatever it is."""

# In this order: a CUDA error that says "out of memory" is one of memory.
_SIGNS = (
    _Sign("damaged", lambda error: isinstance(error, DamagedFile)),
    _Sign("template", _is_of_template),
    _Sign("input", lambda error: isinstance(error, InputError)),
    _Sign("device", lambda error: isinstance(error, DeviceError)),
    _Sign("defect", lambda error: isinstance(error, _DEFECTS)),
    _Sign("host_memory", _is_of_host_memory),
    _Sign("disk", _is_of_disk),
    _Sign("host_memory", _says(*_HOST_MEMORY)),
    _Sign("gpu_memory", _says(*_GPU_MEMORY)),
    _Sign("backend", _is_of_backend),
    _Sign("device", _says(*_DEVICE)),
    _Sign("conformer", _says("conformer")),
    _Sign("template", _says("template")),
)


def classify(error: BaseException) -> Failure:
    """The failure that an exception stands for.

    The evidence of what nobody foresaw ends with the line of ours that raised it.
    """
    found = (sign.cause for sign in _SIGNS if sign.matches(error))
    cause = next(found, "unknown")
    evidence = f"{type(error).__name__}: {error}"
    if cause in ("defect", "unknown"):
        frames = traceback.extract_tb(error.__traceback__)
        places = [(frame.filename, str(frame.lineno)) for frame in reversed(frames)]
        evidence = f"{evidence[:400]}{_where(places)}"
    return failure(cast(Cause, cause), evidence)


_LAST_WORDS: tuple[tuple[Cause, str], ...] = (
    (
        "host_memory",
        r"bad_alloc|MemoryError|Cannot allocate memory|LLVM ERROR: out of memory"
        r"|mmap failed|Unable to allocate|allocation failed|cannot allocate"
        r"|RESOURCE_EXHAUSTED.*cpu|oom.kill|pthread_create.*EAGAIN"
        r"|Thread creation via pthread_create\(\) failed",
    ),
    ("gpu_memory", r"RESOURCE_EXHAUSTED|CUDA_ERROR_OUT_OF_MEMORY"),
    ("backend", "|".join(map(re.escape, _BACKEND))),
    ("device", "|".join(_DEVICE)),
    ("disk", r"No space left on device|Disk quota exceeded"),
    ("defect", rf"^(\w+\.)*({'|'.join(e.__name__ for e in _DEFECTS)})\b"),
    ("conformer", r'File ".*/conformers\.py"'),
    ("template", r'File ".*/templates/\w+\.py"'),
)
"""What a dying process leaves on its standard error, Python's stack included."""


def classify_death(status: int, last_words: str, *, oom_kills: int = 0) -> Failure:
    """The failure that the death of a process while at work stands for.

    Args:
        status: as of `subprocess`: minus the signal, or the exit status.
        last_words: the end of its standard error.
        oom_kills: how many processes of its control group the kernel killed for
            memory meanwhile.
    """
    name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    evidence = f"the process ended with {name}{_where(_places(last_words))}"
    if said := _said(last_words):
        evidence += f"; last words: {said[-250:]}"
    if oom_kills:
        return failure("host_memory", f"{evidence} (the kernel's out-of-memory killer)")
    for cause, pattern in _LAST_WORDS:
        if re.search(pattern, last_words, re.IGNORECASE | re.MULTILINE):
            return failure(cause, evidence)
    if status == -signal.SIGKILL:
        return failure("host_memory", f"{evidence} (SIGKILL: most likely for memory)")
    if status == -signal.SIGBUS:
        return failure("disk", f"{evidence} (SIGBUS: a mapped file could not be read)")
    return failure("unknown", evidence)


def _places(last_words: str) -> list[tuple[str, str]]:
    """File and line of every call in a stack that Python left, innermost first."""
    found = re.findall(r'File "([^"]+)", line (\d+)', last_words)
    # A fatal signal's stack has the innermost call first, an exception's has it last.
    is_fatal = "most recent call first" in last_words
    return found if is_fatal else found[::-1]


def _where(places: Sequence[tuple[str, str]]) -> str:
    """The innermost line of our own code."""
    ours = r"/(af3_core|kernels|workflow)/"
    found = next((p for p in places if re.search(ours, p[0])), None)
    if found is None:
        return ""
    path, line = found
    return f" in {'/'.join(Path(path).parts[-3:])}:{line}"


def _said(last_words: str) -> str:
    """The last line that tells something: no stack, no list of modules."""
    told = [
        line.strip()
        for line in last_words.splitlines()
        if line.strip()
        and not line.startswith((" ", "Extension modules", "Current thread", "Thread"))
        and "most recent call first" not in line
        and not re.match(r"\d\d:\d\d:\d\d ", line)
    ]
    return told[-1] if told else ""


CAUSES: tuple[Cause, ...] = get_args(Cause)
