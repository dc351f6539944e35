"""Measured times and memory of attention, on whatever this runs on.

What makes timings lie: compilation (done before), one slow first call (discarded),
asynchronous results (waited for), neighbours on the machine (the minimum of several
runs on a CPU, interleaved between backends; the median on a GPU, with the spread).
"""

import math
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from benchmarks import traffic
from benchmarks.shapes import (
    AttentionShape,
    af3_shapes,
    input_shapes,
    random_inputs,
    spec_for,
)
from kernels import attention, current_device, explain

# Rows of triangle attention that are timed on a CPU; they are independent.
TIMED_ROWS = 32
CPU_REPEATS, GPU_REPEATS = 7, 30
# Bytes of temporary buffers that are still computed with, not only counted.
LARGEST_RUN = 6e9


def compile_backend(shape: AttentionShape, backend: str) -> Any:
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
    return 1024 * int(re.search(rf"{field}:\s+(\d+) kB", status)[1])


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


def measure_gpu(num_tokens: tuple[int, ...]) -> Iterator[str]:
    """Times of every backend that does not refuse, on this GPU."""
    device = current_device()
    yield (
        "| attention | tokens | backend | median ms | spread | GB/s of the floor |"
        " TFLOP/s |"
    )
    yield "| --- | --: | --- | --: | --: | --: | --: |"
    for count in num_tokens:
        for shape in af3_shapes(count):
            spec = spec_for(shape, device)
            floor = traffic.floor(spec)
            for backend, refusal in explain(spec).items():
                row = f"| {shape.name} {shape.dtype} | {count:,} | {backend} |"
                # The definition's logits alone would fill the card.
                if refusal is not None or (backend == "naive" and count > 512):
                    yield f"{row} {refusal or 'too large'} | | | |"
                    continue
                median, spread = _time_on_gpu(shape, backend)
                yield (
                    f"{row} {1e3 * median:.3g} | {100 * spread:.0f} %"
                    f" | {floor.memory_bytes / median / 1e9:.0f}"
                    f" | {floor.flops / median / 1e12:.1f} |"
                )


def _time_on_gpu(shape: AttentionShape, backend: str) -> tuple[float, float]:
    """Median seconds, and interquartile range as a part of it."""
    compiled, arguments = compile_backend(shape, backend), random_inputs(shape)
    times = []
    for _ in range(GPU_REPEATS + 3):
        start = time.perf_counter()
        jax.block_until_ready(compiled(arguments))
        times.append(time.perf_counter() - start)
    lower, median, upper = statistics.quantiles(times[3:], n=4)
    return median, (upper - lower) / median
