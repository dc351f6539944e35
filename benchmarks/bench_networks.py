"""Memory and time of one prediction on a CPU: OpenFold3's network beside AlphaFold 3's.

    python -m benchmarks.bench_networks [--tokens 128] [--repeats 2] [--blocks 48]
        [--dtypes bfloat16]

Memory is what XLA plans for the network of full size. Times are of random weights, few
passes, steps and one sample, and the same for both networks; with `--blocks`, stacks of
blocks that compute the same in both are cut to so many, so that what differs weighs
more. Every process computes one network, and they take turns; it is the processor's
time that is compared, which neighbours on the machine disturb least. Results go to
benchmarks/results/networks.md.
"""

import functools
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from af3_core.chemistry.dictionary import Components
from af3_core.features.featurise import featurise
from af3_core.job import Job, Polymer
from af3_core.model.batch import Batch, pad
from af3_core.model.config import Conventions, ModelConfig, Runtime
from af3_core.model.conventions import follow
from af3_core.model.model import Params, predict
from af3_core.model.openfold3 import OPENFOLD3
from af3_core.model.parameters import Shapes, parameter_shapes
from benchmarks.page import RESULTS, command_line, publish

type Dtype = Literal["bfloat16", "float32"]


PAGE = RESULTS / "networks.md"
NETWORKS: Mapping[str, ModelConfig] = {
    "AlphaFold 3": ModelConfig(),
    "OpenFold3": OPENFOLD3,
}
NUM_RECYCLES, NUM_STEPS, NUM_SAMPLES, NUM_PREDICTIONS, MSA_ROWS = 1, 8, 1, 4, 128
_LETTERS = "ACDEFGHIKLMNPQRSTVWY"


@dataclass(frozen=True)
class Cost:
    """Of one network in a process of its own."""

    held_gb: float
    """Weights, features and results."""
    temporary_gb: float
    """What it needs besides while it computes."""
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


def weight_shapes(config: ModelConfig, dtype: Dtype) -> Shapes:
    """Shapes and types of weights as `load_checkpoint` gives them."""
    shapes = parameter_shapes(config)
    if config.conventions == Conventions() or dtype == "bfloat16":
        return shapes
    # Files of other networks than AlphaFold 3's have every weight in float32.
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32), shapes)


def make_weights(shapes: Shapes) -> Params:
    """Random numbers of these shapes and types."""
    numbers = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32)

    def make(shape: jax.ShapeDtypeStruct) -> jax.Array:
        values = 0.02 * np.resize(numbers, shape.shape)
        return jnp.asarray(values.astype(shape.dtype))

    return jax.tree.map(make, shapes)


def cut(config: ModelConfig, num_blocks: int) -> ModelConfig:
    """The network with fewer blocks in its two longest stacks."""
    transformer = config.diffusion.transformer
    size = transformer.super_block_size
    count = min(transformer.num_blocks, -(-num_blocks // size) * size)
    transformer = replace(transformer, num_blocks=count)
    count = min(config.pairformer.num_blocks, num_blocks)
    return replace(
        config,
        pairformer=replace(config.pairformer, num_blocks=count),
        diffusion=replace(config.diffusion, transformer=transformer),
    )


def measure(name: str, dtype: Dtype, num_tokens: int, num_blocks: int) -> Cost:
    """Predicts some times in this process; the compilation before is not counted."""
    whole = NETWORKS[name]
    sampler = replace(whole.sampler, num_steps=NUM_STEPS, num_samples=NUM_SAMPLES)
    whole = replace(whole, num_recycles=NUM_RECYCLES, sampler=sampler)
    batch = jax.tree.map(jnp.asarray, make_batch(num_tokens, whole))
    key = jax.random.PRNGKey(1)

    def compiled(config: ModelConfig) -> Any:
        run = functools.partial(predict, config=config, runtime=Runtime(dtype=dtype))
        return jax.jit(run).lower(weight_shapes(config, dtype), batch, key).compile()

    of_whole, config = compiled(whole), cut(whole, num_blocks)
    memory = of_whole.memory_analysis()
    run = of_whole if config == whole else compiled(config)
    weights, times = make_weights(weight_shapes(config, dtype)), []
    for _ in range(NUM_PREDICTIONS):
        start = time.process_time()
        jax.block_until_ready(run(weights, batch, key))
        times.append(time.process_time() - start)
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return Cost(held / 1e9, memory.temp_size_in_bytes / 1e9, min(times))


def take_turns(
    dtype: Dtype, num_tokens: int, repeats: int, num_blocks: int
) -> dict[str, list[Cost]]:
    """Costs of both networks, each measured `repeats` times."""
    found: dict[str, list[Cost]] = {name: [] for name in NETWORKS}
    spawn = multiprocessing.get_context("spawn")
    for _ in range(repeats):
        for name in NETWORKS:
            with spawn.Pool(1) as pool:
                cost = pool.apply(measure, (name, dtype, num_tokens, num_blocks))
            found[name].append(cost)
            print(dtype, name, cost, flush=True)
    return found


def table(found: Mapping[Dtype, Mapping[str, Sequence[Cost]]]) -> list[str]:
    """Markdown: the least of the turns, and ratios to AlphaFold 3's network."""
    lines = [
        "| activations | network | weights and features, GB | temporary, GB"
        " | processor, s | memory × | time × |",
        "| --- | --- | --: | --: | --: | --: | --: |",
    ]
    for dtype, costs in found.items():
        least = {
            name: [min(x) for x in zip(*(vars(c).values() for c in turns), strict=True)]
            for name, turns in costs.items()
        }
        held, temporary, seconds = least["AlphaFold 3"]
        for name, values in least.items():
            memory = (values[0] + values[1]) / (held + temporary)
            ratios = f"{memory:.3f} | {values[2] / seconds:.3f}"
            shown = " | ".join(f"{v:.2f}" for v in values)
            lines.append(f"| {dtype} | {name} | {shown} | {ratios} |")
    return lines


def main(argv: list[str] | None = None) -> int:
    """Measures, prints and writes the page."""
    parser = command_line("bench_networks", __doc__)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=48)
    choices = ("bfloat16", "float32")
    parser.add_argument("--dtypes", nargs="+", choices=choices, default=choices)
    options = parser.parse_args(argv)
    found: dict[Dtype, dict[str, list[Cost]]] = {
        dtype: take_turns(dtype, options.tokens, options.repeats, options.blocks)
        for dtype in options.dtypes
    }
    page = [
        "# OpenFold3's network beside AlphaFold 3's",
        "",
        f"One prediction of {options.tokens} tokens on a CPU, {MSA_ROWS} rows of"
        " alignment. Memory is of the network of full size, by XLA's plan. Times are of"
        f" {NUM_RECYCLES + 1} passes of the trunk, {NUM_STEPS} steps and {NUM_SAMPLES}"
        f" sample, with at most {options.blocks} blocks in a stack (there are 48 in the"
        " trunk, 24 in the denoiser); the least of"
        f" {options.repeats} processes for each network, in turns. By default"
        " OpenFold3's makes 4 passes and AlphaFold 3's 11, which is not counted here.",
        "",
        *table(found),
    ]
    publish(PAGE, page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
