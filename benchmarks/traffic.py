"""Bytes, operations and the roofline time that follows: counted, never measured.

A backend is judged by the bytes it moves to and from memory against the floor: every
input read once, the output written once. For XLA the count is XLA's own (its CPU
compiler's: fusion on a GPU differs); for our kernels it is derived here.
"""

import functools
import math
from typing import Any, NamedTuple

import jax

from benchmarks.shapes import AttentionShape, input_shapes, spec_for
from kernels import AttentionSpec, Device, attention
from kernels.attention_cudnn import CHANNEL_MULTIPLE, rides_on_channels
from kernels.attention_triton import batch_group, choose_tile
from kernels.attention_xla import plan_blocks
from kernels.devices import card_of

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class Machine(NamedTuple):
    """Peak rates of a card, from its data sheet (dense, SXM)."""

    name: str
    device: Device
    bytes_per_s: float
    flops_per_s: dict[str, float]
    """Of matrix products, by dtype; float32 as three TF32 products."""
    exponentials_per_s: float
    """Sixteen per clock and multiprocessor."""


A100 = Machine(
    "A100 80 GB",
    Device("cuda", (8, 0)),
    2.039e12,
    {"bfloat16": 312e12, "float16": 312e12, "float32": 156e12 / 3},
    108 * 16 * 1.41e9,
)
H100 = Machine(
    "H100",
    Device("cuda", (9, 0)),
    3.35e12,
    {"bfloat16": 989e12, "float16": 989e12, "float32": 494e12 / 3},
    132 * 16 * 1.83e9,
)
MACHINES = (A100, H100)


class Work(NamedTuple):
    """What one attention costs."""

    memory_bytes: float
    flops: float
    exponentials: float

    def roofline(self, machine: Machine, dtype: str) -> tuple[float, str]:
        """Seconds that no implementation doing this work can beat, and what limits."""
        times = {
            "memory": self.memory_bytes / machine.bytes_per_s,
            "products": self.flops / machine.flops_per_s[dtype],
            "exponentials": self.exponentials / machine.exponentials_per_s,
        }
        limit = max(times, key=times.__getitem__)
        return times[limit], limit


def _num_logits(spec: AttentionSpec) -> int:
    return math.prod(spec.batch) * spec.num_heads * spec.num_queries * spec.num_keys


def _products(spec: AttentionSpec) -> tuple[float, float]:
    """Operations of the two products, and exponentials of the softmax."""
    logits = _num_logits(spec)
    return 4.0 * logits * spec.num_channels, float(logits)


def array_bytes(spec: AttentionSpec) -> dict[str, int]:
    """Size of each operand and of the output."""
    itemsize, batch = BYTES[spec.dtype], math.prod(spec.batch)
    rows = batch * spec.num_channels * itemsize
    queries = rows * spec.num_queries * spec.num_heads
    keys = rows * spec.num_keys * spec.num_key_heads
    sizes = {"q": queries, "k": keys, "v": keys, "output": queries}
    if spec.has_gate:
        sizes["gate"] = queries
    if spec.bias is not None:
        sizes["bias"] = math.prod(spec.bias) * BYTES[spec.bias_dtype or spec.dtype]
    if spec.key_mask is not None:
        sizes["key_mask"] = math.prod(spec.key_mask)
    return sizes


def floor(spec: AttentionSpec) -> Work:
    """Every input read once, the output written once."""
    return Work(sum(array_bytes(spec).values()), *_products(spec))


def flash(spec: AttentionSpec) -> Work:
    """The flash kernel, given an L2 cache that keeps what `batch_group` asks of it.

    Queries, gate and output move once. Keys and values of a group of batch elements
    stay in the cache for all blocks of queries; a bias is read once for each group
    that shares it.
    """
    sizes = array_bytes(spec)
    one = 2 * spec.num_keys * spec.num_channels * BYTES[spec.dtype]
    if one > card_of(spec.device).l2_cache_mib * 2**20:
        tile = choose_tile(spec)
        blocks = math.ceil(spec.num_queries / tile.queries) if tile else 1
        sizes["k"], sizes["v"] = sizes["k"] * blocks, sizes["v"] * blocks
    if spec.bias is not None:
        sharing = math.prod(spec.batch) // math.prod(spec.bias[: len(spec.batch)])
        sizes["bias"] *= math.ceil(sharing / batch_group(spec))
    return Work(sum(sizes.values()), *_products(spec))


def cudnn(spec: AttentionSpec) -> Work:
    """cuDNN at its best: what it is given read once, and our copies around it.

    Key padding widens q, k, v and the output by eight channels where it cannot go
    into the bias; the gate is a pass over the output.
    """
    sizes = array_bytes(spec)
    total = sum(sizes.values())
    if rides_on_channels(spec):
        wide = (spec.num_channels + CHANNEL_MULTIPLE) / spec.num_channels
        total += 2 * wide * (sizes["q"] + sizes["k"] + sizes["v"] + sizes["output"])
    if spec.has_gate:
        total += 2 * sizes["output"]
    return Work(total, *_products(spec))


def xla(shape: AttentionShape, device: Device, backend: str) -> Work:
    """XLA's cost analysis of one block, times the number of blocks."""
    spec = spec_for(shape, device)
    repeats = 1
    if backend == "xla":
        blocks = plan_blocks(spec)
        repeats = math.ceil(spec.num_queries / blocks.queries)
        repeats *= math.ceil(spec.num_keys / blocks.keys)
        for size, block in zip(spec.batch, blocks.batch, strict=True):
            repeats *= math.ceil(size / block)
        shape = _one_block(shape, blocks.batch)._replace(
            num_queries=blocks.queries, num_keys=blocks.keys
        )
    cost = _xla_cost(shape, "naive" if backend == "naive" else "xla")
    return Work(cost["bytes accessed"] * repeats, *_products(spec))


def _one_block(shape: AttentionShape, batch: tuple[int, ...]) -> AttentionShape:
    def cut(axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return axes and tuple(min(a, b) for a, b in zip(axes, batch, strict=True))

    return shape._replace(
        batch=batch, bias_batch=cut(shape.bias_batch), mask_batch=cut(shape.mask_batch)
    )


@functools.cache
def _xla_cost(shape: AttentionShape, backend: str) -> Any:
    function = jax.jit(lambda arguments: _in_one_block(arguments, backend))
    return function.lower(input_shapes(shape)).compile().cost_analysis()


def _in_one_block(arguments: dict, backend: Any) -> jax.Array:
    # On an accelerator the budget of one block is large enough for the whole block.
    from kernels import lowering_for

    with lowering_for(Device("tpu")):
        return attention(**arguments, backend=backend)


class PairUpdate(NamedTuple):
    """Memory traffic of a step on the pair representation, in channels of one pair.

    c is the number of channels; matrix products write their result, and what lies
    between two of them is one pass over memory, as XLA fuses it.
    """

    name: str
    unfused: dict[str, int]
    fused: dict[str, int]
    per_block: int


SECOND_KERNELS = (
    PairUpdate(
        "transition: expand, SwiGLU and contract in one kernel",
        {"expand": 1 + 8, "silu(a) · b": 8 + 4, "contract": 4 + 1},
        {"all": 1 + 1},
        per_block=1,
    ),
    PairUpdate(
        "transition: only expand and SwiGLU",
        {"expand": 1 + 8, "silu(a) · b": 8 + 4, "contract": 4 + 1},
        {"expand, silu(a) · b": 1 + 4, "contract": 4 + 1},
        per_block=1,
    ),
    PairUpdate(
        "triangle multiplication: gated projections in one kernel",
        {"project": 1 + 2, "gate": 1 + 2, "sigmoid · mask": 4 + 2},
        {"all": 1 + 2},
        per_block=2,
    ),
)


def second_kernel_table(num_channels: int = 128) -> list[str]:
    """Bytes of one pair of tokens in one pairformer block, bfloat16."""
    lines = [
        "| candidate | bytes unfused | bytes fused | saved in a block |",
        "| --- | --: | --: | --: |",
    ]
    for update in SECOND_KERNELS:
        scale = 2 * num_channels * update.per_block
        before = scale * sum(update.unfused.values())
        after = scale * sum(update.fused.values())
        lines.append(f"| {update.name} | {before:,} | {after:,} | {before - after:,} |")
    return lines
