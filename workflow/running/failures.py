"""Sorts what can go wrong with one item into causes, each with what to do about it.

`ITEM_ERRORS` is what an item may raise without stopping its batch. Anything else
(a broken contract, a bug in the batch's own code) ends the step with a traceback.
`classify` judges an exception; `classify_death` judges a process that was killed or
crashed, by its exit status and its last words. docs/failures.md is the same for users.
"""

import errno
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from af3_core.job import InputError

ITEM_ERRORS = (
    ValueError,
    RuntimeError,
    OSError,
    MemoryError,
    ArithmeticError,
    LookupError,
)

Cause = Literal[
    *("input", "conformer", "template", "gpu_memory", "host_memory", "time_limit"),
    *("preemption", "lost_node", "device", "disk", "unknown"),
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
        "Give the rule more runtime, or a partition with a longer limit;"
        " then `foldmill retry`."
    ),
    "preemption": "Nothing is wrong with the item; `foldmill retry`.",
    "lost_node": (
        "If other items of the node are well, look for what the item does to it;"
        " then `foldmill retry`."
    ),
    "device": "Exclude the node named in the evidence; then `foldmill retry`.",
    "disk": "Free disk space or mend the file system; then `foldmill retry`.",
    "unknown": ("See the step's log; if the input looks right, report it as a defect."),
}
"""What a user can do when the step itself could not help."""


@dataclass(frozen=True)
class Failure:
    """Why an item has no result."""

    cause: Cause
    evidence: str
    remedy: str


class DeviceError(RuntimeError):
    """The device, not the item, is at fault; see `workflow.running.canary`."""


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
)
_GPU_MEMORY = (
    # XLA's allocators, then the libraries' own.
    *("RESOURCE_EXHAUSTED", "Resource exhausted", "Out of memory", "ran out of memory"),
    *("Failed to allocate request for", "CUDA_ERROR_OUT_OF_MEMORY"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"),
    *("hipErrorOutOfMemory", "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
)
_DEVICE = (
    *("CUDA_ERROR", "hipError", "CUBLAS_STATUS", "cublas error", "CUDNN_STATUS"),
    *("illegal memory access", "unspecified launch failure", "uncorrectable ECC"),
    *("misaligned address", "stream in bad state", "device-side assert", "NCCL error"),
    *("Unable to initialize backend", "No visible GPU", "fell off the bus"),
)

# In this order: a CUDA error that says "out of memory" is one of memory.
_SIGNS = (
    _Sign("template", _is_of_template),
    _Sign("input", lambda error: isinstance(error, InputError)),
    _Sign("device", lambda error: isinstance(error, DeviceError)),
    _Sign("host_memory", _is_of_host_memory),
    _Sign("disk", _is_of_disk),
    _Sign("host_memory", _says(*_HOST_MEMORY)),
    _Sign("gpu_memory", _says(*_GPU_MEMORY)),
    _Sign("device", _says(*_DEVICE)),
    _Sign("conformer", _says("conformer")),
    _Sign("template", _says("template")),
)


def classify(error: BaseException) -> Failure:
    """The failure that an exception stands for."""
    cause = next((sign.cause for sign in _SIGNS if sign.matches(error)), "unknown")
    return failure(cause, f"{type(error).__name__}: {error}")


_LAST_WORDS: tuple[tuple[Cause, str], ...] = (
    (
        "host_memory",
        r"bad_alloc|MemoryError|Cannot allocate memory|LLVM ERROR: out of memory"
        r"|mmap failed|Unable to allocate|allocation failed|cannot allocate"
        r"|RESOURCE_EXHAUSTED.*cpu|oom.kill|pthread_create.*EAGAIN"
        r"|Thread creation via pthread_create\(\) failed",
    ),
    ("gpu_memory", r"RESOURCE_EXHAUSTED|CUDA_ERROR_OUT_OF_MEMORY"),
    ("device", "|".join(_DEVICE)),
    ("disk", r"No space left on device|Disk quota exceeded"),
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
    evidence = f"the process ended with {name}{_where(last_words)}"
    if said := _said(last_words):
        evidence += f"; last words: {said[-250:]}"
    if oom_kills:
        return failure("host_memory", f"{evidence} (the kernel's out-of-memory killer)")
    for cause, pattern in _LAST_WORDS:
        if re.search(pattern, last_words, re.IGNORECASE):
            return failure(cause, evidence)
    if status == -signal.SIGKILL:
        return failure("host_memory", f"{evidence} (SIGKILL: most likely for memory)")
    if status == -signal.SIGBUS:
        return failure("disk", f"{evidence} (SIGBUS: a mapped file could not be read)")
    return failure("unknown", evidence)


def _where(last_words: str) -> str:
    """The innermost line of our own code in a stack that Python left."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', last_words)
    # A fatal signal's stack has the innermost call first, an exception's has it last.
    is_fatal = "most recent call first" in last_words
    ours = [f for f in frames if re.search(r"/(af3_core|kernels|workflow)/", f[0])]
    if not ours:
        return ""
    path, line = ours[0] if is_fatal else ours[-1]
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
