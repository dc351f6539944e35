"""Causes, by what JAX, CUDA, Python and the kernel really say."""

import errno
import re
import signal

import pytest

from af3_core.columns import ContractError
from af3_core.job import InputError
from workflow.engine.failures import (
    CAUSES,
    REMEDIES,
    classify,
    classify_death,
    failure,
)

SAID = [
    # XLA on a GPU: jax#22755, jax#13428, graphcast#18, equinox#737.
    (
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 3 b"),
        "gpu_memory",
    ),
    (
        RuntimeError("RESOURCE_EXHAUSTED: Failed to allocate request for 2.99GiB"),
        "gpu_memory",
    ),
    (RuntimeError("INTERNAL: CUDA_ERROR_OUT_OF_MEMORY: out of memory"), "gpu_memory"),
    (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), "gpu_memory"),
    # XLA on a CPU under `ulimit -v`, as seen here.
    (
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4768736944 bytes."),
        "host_memory",
    ),
    (RuntimeError("INTERNAL: YNNPACK operation failed: error"), "host_memory"),
    (MemoryError("std::bad_alloc"), "host_memory"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "host_memory"),
    # A poisoned context: jax#25002, jax#6921, ColabFold#503.
    (
        RuntimeError("INTERNAL: Could not synchronize CUDA stream: CUDA_ERROR_ILLEGAL"),
        "device",
    ),
    (RuntimeError("cublas error"), "device"),
    (RuntimeError("CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error"), "device"),
    (OSError(errno.ENOSPC, "No space left on device"), "disk"),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk"),
    (InputError("a.json", "sequences[0].protein.sequence", "?", "x"), "input"),
    (
        InputError("a.json", "sequences[0].protein.templates[0].mmcif", "?", "x"),
        "template",
    ),
    (ValueError("no conformer of component XYZ"), "conformer"),
    (ValueError("template 1abc has no release date"), "template"),
    # Kernels that cannot be assembled, loaded or given what they ask for.
    (RuntimeError("INTERNAL: ptxas exited with non-zero error code 65280"), "backend"),
    (RuntimeError("INTERNAL: foldmill_attention_0f: RuntimeError: LLVM"), "backend"),
    (RuntimeError("INTERNAL: foldmill_attention_0f: MemoryError: "), "host_memory"),
    (RuntimeError("CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image"), "backend"),
    (RuntimeError("out of resource: shared memory, Required: 240000"), "backend"),
    # What no input can excuse.
    *((kind("conformer"), "defect") for kind in (TypeError, KeyError, IndexError)),
    (AttributeError("'NoneType' object has no attribute 'template'"), "defect"),
    (AssertionError(), "defect"),
    (ContractError("scores: no column x"), "defect"),
    (ValueError("x"), "unknown"),
    (UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid"), "unknown"),
]


@pytest.mark.parametrize(("error", "cause"), SAID)
def test_an_error_is_sorted_by_what_it_says(error: Exception, cause: str) -> None:
    failure = classify(error)
    assert failure.cause == cause and failure.remedy


SEGFAULT_IN_RDKIT = """Fatal Python error: Segmentation fault

Current thread 0x00007f (most recent call first):
  File "/x/rdkit/Chem/rdDistGeom.py", line 12 in EmbedMolecule
  File "/repo/af3_core/chemistry/conformers.py", line 123 in embed
  File "/repo/workflow/featurise.py", line 40 in make_features

Extension modules: numpy (total: 1)
"""

DEATHS = [
    (-signal.SIGKILL, "", "host_memory"),
    (-signal.SIGABRT, "terminate called … what():  std::bad_alloc", "host_memory"),
    (-signal.SIGABRT, "LLVM ERROR: out of memory", "host_memory"),
    (-signal.SIGSEGV, SEGFAULT_IN_RDKIT, "conformer"),
    (-signal.SIGSEGV, "", "unknown"),
    (-signal.SIGABRT, "CUDA_ERROR_ILLEGAL_ADDRESS", "device"),
    (-signal.SIGBUS, "", "disk"),
    (1, "Traceback…\n  x\nTypeError: a defect", "defect"),
    (1, "jax.errors.Odd: not a TypeError", "unknown"),
    (-signal.SIGABRT, "ptxas fatal: Unresolved extern function", "backend"),
]


@pytest.mark.parametrize(("status", "words", "cause"), DEATHS)
def test_a_death_is_sorted_by_signal_and_last_words(
    status: int, words: str, cause: str
) -> None:
    assert classify_death(status, words).cause == cause


def test_the_kernels_own_count_settles_what_a_kill_was_for() -> None:
    evidence = classify_death(-signal.SIGKILL, "", oom_kills=1).evidence
    assert "out-of-memory killer" in evidence


def test_the_evidence_names_the_line_of_ours_that_was_running() -> None:
    evidence = classify_death(-signal.SIGSEGV, SEGFAULT_IN_RDKIT).evidence
    assert "SIGSEGV in af3_core/chemistry/conformers.py:123" in evidence


def test_the_evidence_of_a_defect_is_where_it_was_raised() -> None:
    with pytest.raises(AttributeError) as error:
        failure("input", None)
    found = classify(error.value)
    assert found.cause == "defect"
    assert re.search(r"in workflow/\w+/failures\.py:\d+$", found.evidence)


def test_every_cause_has_a_remedy() -> None:
    assert set(REMEDIES) == set(CAUSES)
