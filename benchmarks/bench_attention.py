"""What attention costs: counted for A100 and H100, measured where this runs.

    python -m benchmarks.bench_attention [--quick]

writes Markdown to benchmarks/results. Counted: bytes and operations of each backend
against the floor, the roofline time that follows, and the machine code of our
kernels. Measured on a CPU: the chunked XLA backend against the definition. A GPU is
measured by `python -m benchmarks.gpu_acceptance`.
"""

import argparse
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import jax

from benchmarks import traffic
from benchmarks.measure import measure_cpu
from benchmarks.shapes import AttentionShape, af3_shapes, spec_for
from benchmarks.traffic import MACHINES, Work
from kernels import current_device, explain

RESULTS = Path(__file__).parent / "results"
NUM_TOKENS = (256, 512, 1024, 2048, 3072, 5120)


def traffic_table(num_tokens: tuple[int, ...]) -> Iterator[str]:
    """Bytes of each backend against the floor, and roofline times. All computed."""
    yield (
        "| attention | tokens | backend | GB | × floor | TFLOP |"
        " ms on A100 (computed) | ms on H100 (computed) |"
    )
    yield "| --- | --: | --- | --: | --: | --: | --: | --: |"
    device = MACHINES[0].device
    for count in num_tokens:
        for shape in af3_shapes(count):
            spec = spec_for(shape, device)
            refusals = explain(spec)
            works = {
                "floor": traffic.floor(spec),
                "triton": traffic.flash(spec),
                "cudnn": traffic.cudnn(spec),
                "xla": traffic.xla(shape, device, "xla"),
                "naive": traffic.xla(shape, device, "naive"),
            }
            for backend, work in works.items():
                if refusals.get(backend) is None:
                    yield _traffic_row(shape, count, backend, work, works["floor"])


def _traffic_row(
    shape: AttentionShape, num_tokens: int, backend: str, work: Work, floor: Work
) -> str:
    times = " | ".join(
        f"{1e3 * seconds:.3g} ({limit})"
        for seconds, limit in (work.roofline(m, shape.dtype) for m in MACHINES)
    )
    return (
        f"| {shape.name} {shape.dtype} | {num_tokens:,} | {backend}"
        f" | {work.memory_bytes / 1e9:.3g}"
        f" | {work.memory_bytes / floor.memory_bytes:.2f}"
        f" | {work.flops / 1e12:.3g} | {times} |"
    )


def publish(name: str, title: str, note: str, lines: list[str], keep: bool) -> None:
    """One page of results, printed and, if `keep`, written."""
    text = "\n".join([f"# {title}", "", note, "", *lines, ""])
    print(text, flush=True)
    if keep:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.md").write_text(text)


def refusals(num_tokens: int) -> Iterator[str]:
    """What would compute each attention here, and why not something else."""
    for shape in af3_shapes(num_tokens):
        for backend, refusal in explain(spec_for(shape, current_device())).items():
            yield f"- {shape.name}, {backend}: {refusal or 'runs'}"


def main(argv: list[str] | None = None) -> None:
    """Prints all tables and keeps them under benchmarks/results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, one card; keeps nothing"
    )
    quick = parser.parse_args(argv).quick
    keep = not quick
    print(*refusals(1024), "", sep="\n")
    publish(
        "traffic",
        "Memory traffic and roofline times of attention, computed",
        "Nothing on this page was measured: see benchmarks/traffic.py.",
        list(traffic_table((256,) if quick else NUM_TOKENS)),
        keep,
    )
    publish(
        "second_kernel",
        "Which step of the pairformer gains most from a second kernel",
        "Counted, for one pair of tokens and one block: see benchmarks/traffic.py.",
        traffic.second_kernel_table(),
        keep,
    )
    if jax.default_backend() == "cpu":
        title = "Chunked attention against the definition on a CPU, measured"
        note = f"Triangle attention on {os.cpu_count()} cores: benchmarks/measure.py."
        lines = list(measure_cpu((128,) if quick else (512, 1024)))
        publish("cpu", title, note, lines, keep)
    if importlib.util.find_spec("triton") is None:
        print("Machine code: no triton: sh envs/setup.sh --extra triton")
        return
    from benchmarks.machine_code import CAPABILITIES, table

    publish(
        "machine_code",
        "Machine code of our kernels at 1,024 tokens, compiled without a GPU",
        "Read from the disassembly: see benchmarks/machine_code.py.",
        table(CAPABILITIES[:1] if quick else CAPABILITIES),
        keep,
    )


if __name__ == "__main__":
    main()
