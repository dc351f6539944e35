"""Memory and time of one prediction on a CPU: OpenFold3's network beside AlphaFold 3's.

    python -m benchmarks.bench_networks [--repeats 2] [--tokens 128]

Both networks have full size and random weights, in the types that they are loaded in.
Passes, steps and samples are few, and the same for both. Every process computes one
network, and they take turns; it is the processor's time that is compared, which
neighbours on the machine disturb least. Results go to benchmarks/results/networks.md.
"""

import argparse
import functools
import multiprocessing
import re
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from af3_core.chemistry.dictionary import Components
from af3_core.features.featurise import featurise
from af3_core.job import Job, Polymer
from af3_core.model.batch import Batch, pad
from af3_core.model.config import ModelConfig, Runtime
from af3_core.model.conventions import follow
from af3_core.model.model import Params, predict
from af3_core.model.openfold3 import OPENFOLD3
from af3_core.model.parameters import parameter_shapes

type Dtype = Literal["bfloat16", "float32"]

RESULTS = Path(__file__).parent / "results" / "networks.md"
NETWORKS: Mapping[str, ModelConfig] = {
    "AlphaFold 3": ModelConfig(),
    "OpenFold3": OPENFOLD3,
}
NUM_RECYCLES, NUM_STEPS, NUM_SAMPLES, NUM_PREDICTIONS, MSA_ROWS = 1, 8, 1, 2, 128
_LETTERS = "ACDEFGHIKLMNPQRSTVWY"


@dataclass(frozen=True)
class Cost:
    """Of one network in a process of its own."""

    buffers_gb: float
    """Weights, features, results and temporary arrays, as XLA plans them."""
    peak_gb: float
    """The most memory that the process had while it predicted."""
    seconds: float
    """Of the processor, for the fastest prediction."""


def make_batch(num_tokens: int, config: ModelConfig) -> Batch:
    """A protein with an alignment, as the network sees it."""
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list(_LETTERS), num_tokens)) for _ in range(MSA_ROWS)]
    alignment = "".join(f">{i}\n{row}\n" for i, row in enumerate(rows))
    chain = Polymer(
        *("protein", ("A",), rows[0]),
        unpaired_msa=alignment,
        paired_msa="",
        templates=(),
    )
    features = featurise(Job("one", (1,), (chain,)), Components.load())
    positions = rng.standard_normal((num_tokens, 24, 3)).astype(np.float32)
    batch = pad(features, positions, num_tokens, msa_rows=len(features.msa.rows))
    return follow(batch, config.conventions)


def make_weights(config: ModelConfig, dtype: Dtype) -> Params:
    """Random numbers, of the types that `load_checkpoint` gives them."""
    numbers = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32)
    is_exact = config.conventions != ModelConfig().conventions and dtype == "float32"

    def make(shape: jax.ShapeDtypeStruct) -> jax.Array:
        values = 0.02 * np.resize(numbers, shape.shape)
        return jnp.asarray(values.astype(np.float32 if is_exact else shape.dtype))

    return jax.tree.map(make, parameter_shapes(config))


def measure(name: str, dtype: Dtype, num_tokens: int) -> Cost:
    """Predicts some times in this process; the compilation before is not counted."""
    config = NETWORKS[name]
    sampler = replace(config.sampler, num_steps=NUM_STEPS, num_samples=NUM_SAMPLES)
    config = replace(config, num_recycles=NUM_RECYCLES, sampler=sampler)
    batch = jax.tree.map(jnp.asarray, make_batch(num_tokens, config))
    arguments = make_weights(config, dtype), batch, jax.random.PRNGKey(1)
    run = functools.partial(predict, config=config, runtime=Runtime(dtype=dtype))
    compiled = jax.jit(run).lower(*arguments).compile()
    planned = compiled.memory_analysis()
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # resets the peak
    times = []
    for _ in range(NUM_PREDICTIONS):
        start = time.process_time()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.process_time() - start)
    buffers = (
        planned.argument_size_in_bytes
        + planned.output_size_in_bytes
        + planned.temp_size_in_bytes
    )
    status = Path("/proc/self/status").read_text("ascii")
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return Cost(buffers / 1e9, 1024 * int(peak) / 1e9, min(times))


def take_turns(dtype: Dtype, num_tokens: int, repeats: int) -> dict[str, list[Cost]]:
    """Costs of both networks, each measured `repeats` times."""
    found: dict[str, list[Cost]] = {name: [] for name in NETWORKS}
    spawn = multiprocessing.get_context("spawn")
    for _ in range(repeats):
        for name in NETWORKS:
            with spawn.Pool(1) as pool:
                found[name].append(pool.apply(measure, (name, dtype, num_tokens)))
            print(dtype, name, found[name][-1], flush=True)
    return found


def table(found: Mapping[Dtype, Mapping[str, Sequence[Cost]]]) -> list[str]:
    """Markdown: the least of the turns, and ratios to AlphaFold 3's network."""
    lines = [
        "| activations | network | buffers, GB | peak, GB | processor, s"
        " | buffers × | peak × | time × |",
        "| --- | --- | --: | --: | --: | --: | --: | --: |",
    ]
    for dtype, costs in found.items():
        least = {
            name: [min(x) for x in zip(*(vars(c).values() for c in turns), strict=True)]
            for name, turns in costs.items()
        }
        base = least["AlphaFold 3"]
        for name, values in least.items():
            ratios = (v / b for v, b in zip(values, base, strict=True))
            shown = [f"{v:.2f}" for v in values] + [f"{r:.3f}" for r in ratios]
            lines.append(f"| {dtype} | {name} | {' | '.join(shown)} |")
    return lines


def main(argv: list[str] | None = None) -> int:
    """Measures, prints and writes the page."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.bench_networks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args(argv)
    dtypes: tuple[Dtype, ...] = ("bfloat16", "float32")
    found = {d: take_turns(d, options.tokens, options.repeats) for d in dtypes}
    page = [
        "# OpenFold3's network beside AlphaFold 3's",
        "",
        f"One prediction of {options.tokens} tokens on a CPU, {MSA_ROWS} rows of"
        f" alignment, {NUM_RECYCLES + 1} passes of the trunk, {NUM_STEPS} steps,"
        f" {NUM_SAMPLES} sample; the least of {options.repeats} processes for each"
        " network, in turns. By default OpenFold3's makes 4 passes and AlphaFold 3's"
        " 11, which is not counted here.",
        "",
        *table(found),
    ]
    RESULTS.write_text("\n".join(page) + "\n", encoding="utf-8")
    print("\n".join(page))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"largest process: {peak:.1f} GB, compilation included")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
