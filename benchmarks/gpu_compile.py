"""The whole network, compiled by XLA's compiler for a GPU that is not here.

    python -m benchmarks.gpu_compile --card h100 --tokens 1024 2048 5120

prints one JSON line for each size and keeps it in benchmarks/results/gpu_compile.jsonl,
from which it writes the table gpu_compile.md. Memory is the compiler's own analysis of
the program it would run; bytes moved and calls are counted in that program (see
benchmarks/program.py). Nothing is measured: there is no time on any of these pages.

The compiler is in .venv/lowering (envs/setup.sh). JAX finds it only if asked to before
its first import, so nothing here imports JAX before `start`.
"""

import argparse
import functools
import importlib
import json
import os
import re
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

CARDS = Path(__file__).parent / "cards"
RESULTS = Path(__file__).parent / "results"
COMPILER = Path(sys.prefix) / "lowering"
PTXAS = COMPILER / "nvidia/cuda_nvcc/bin/ptxas"

FLAGS = (
    # There is no card on which alternatives could be timed.
    "--xla_gpu_autotune_level=0",
    # As every run sets it; see kernels/README.md.
    "--xla_gpu_enable_triton_gemm=false",
    f"--xla_gpu_cuda_data_dir={COMPILER / 'nvidia/cuda_nvcc'}",
)
ALPHAFOLD3_GB = {256: 2.8, 1024: 7.3, 2048: 17.2, 5120: 69.0}
"""Peak memory of AlphaFold 3 on an A800, measured by others (AF3Parallel)."""
GOAL_GB = {1024: 4, 2048: 9, 5120: 40, 8192: 80}
"""What we want of a prediction in bfloat16: 8,192 tokens on a card of 80 GB."""


class Card(NamedTuple):
    """A kind of GPU that XLA compiles for."""

    name: str
    description: str
    """XLA's GpuTargetConfigProto, as text."""

    @property
    def capability(self) -> tuple[int, int]:
        """Compute capability."""
        found = re.search(r"major: (\d+) minor: (\d+)", self.description)
        if found is None:
            raise ValueError(f"{self.name}: no compute capability in its description")
        return int(found[1]), int(found[2])


def cards() -> dict[str, Card]:
    """The cards that are described, by name."""
    paths = sorted(CARDS.glob("*.textproto"))
    return {path.stem: Card(path.stem, path.read_text()) for path in paths}


def start() -> None:
    """Has JAX find the compiler, and keep away from devices; before JAX is imported.

    Raises RuntimeError when JAX is already there, or the compiler is not.
    """
    if "jax" in sys.modules:
        raise RuntimeError("JAX was imported before it was told where its compiler is")
    if not PTXAS.is_file():
        raise RuntimeError(f"no compiler for GPUs in {COMPILER}: sh envs/setup.sh")
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS])
    sys.path.append(str(COMPILER))


@functools.cache
def _sharding(card: Card) -> Any:
    importlib.import_module("jaxlib.gpu_triton")  # registers the call
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    topology = topologies.get_topology_desc(
        card.name, "cuda", target_config=card.description, topology="1x1x1"
    )
    return SingleDeviceSharding(topology.devices[0])


def lower_for(card: Card, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function` of arrays or shapes, traced and lowered as if `card` were here."""
    import jax

    from kernels import Device, lowering_for

    def put(x: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=_sharding(card))

    with lowering_for(Device("cuda", card.capability)):
        # JAX would not trace the same function again for another card.
        fresh = jax.jit(lambda *xs: function(*xs))
        traced = fresh.trace(*jax.tree.map(put, arguments))
        return traced.lower(lowering_platforms=("cuda",))


def compile_for(card: Card, function: Callable[..., Any], *arguments: Any) -> Any:
    """The program that XLA makes of `function` for `card`."""
    return lower_for(card, function, *arguments).compile()


def compile_here(card: Card, function: Callable[..., Any], *arguments: Any) -> Any:
    """As `compile_for`, of a function that no longer depends on what it runs on."""
    import jax

    shapes = [
        jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=_sharding(card))
        for x in arguments
    ]
    traced = jax.jit(lambda *xs: function(*xs)).trace(*shapes)
    return traced.lower(lowering_platforms=("cuda",)).compile()


def without_cudnn() -> None:
    """Answers JAX's question for the version of cuDNN, which is not here."""
    from jax._src.cudnn import fused_attention_stablehlo

    versions = types.SimpleNamespace(cudnn_get_version=lambda: 91_100)
    setattr(fused_attention_stablehlo, "cuda_versions", versions)  # noqa: B010


def network(
    num_tokens: int, num_rows: int, num_templates: int, dtype: str
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """`predict` of the published size, and the shapes of its arguments."""
    import jax
    import jax.numpy as jnp

    from af3_core.model.config import ModelConfig, Runtime
    from af3_core.model.model import predict
    from af3_core.model.parameters import blank_batch, parameter_shapes

    config = ModelConfig()
    runtime = Runtime(dtype=dtype)  # pyright: ignore[reportArgumentType]
    batch = blank_batch(num_tokens, num_rows=num_rows, num_templates=num_templates)
    key = jax.ShapeDtypeStruct((2,), jnp.uint32)
    function = functools.partial(predict, config=config, runtime=runtime)
    return function, (parameter_shapes(config), batch, key)


def analyse(card: Card, function: Callable[..., Any], *arguments: Any) -> dict:
    """Memory (GB), bytes moved (TB) and calls of a function compiled for a card."""
    from benchmarks.program import Program

    compiled = compile_for(card, function, *arguments)
    memory = compiled.memory_analysis()
    sizes = {
        "argument_gb": memory.argument_size_in_bytes,
        "output_gb": memory.output_size_in_bytes - memory.alias_size_in_bytes,
        "temporary_gb": memory.temp_size_in_bytes,
    }
    traffic = Program(compiled.as_text()).traffic()
    return {
        **{name: round(size / 1e9, 3) for name, size in sizes.items()},
        "total_gb": round(sum(sizes.values()) / 1e9, 3),
        "bytes_moved_tb": round(traffic.memory_bytes / 1e12, 3),
        "kernel_calls": sum(traffic.kernels.values()),
        "calls_of": dict(sorted(traffic.kernels.items())),
        "launches": traffic.launches,
    }


def keep(row: dict) -> None:
    """Puts `row` in the place of an older one of the same code, card and size."""
    path = RESULTS / "gpu_compile.jsonl"
    rows = (
        [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []
    )

    def key(row: dict) -> tuple:
        return row["card"], row["dtype"], row["tokens"], row["code"]

    rows = sorted([x for x in rows if key(x) != key(row)] + [row], key=key)
    path.write_text("".join(json.dumps(x) + "\n" for x in rows))
    (RESULTS / "gpu_compile.md").write_text(table(rows))


def table(rows: Sequence[dict]) -> str:
    """The Markdown page of all rows."""
    head = (
        "# The whole network, compiled for GPUs that were not here\n\n"
        "XLA's own analysis of the program it would run, and counts in that program:"
        " `python -m benchmarks.gpu_compile`.\nPublished size, 5 samples, 16,384"
        " alignment rows, 4 templates. Nothing here was measured.\nThe last columns are"
        " our goals for the total, and AlphaFold 3's peak on an A800, measured by"
        " others.\n\n"
        "| card | dtype | tokens | code | arguments GB | output GB | temporaries GB"
        " | total GB | moved TB | kernel calls | launches | goal GB | AlphaFold 3 GB"
        " |\n"
        f"| --- | --- | --: | --- {'| --: ' * 9}|\n"
    )
    lines = [
        f"| {row['card']} | {row['dtype']} | {row['tokens']:,} | {row['code']}"
        f" | {row['argument_gb']:.2f} | {row['output_gb']:.2f}"
        f" | {row['temporary_gb']:.2f} | {row['total_gb']:.2f}"
        f" | {row['bytes_moved_tb']:.1f} | {row['kernel_calls']:,}"
        f" | {row['launches']:,} | {GOAL_GB.get(row['tokens'], '')}"
        f" | {ALPHAFOLD3_GB.get(row['tokens'], '')} |\n"
        for row in rows
    ]
    return head + "".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Compiles the network for each size and keeps what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--card", choices=sorted(cards()), default="h100")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1024, 2048, 5120])
    parser.add_argument("--rows", type=int, default=16384, help="of the alignment")
    parser.add_argument("--templates", type=int, default=4)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument(
        "--code", default="now", help="what the table calls the code that is compiled"
    )
    parser.add_argument("--keep-nothing", action="store_true", help="only print")
    arguments = parser.parse_args(argv)
    start()
    for num_tokens in arguments.tokens:
        function, shapes = network(
            num_tokens, arguments.rows, arguments.templates, arguments.dtype
        )
        row = {
            "tokens": num_tokens,
            **analyse(cards()[arguments.card], function, *shapes),
        }
        names = {name: getattr(arguments, name) for name in ("card", "dtype", "code")}
        row |= names
        print(json.dumps(row), flush=True)
        if not arguments.keep_nothing and (arguments.rows, arguments.templates) == (
            16384,
            4,
        ):
            keep(row)


if __name__ == "__main__":
    main()
