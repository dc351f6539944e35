"""Measured times and memory of attention on a CPU.

What makes timings lie: compilation (done before), one slow first call (discarded),
asynchronous results (waited for), neighbours on the machine (the minimum of several
runs, interleaved between backends). GPUs are measured by benchmarks/gpu_acceptance.py,
in loops inside one program: a launch from outside takes longer than many a kernel.
"""

import math
import multiprocessing
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from benchmarks.shapes import (
    AttentionShape,
    af3_shapes,
    input_shapes,
    random_inputs,
)
from kernels import attention

# Rows of triangle attention that are timed on a CPU; they are independent.
TIMED_ROWS = 32
CPU_REPEATS = 7
# Bytes of temporary buffers that are still computed with, not only counted.
LARGEST_RUN = 6e9


def compile_backend(shape: AttentionShape, backend: Any) -> Any:
    """Attention of one shape, compiled ahead of time."""
    function = jax.jit(lambda arguments: attention(**arguments, backend=backend))
    return function.lower(input_shapes(shape)).compile()


def peak_memory(shape: AttentionShape, backend: str) -> tuple[float, float]:
    """GB of XLA's temporary buffers, and by which the process grows meanwhile.

    In a process of its own; NaN where the buffers would not fit this machine.
    """
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(1) as pool:
        return pool.apply(_peak_memory, (shape, backend))


def _peak_memory(shape: AttentionShape, backend: str) -> tuple[float, float]:
    compiled = compile_backend(shape, backend)
    temporary = compiled.memory_analysis().temp_size_in_bytes
    if temporary > LARGEST_RUN:
        return temporary / 1e9, math.nan
    arguments = jax.block_until_ready(random_inputs(shape))
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _resident_bytes("VmRSS")
    jax.block_until_ready(compiled(arguments))
    return temporary / 1e9, (_resident_bytes("VmHWM") - before) / 1e9


def _resident_bytes(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    (kilobytes,) = re.findall(rf"{field}:\s+(\d+) kB", status)
    return 1024 * int(kilobytes)


def fastest(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Seconds of the fastest of several calls, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            jax.block_until_ready(function())
            times[name].append(time.perf_counter() - start)
    return {name: min(values[1:]) for name, values in times.items()}


def measure_cpu(num_tokens: tuple[int, ...]) -> Iterator[str]:
    """Peak memory of whole triangle attentions, time of some of their rows."""
    yield (
        "| tokens | dtype | backend | XLA's temporary buffers (GB) | process grew by"
        f" (GB) | × naive | ms for {TIMED_ROWS} rows | × naive |"
    )
    yield "| --: | --- | --- | --: | --: | --: | --: | --: |"
    for count in num_tokens:
        for dtype in ("float32", "bfloat16"):
            whole = af3_shapes(count)[0]._replace(dtype=dtype)
            rows = whole._replace(batch=(TIMED_ROWS,), mask_batch=(TIMED_ROWS,))
            arguments = random_inputs(rows)
            backends = {
                name: compile_backend(rows, name).__call__ for name in ("naive", "xla")
            }
            times = fastest(
                {
                    name: (lambda call=call: call(arguments))  # noqa: B023
                    for name, call in backends.items()
                },
                CPU_REPEATS,
            )
            memory = {name: peak_memory(whole, name) for name in backends}
            for name, (temporary, grown) in memory.items():
                yield (
                    f"| {count:,} | {dtype} | {name} | {temporary:.3f}"
                    f" | {'not run' if math.isnan(grown) else f'{grown:.3f}'}"
                    f" | {temporary / memory['naive'][0]:.4f}"
                    f" | {1e3 * times[name]:.0f} | {times[name] / times['naive']:.2f} |"
                )
