"""What attention reads, brought to one rank, and how any part of it is sliced.

Every backend receives the same `Operands`. Slicing a block of queries, of keys or of
one batch axis is then one function, and nothing that broadcasts is ever expanded.
"""

import dataclasses
from typing import NamedTuple, no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
@no_type_check  # as a JAX tree it also holds what is not an array
class Mask:
    """Which keys a query may attend; the parts given are combined by "and".

    Only `dense` may cost an array of queries × keys; the others are tested on the
    fly. Batch axes broadcast, aligned at the right.
    """

    keys: Bool[Array, "*#batch k"] | None = None
    """True = a real key, False = padding."""
    query_segments: Int[Array, "*#batch q"] | None = None
    """A query attends the keys of its own segment (a chain, a packed job) only."""
    key_segments: Int[Array, "*#batch k"] | None = None
    dense: Bool[Array, "*#batch #h #q #k"] | None = None
    """Any boolean array that broadcasts; True = attend."""
    causal: bool = dataclasses.field(default=False, metadata={"static": True})
    """Query i attends keys 0 … i (both counted from the first)."""


class StackedBias(NamedTuple):
    """One of several biases: `biases[number]`, read where it lies where that can be."""

    biases: Float[Array, "blocks *#batch #h #q #k"]
    number: Int[Array, ""]


class Operands(NamedTuple):
    """Arrays of one attention, all with the same number of batch axes in front."""

    q: Float[Array, "*batch q h c"]
    k: Float[Array, "*batch k hk c"]
    v: Float[Array, "*batch k hk c"]
    gate: Float[Array, "*batch q h c"] | None
    bias: Float[Array, "*#batch #h #q #k"] | None
    dense_mask: Bool[Array, "*#batch #h #q #k"] | None
    key_mask: Bool[Array, "*#batch k"] | None
    query_segments: Int[Array, "*#batch q"] | None
    key_segments: Int[Array, "*#batch k"] | None
    query_index: Int[Array, "*#batch q"] | None
    """Position of each query in the uncut sequence; present when causal."""
    key_index: Int[Array, "*#batch k"] | None
    packed: Float[Array, "*batch q 4 h c"] | None = None
    """q, k, v and gate as they lie side by side in memory, where they do. They are
    there by themselves as well: a backend reads one or the other."""
    bias_stack: Float[Array, "blocks *#batch #h #q #k"] | None = None
    """Biases of several attentions, of which this one's is `bias`, where they lie in
    one array. It is there by itself as well."""
    bias_index: Int[Array, "1"] | None = None
    """Which of them."""


class Axes(NamedTuple):
    """Where one dimension lies in each operand, counted from the end."""

    q: int | None = None
    k: int | None = None
    v: int | None = None
    gate: int | None = None
    bias: int | None = None
    dense_mask: int | None = None
    key_mask: int | None = None
    query_segments: int | None = None
    key_segments: int | None = None
    query_index: int | None = None
    key_index: int | None = None
    packed: int | None = None
    bias_stack: int | None = None
    bias_index: int | None = None


QUERY_AXES = Axes(
    q=-3, gate=-3, bias=-2, dense_mask=-2, query_segments=-1, query_index=-1
)
KEY_AXES = Axes(
    k=-3, v=-3, bias=-1, dense_mask=-1, key_mask=-1, key_segments=-1, key_index=-1
)


def batch_axes(axis: int, num_batch_axes: int) -> Axes:
    """Where batch axis `axis` (0 = outermost) lies in each operand."""
    per_position = axis - num_batch_axes - 1
    return Axes(*[per_position] * 11)._replace(
        q=per_position - 2,
        k=per_position - 2,
        v=per_position - 2,
        gate=per_position - 2,
        bias=per_position - 2,
        dense_mask=per_position - 2,
    )


def take_block(
    operands: Operands, axes: Axes, start: Int[Array, ""] | int, size: int
) -> Operands:
    """Cuts `size` entries from `start` along one dimension; broadcast axes stay."""

    def cut(x: Array | None, axis: int | None) -> Array | None:
        if x is None or axis is None or x.shape[axis] == 1:
            return x
        return jax.lax.dynamic_slice_in_dim(x, start, size, axis=axis)

    # A block is no longer part of one array with others.
    return unstacked(Operands._make(map(cut, operands, axes)))._replace(packed=None)


def unstacked(operands: Operands) -> Operands:
    """The same operands, their bias by itself."""
    return operands._replace(bias_stack=None, bias_index=None)


def allowed(operands: Operands) -> Bool[Array, "*#batch #h #q #k"] | None:
    """Which query may attend which key, broadcastable; None when all may."""
    parts = []
    if operands.dense_mask is not None:
        parts.append(operands.dense_mask)
    if operands.key_mask is not None:
        parts.append(operands.key_mask[..., None, None, :])
    if operands.query_segments is not None and operands.key_segments is not None:
        same = (
            operands.query_segments[..., :, None]
            == (operands.key_segments[..., None, :])
        )
        parts.append(same[..., None, :, :])
    if operands.query_index is not None and operands.key_index is not None:
        past = operands.key_index[..., None, :] <= operands.query_index[..., :, None]
        parts.append(past[..., None, :, :])
    if not parts:
        return None
    combined = parts[0]
    for part in parts[1:]:
        combined = combined & part
    return combined


def drop_unattended(
    v: Float[Array, "*batch k hk c"],
    may_attend: Bool[Array, "*#batch #h #q #k"] | None,
) -> Float[Array, "*batch k hk c"]:
    """Zeroes the values no query attends: 0 × NaN would be NaN in the product."""
    if may_attend is None:
        return v
    attended = may_attend.any(axis=(-3, -2))[..., :, None, None]
    return jnp.where(attended, v, jnp.zeros((), v.dtype))


def gather_operands(
    q: Array,
    k: Array,
    v: Array,
    *,
    bias: Array | StackedBias | None,
    mask: Array | Mask | None,
    gate: Array | None,
) -> Operands:
    """Checks every shape and dtype against q, and gives all the same rank.

    Raises ValueError naming the argument, its shape and the shape it must have.
    """
    _check_products(q, k, v, gate)
    structured = mask if isinstance(mask, Mask) else Mask(dense=mask)
    has_query_segments = structured.query_segments is not None
    if has_query_segments != (structured.key_segments is not None):
        raise ValueError("query_segments and key_segments must be given together")
    batch, (num_queries, num_heads) = q.shape[:-3], q.shape[-3:-1]
    num_keys = k.shape[-3]
    full = (*batch, num_heads, num_queries, num_keys)
    query_index = key_index = None
    if structured.causal:
        ones = (1,) * len(batch)
        query_index = jnp.arange(num_queries).reshape(*ones, num_queries)
        key_index = jnp.arange(num_keys).reshape(*ones, num_keys)
    per_query, per_key = (*batch, num_queries), (*batch, num_keys)
    bias_stack = bias_index = None
    if isinstance(bias, StackedBias):
        biases, number = bias
        one = jax.lax.dynamic_index_in_dim(biases, number, keepdims=False)
        bias_index = jnp.reshape(number, 1).astype(jnp.int32)
        own_bias = _same_rank("bias", one, full)
        ones = (1,) * (len(full) - one.ndim)
        bias_stack = biases.reshape(len(biases), *ones, *one.shape)
    else:
        own_bias = _same_rank("bias", bias, full)
    key_mask = _vector("mask.keys", structured.keys, per_key)
    dense_mask = _same_rank("mask", structured.dense, full)
    if dense_mask is not None and dense_mask.shape[-3:-1] == (1, 1):
        # A mask without heads and queries is key padding, however it was written.
        padding = _vector("mask", dense_mask[..., 0, 0, :], per_key)
        if padding is not None:
            key_mask = padding if key_mask is None else key_mask & padding
        dense_mask = None
    return Operands(
        q=q,
        k=k,
        v=v,
        gate=gate,
        bias=own_bias,
        dense_mask=dense_mask,
        key_mask=key_mask,
        query_segments=_vector(
            "mask.query_segments", structured.query_segments, per_query
        ),
        key_segments=_vector("mask.key_segments", structured.key_segments, per_key),
        query_index=query_index,
        key_index=key_index,
        bias_stack=bias_stack,
        bias_index=bias_index,
    )


def _check_products(q: Array, k: Array, v: Array, gate: Array | None) -> None:
    if q.ndim < 3:
        raise ValueError(f"q must have shape [*batch q h c], got {list(q.shape)}")
    *batch, _, num_heads, num_channels = q.shape
    if k.ndim != q.ndim or list(k.shape[:-3]) != batch or k.shape[-1] != num_channels:
        raise ValueError(
            f"k must have shape [*batch k hk c] with batch {batch} and"
            f" c={num_channels} as in q, got {list(k.shape)}"
        )
    if num_heads % k.shape[-2]:
        raise ValueError(
            f"the number of key heads must divide the {num_heads} query heads,"
            f" got {k.shape[-2]}"
        )
    if v.shape != k.shape:
        raise ValueError(
            f"v must have the shape of k, {list(k.shape)}, got {list(v.shape)}"
        )
    if gate is not None and gate.shape != q.shape:
        raise ValueError(
            f"gate must have the shape of q, {list(q.shape)}, got {list(gate.shape)}"
        )
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(
            "q, k and v must have one dtype,"
            f" got {q.dtype.name}, {k.dtype.name} and {v.dtype.name}"
        )


def _same_rank(name: str, x: Array | None, full: tuple[int, ...]) -> Array | None:
    """Pads `x` with leading axes of 1 to the rank of `full`, which it broadcasts to."""
    if x is None:
        return None
    padded = (1,) * (len(full) - x.ndim) + x.shape
    is_fitting = len(padded) == len(full) and all(
        size in (1, wanted) for size, wanted in zip(padded, full, strict=True)
    )
    if not is_fitting:
        raise ValueError(
            f"{name} must broadcast to {list(full)}, got shape {list(x.shape)}"
        )
    return x.reshape(padded)


def _vector(name: str, x: Array | None, full: tuple[int, ...]) -> Array | None:
    """Like `_same_rank`, with the last axis written out: it costs one vector."""
    x = _same_rank(name, x, full)
    return None if x is None else jnp.broadcast_to(x, (*x.shape[:-1], full[-1]))
