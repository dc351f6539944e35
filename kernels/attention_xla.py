"""Attention in plain JAX, cut into blocks small enough to stay in fast memory.

Blocks are cut along batch axes first, then queries, then keys; only the last needs
the online softmax. A problem that fits one block is computed in one piece, so small
attentions inside scans stay cheap to compile and to run.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.operands import (
    KEY_AXES,
    QUERY_AXES,
    Axes,
    Operands,
    allowed,
    batch_axes,
    drop_unattended,
    take_block,
)
from kernels.spec import AttentionSpec

# Bytes of float32 logits alive at once. CPU: what a core's L2 cache holds, measured
# in benchmarks/bench_attention.py. Accelerators: enough to fill the device.
LOGIT_BYTES = {"cpu": 2 * 2**20}
ACCELERATOR_LOGIT_BYTES = 256 * 2**20


class Blocks(NamedTuple):
    """Block sizes along each batch axis, the queries and the keys."""

    batch: tuple[int, ...]
    queries: int
    keys: int


def plan_blocks(spec: AttentionSpec) -> Blocks:
    """The largest blocks whose logits fit the device's budget."""
    budget = LOGIT_BYTES.get(spec.device.platform, ACCELERATOR_LOGIT_BYTES)
    sizes = [*spec.batch, spec.num_queries, spec.num_keys]
    blocks = list(sizes)
    for axis, size in enumerate(sizes):
        others = math.prod(blocks[:axis]) * math.prod(blocks[axis + 1 :])
        fitting = budget // max(1, 4 * spec.num_heads * others)
        # Queries and keys are not cut below 128: the products would starve.
        smallest = 1 if axis < len(spec.batch) else 128
        block = min(size, max(smallest, fitting))
        blocks[axis] = math.ceil(size / math.ceil(size / block)) if size else 0
    return Blocks(tuple(blocks[:-2]), blocks[-2], blocks[-1])


def unsupported(spec: AttentionSpec) -> str | None:
    """Never refuses."""
    return None


def run(
    operands: Operands, *, scale: float, spec: AttentionSpec
) -> Float[Array, "*batch q h c"]:
    """softmax(scale · q kᵀ + bias) v, with memory linear in the number of keys.

    Products take the dtype of q, k and v and accumulate in float32; the softmax is
    float32. A query that may attend no key gets zeros.
    """
    blocks, precision = plan_blocks(spec), precision_of(spec)
    num_batch_axes = len(spec.batch)

    def attend_block(block: Operands) -> Array:
        if blocks.keys < spec.num_keys:
            return _attend_online(block, scale, blocks.keys, precision)
        return _attend(block, scale, precision)

    attend: Callable[[Operands], Array] = attend_block
    if blocks.queries < spec.num_queries:
        attend = _in_blocks(attend, QUERY_AXES, blocks.queries)
    for axis in reversed(range(num_batch_axes)):
        if blocks.batch[axis] < spec.batch[axis]:
            axes = batch_axes(axis, num_batch_axes)
            attend = _in_blocks(attend, axes, blocks.batch[axis])
    return attend(operands)


def _in_blocks(
    function: Callable[[Operands], Array], axes: Axes, size: int
) -> Callable[[Operands], Array]:
    """Runs `function` on one block after another along a dimension of q.

    The last block is shifted back to end with the dimension, so that no length needs
    padding; what it computes twice is the same both times.
    """
    # Recomputing a block in the backward pass keeps the memory of training linear.
    function = jax.checkpoint(function)

    def blocked(operands: Operands) -> Array:
        axis, q = axes.q or 0, operands.q
        length = q.shape[axis]

        def step(i: Array, output: Array) -> Array:
            start = jnp.minimum(i * size, length - size)
            block = function(take_block(operands, axes, start, size))
            return jax.lax.dynamic_update_slice_in_dim(output, block, start, axis)

        return jax.lax.fori_loop(0, math.ceil(length / size), step, jnp.zeros_like(q))

    return blocked


def _logits(
    operands: Operands, scale: float, precision: jax.lax.Precision
) -> tuple[Float[Array, "*batch hk g q k"], Float[Array, "*batch k hk c"]]:
    """Biased, masked float32 logits (−inf = not attended), and the values to read."""
    q, k, v = operands[:3]
    num_key_heads = k.shape[-2]
    grouped = q.reshape(*q.shape[:-2], num_key_heads, -1, q.shape[-1])
    logits = scale * jnp.einsum(
        "...qngc,...knc->...ngqk",
        grouped,
        k,
        precision=precision,
        preferred_element_type=jnp.float32,
    )
    may_attend = allowed(operands)
    if operands.bias is not None:
        bias = _group_heads(operands.bias, num_key_heads)
        logits = logits + bias.astype(jnp.float32)
    if may_attend is not None:
        grouped_mask = _group_heads(may_attend, num_key_heads)
        logits = jnp.where(grouped_mask, logits, -jnp.inf)
    return logits, drop_unattended(v, may_attend)


def _weigh(
    weights: Float[Array, "*batch hk g q k"],
    v: Float[Array, "*batch k hk c"],
    precision: jax.lax.Precision,
) -> Float[Array, "*batch q hk g c"]:
    return jnp.einsum(
        "...ngqk,...knc->...qngc",
        weights.astype(v.dtype),
        v,
        precision=precision,
        preferred_element_type=jnp.float32,
    )


def _attend(
    operands: Operands, scale: float, precision: jax.lax.Precision
) -> Float[Array, "*batch q h c"]:
    """One block that holds every key."""
    logits, v = _logits(operands, scale, precision)
    # Softmax does not depend on what is subtracted: no gradient flows there.
    maximum = _finite(jnp.max(jax.lax.stop_gradient(logits), axis=-1, keepdims=True))
    weights = jnp.exp(logits - maximum)
    total = jnp.sum(weights, axis=-1)
    return _finish(_weigh(weights, v, precision), total, operands)


def _attend_online(
    operands: Operands, scale: float, size: int, precision: jax.lax.Precision
) -> Float[Array, "*batch q h c"]:
    """One block of queries against one block of keys after another.

    Milakov and Gimelshein 2018, "Online normalizer calculation for softmax",
    arXiv:1805.02867, Algorithm 3; its use for attention is Rabe and Staats 2021,
    arXiv:2112.05682.
    """
    q, num_keys, num_key_heads = operands.q, operands.k.shape[-3], operands.k.shape[-2]
    state = (*q.shape[:-3], num_key_heads, q.shape[-2] // num_key_heads, q.shape[-3])
    maximum = jnp.full(state, -jnp.inf, jnp.float32)
    total = jnp.zeros(state, jnp.float32)
    output = jnp.zeros((*q.shape[:-2], *state[-3:-1], q.shape[-1]), jnp.float32)

    @jax.checkpoint
    def step(i: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        maximum, total, output = carry
        start = jnp.minimum(i * size, num_keys - size)
        some = take_block(operands, KEY_AXES, start, size)
        logits, v = _logits(some, scale, precision)
        # The last block is shifted back; keys already counted must not count again.
        is_new = (
            jnp.arange(size).reshape((1,) * len(state) + (size,)) >= i * size - start
        )
        logits = jnp.where(is_new, logits, -jnp.inf)
        highest = jnp.max(jax.lax.stop_gradient(logits), axis=-1)
        new_maximum = jnp.maximum(maximum, highest)
        weights = jnp.exp(logits - _finite(new_maximum)[..., None])
        decay = jnp.exp(maximum - _finite(new_maximum))
        total = total * decay + jnp.sum(weights, axis=-1)
        output = output * _queries_first(decay) + _weigh(weights, v, precision)
        return new_maximum, total, output

    num_blocks = math.ceil(num_keys / size)
    _, total, output = jax.lax.fori_loop(0, num_blocks, step, (maximum, total, output))
    return _finish(output, total, operands)


def _finish(
    output: Float[Array, "*batch q hk g c"],
    total: Float[Array, "*batch hk g q"],
    operands: Operands,
) -> Float[Array, "*batch q h c"]:
    """Divides by the softmax's denominator, gates, and casts once."""
    output = output / _queries_first(jnp.where(total == 0.0, 1.0, total))
    output = output.reshape(operands.q.shape)
    if operands.gate is not None:
        output = output * jax.nn.sigmoid(operands.gate.astype(jnp.float32))
    return output.astype(operands.q.dtype)


def _finite(maximum: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """−inf (nothing attended so far) would turn −inf − −inf into NaN."""
    return jnp.where(maximum == -jnp.inf, 0.0, maximum)


def _queries_first(x: Float[Array, "*batch hk g q"]) -> Float[Array, "*batch q hk g 1"]:
    return jnp.moveaxis(x, -1, -3)[..., None]


def _group_heads(
    x: Array, num_key_heads: int
) -> Array:  # [*batch #h q k] → [*batch #hk #g q k]
    groups = (1, 1) if x.shape[-3] == 1 else (num_key_heads, -1)
    return x.reshape(*x.shape[:-3], *groups, *x.shape[-2:])


def precision_of(spec: AttentionSpec) -> jax.lax.Precision:
    """float32 means float32 unless JAX's default on a GPU, TF32, is what is asked."""
    exact = spec.dtype == "float32" and spec.products == "float32"
    return jax.lax.Precision.HIGHEST if exact else jax.lax.Precision.DEFAULT
