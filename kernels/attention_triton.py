"""Attention by our own flash kernel: when it can run, its tiles and its launch.

Everything but `run` is arithmetic on an `AttentionSpec`: it needs neither Triton nor
a GPU, so the whole decision is tested on a CPU.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from kernels import attention_xla
from kernels.devices import card_of
from kernels.launch import (
    DTYPES,
    PRECISION,
    Launch,
    call_triton,
    first_that_fits,
    padded_channels,
    too_little_shared_memory,
    why_no_triton,
)
from kernels.operands import Operands, unstacked
from kernels.spec import AttentionSpec, spec_of

MAX_CHANNELS = 128


class Tile(NamedTuple):
    """Work of one program of the kernel, and the resources it is given."""

    queries: int
    keys: int
    num_warps: int
    num_stages: int


class Strides(NamedTuple):
    """Elements between neighbours of a broadcast operand; 0 where it broadcasts."""

    outer: int
    inner: int
    head: int
    query: int
    key: int


def choose_tile(spec: AttentionSpec) -> Tile | None:
    """The first tile whose shared memory fits the card; None if none does."""
    return first_that_fits(_candidates(spec), spec, shared_memory)


def shared_memory(spec: AttentionSpec, tile: Tile) -> int:
    """An upper bound on the shared memory of one program, in bytes.

    Keys and values are held for each stage of the software pipeline; queries, and
    bias and mask on their way to the layout of the logits, once.
    """
    itemsize = 4 if spec.dtype == "float32" else 2
    channels = padded_channels(spec.num_channels)
    queries = tile.queries * channels * itemsize
    keys_and_values = 2 * tile.keys * channels * itemsize
    bias_itemsize = 4 if spec.bias_dtype == "float32" else 2
    bias = tile.queries * tile.keys * bias_itemsize if spec.bias else 0
    dense = tile.queries * tile.keys if spec.dense_mask else 0
    return queries + tile.num_stages * keys_and_values + bias + dense + 4096


def _candidates(spec: AttentionSpec) -> list[Tile]:
    """Tiles in order of preference: the largest that the compiler fits in registers.

    benchmarks/machine_code.py shows that none of them spills on any card.
    """
    channels = padded_channels(spec.num_channels)
    # Masks that differ from query to query are one more tile in registers.
    has_mask_tile = spec.dense_mask or spec.query_segments or spec.is_causal
    if spec.dtype == "float32":
        if channels > 64:
            return [Tile(16, 32, 4, 1)]
        if spec.products == "float32" or has_mask_tile or spec.num_queries <= 32:
            return [Tile(32, 32, 4, 2)]
        # Where products read their operands from shared memory, registers are left.
        has_wgmma = (9, 0) <= spec.device.capability < (12, 0)
        return [Tile(64, 64, 4, 2)] * has_wgmma + [Tile(64, 32, 4, 2)]
    if spec.num_queries <= 32:
        return [Tile(32, 64, 4, 3) if channels <= 32 else Tile(32, 32, 4, 2)]
    if has_mask_tile:
        return [Tile(64, 32, 4, 3) if channels <= 32 else Tile(64, 32, 8, 2)]
    if channels == 16:
        return [Tile(64, 64, 4, 3)]
    if channels <= 64:
        return [Tile(128, 64, 8, 3), Tile(128, 64, 8, 2)]
    return [Tile(64, 32, 4, 2)]


def unsupported(spec: AttentionSpec) -> str | None:
    """Why the kernel cannot run `spec`; None when it can."""
    refusal = why_no_triton(spec.device, spec.dtype)
    if refusal is not None:
        return refusal
    if spec.dtype not in DTYPES:
        return f"the kernel reads {', '.join(DTYPES)}; q is {spec.dtype}"
    if spec.num_channels > MAX_CHANNELS:
        return (
            f"the kernel holds at most {MAX_CHANNELS} channels a head;"
            f" this has {spec.num_channels}"
        )
    if len(batch_groups(spec)) > 2:
        return (
            "the bias and masks broadcast over more than two separate groups of"
            f" batch axes of {list(spec.batch)}"
        )
    if choose_tile(spec) is None:
        return too_little_shared_memory(spec.num_channels, spec.dtype, spec.device)
    return None


def batch_groups(spec: AttentionSpec) -> list[tuple[int, tuple[bool, ...]]]:
    """Batch axes merged where every operand broadcasts over all of them or none.

    Each group is its size and, for every operand of `spec.broadcasting`, whether it
    broadcasts there.
    """
    groups: list[tuple[int, tuple[bool, ...]]] = []
    for axis, size in enumerate(spec.batch):
        if size == 1:
            continue
        pattern = tuple(shape[axis] == 1 for shape in spec.broadcasting.values())
        if groups and groups[-1][1] == pattern:
            groups[-1] = (groups[-1][0] * size, pattern)
        else:
            groups.append((size, pattern))
    return groups


def plan_launch(spec: AttentionSpec, scale: float) -> Launch:
    """Grid, strides and compile-time constants of the kernel for `spec`."""
    tile = choose_tile(spec)
    if tile is None:
        raise ValueError(f"no tile fits {spec}")
    (_, _), (inner, _) = outer_and_inner(spec)
    num_batch = math.prod(spec.batch)
    group = batch_group(spec)
    num_query_blocks = math.ceil(spec.num_queries / tile.queries)
    programs = group * math.ceil(num_batch / group) * num_query_blocks * spec.num_heads
    bias, dense = strides(spec, "bias"), strides(spec, "dense_mask")
    one_bias = math.prod(spec.bias or ()) if spec.is_stacked else 0
    scalars = {
        "scale": float(scale),
        "num_queries": spec.num_queries,
        "num_keys": spec.num_keys,
        "num_batch": num_batch,
        "inner_batch": inner,
        "bias_strides": tuple(bias[:4]),
        "dense_strides": tuple(dense[:4]),
        "bias_size": one_bias,
    }
    for name in ("key_mask", "query_segments", "key_segments"):
        scalars[f"{name}_strides"] = tuple(strides(spec, name)[:2])
    # Two numbers for each row of the mask.
    key_mask = scalars["key_mask_strides"]
    scalars["key_ends_strides"] = tuple(2 * s // spec.num_keys for s in key_mask)
    parts = 4 if spec.is_packed else 1
    constants = {
        "NUM_HEADS": spec.num_heads,
        "NUM_KEY_HEADS": spec.num_key_heads,
        "NUM_CHANNELS": spec.num_channels,
        "PART": spec.num_heads * spec.num_channels if spec.is_packed else 0,
        "QUERY_ROW": parts * spec.num_heads * spec.num_channels,
        "KEY_ROW": parts * spec.num_key_heads * spec.num_channels,
        "HAS_GATE": spec.has_gate,
        "HAS_BIAS": spec.bias is not None,
        "IS_STACKED": spec.is_stacked,
        "HAS_DENSE_MASK": spec.dense_mask is not None,
        "HAS_KEY_MASK": spec.key_mask is not None,
        "HAS_SEGMENTS": spec.query_segments is not None,
        "IS_CAUSAL": spec.is_causal,
        "BIAS_KEY": bias.key,
        "DENSE_KEY": dense.key,
        "KEY_MULTIPLE": math.gcd(spec.num_keys, 16),
        "BIAS_MULTIPLE": math.gcd(*bias[:4], one_bias, 16),
        "DENSE_MULTIPLE": math.gcd(*dense[:4], 16),
        "BLOCK_QUERIES": tile.queries,
        "BLOCK_KEYS": tile.keys,
        "BLOCK_CHANNELS": padded_channels(spec.num_channels),
        "BATCH_GROUP": group,
        "PRECISION": PRECISION[spec.products],
    }
    return Launch((programs,), scalars, constants, tile.num_warps, tile.num_stages)


def outer_and_inner(
    spec: AttentionSpec,
) -> tuple[tuple[int, tuple[bool, ...]], tuple[int, tuple[bool, ...]]]:
    """The two groups of batch axes the kernel counts with."""
    groups = batch_groups(spec)
    alone = (1, (True,) * len(spec.broadcasting))
    outer, inner = [alone] * (2 - len(groups)) + groups
    return outer, inner


def strides(spec: AttentionSpec, name: str) -> Strides:
    """How the kernel steps through operand `name`; all 0 when it is absent."""
    if name not in spec.broadcasting:
        return Strides(0, 0, 0, 0, 0)
    index = list(spec.broadcasting).index(name)
    shape = spec.broadcasting[name]
    (_, outer_patterns), (inner_size, inner_patterns) = outer_and_inner(spec)
    is_outer, is_inner = not outer_patterns[index], not inner_patterns[index]
    entry = shape[len(spec.batch) :]
    size = math.prod(entry)
    heads, queries, keys = (1,) * (3 - len(entry)) + entry
    return Strides(
        outer=is_outer * size * (inner_size if is_inner else 1),
        inner=is_inner * size,
        head=(heads > 1) * queries * keys,
        query=(queries > 1) * keys,
        key=int(keys > 1),
    )


def batch_group(spec: AttentionSpec) -> int:
    """How many batch elements take turns at one block of queries.

    Where a bias is shared by the batch (triangle attention: by all rows), running
    several elements side by side reads each of its tiles from memory once for all of
    them; their keys and values must stay in the L2 cache meanwhile.
    """
    is_shared = spec.bias is not None and math.prod(spec.bias[: len(spec.batch)]) == 1
    if not is_shared:
        return 1
    itemsize = 4 if spec.dtype == "float32" else 2
    one = 2 * spec.num_keys * spec.num_channels * itemsize
    fitting = card_of(spec.device).l2_cache_mib * 2**20 // 4 // one
    return max(1, min(64, fitting, math.prod(spec.batch)))


def run(
    operands: Operands, *, scale: float, spec: AttentionSpec
) -> Float[Array, "*batch q h c"]:
    """softmax(scale · q kᵀ + bias) v in one pass over the keys, nothing materialised.

    Its derivative is that of the XLA backend, which recomputes the forward pass.
    """
    return _attend(operands, scale, spec)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _attend(operands: Operands, scale: float, spec: AttentionSpec) -> Array:
    return _batchable(scale, spec)(operands)


def _attend_forward(
    operands: Operands, scale: float, spec: AttentionSpec
) -> tuple[Array, Operands]:
    return _attend(operands, scale, spec), operands


def _attend_backward(
    scale: float, spec: AttentionSpec, operands: Operands, gradient: Array
) -> tuple[Operands]:
    reference = functools.partial(attention_xla.run, scale=scale, spec=spec)
    _, transpose = jax.vjp(reference, operands)
    return transpose(gradient)


_attend.defvjp(_attend_forward, _attend_backward)


def kernel_arrays(operands: Operands) -> dict[str, Array | None]:
    """The operands under the kernel's parameter names."""
    q, k, v, gate = operands[:4] if operands.packed is None else [operands.packed] * 4
    stack = operands.bias_stack
    return {
        "q_ptr": q,
        "k_ptr": k,
        "v_ptr": v,
        "gate_ptr": gate,
        "bias_ptr": operands.bias if stack is None else stack,
        "bias_index_ptr": operands.bias_index,
        "dense_mask_ptr": _as_bytes(operands.dense_mask),
        "key_mask_ptr": _as_bytes(operands.key_mask),
        "key_ends_ptr": _ends(operands.key_mask),
        "query_segments_ptr": operands.query_segments,
        "key_segments_ptr": operands.key_segments,
    }


def _as_bytes(mask: Array | None) -> Array | None:
    return None if mask is None else mask.astype(jnp.int8)


def _ends(
    key_mask: Bool[Array, "*batch k"] | None,
) -> Int32[Array, "*batch 2"] | None:
    """How many keys lie before the first hole, and how many up to the last key.

    Bucketed inputs end in padding: before the hole no mask is needed, beyond the last
    key nothing is worth reading.
    """
    if key_mask is None:
        return None
    num_keys = key_mask.shape[-1]
    index = jnp.arange(num_keys, dtype=jnp.int32)
    first_hole = jnp.min(jnp.where(key_mask, num_keys, index), axis=-1)
    end = jnp.max(jnp.where(key_mask, index + 1, 0), axis=-1)
    return jnp.stack([first_hole, end], axis=-1).astype(jnp.int32)


def _batchable(scale: float, spec: AttentionSpec) -> Callable[[Operands], Array]:
    """The kernel's call, to which `jax.vmap` adds one more batch axis."""

    @jax.custom_batching.custom_vmap
    def call(operands: Operands) -> Array:
        grown = spec_of(operands, spec.device)._replace(products=spec.products)
        return _call_kernel(operands, scale, grown)

    @call.def_vmap
    def batched_call(
        axis_size: int, is_batched: list[Operands], operands: Operands
    ) -> tuple[Array, bool]:
        def lead(name: str, x: Array | None, batched: Any) -> Array | None:
            if x is None or batched:
                return x
            size = axis_size if name in ("q", "k", "v", "gate", "packed") else 1
            return jnp.broadcast_to(x[None], (size, *x.shape))

        # The kernel does not count with items between the biases of a stack.
        operands, batched = unstacked(operands), unstacked(is_batched[0])
        named = zip(Operands._fields, operands, batched, strict=True)
        grown = Operands._make(lead(*one) for one in named)
        if len(batch_groups(spec_of(grown, spec.device))) <= 2:
            return call(grown), True
        # The kernel cannot count with the new axis: a bias of items' windows, shared by
        # the samples between.
        own = [x if y else None for x, y in zip(operands, batched, strict=True)]

        def one_item(own: list[Array | None]) -> Array:
            pairs = zip(own, operands, strict=True)
            return call(Operands._make(y if x is None else x for x, y in pairs))

        return jax.lax.map(one_item, own), True

    return call


def _call_kernel(operands: Operands, scale: float, spec: AttentionSpec) -> Array:
    # Imported here: a machine without Triton imports this module to be told so.
    from kernels.flash import flash_attention

    # An absent operand is never read: any pointer will do, but of what is in memory.
    present = operands.q if operands.packed is None else operands.packed
    arrays = {
        name: present if x is None else x for name, x in kernel_arrays(operands).items()
    }
    return call_triton(
        flash_attention,
        plan_launch(spec, scale),
        arrays,
        jax.ShapeDtypeStruct(operands.q.shape, operands.q.dtype),
        spec.device,
    )
