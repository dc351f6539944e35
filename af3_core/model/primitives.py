"""Layers that every algorithm is made of, and moves between layouts."""

from collections.abc import Callable
from typing import Any, Literal

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from af3_core.model.batch import Gather
from kernels import Norm, Order, gated_transition, project

Initialiser = Literal["linear", "relu", "zeros"]

# The standard deviation of a unit normal truncated at two standard deviations.
_TRUNCATED_DEVIATION = 0.87962566103423978


def _weight_initialiser(kind: Initialiser, fan_in: int) -> hk.initializers.Initializer:
    if kind == "zeros":
        return hk.initializers.Constant(0.0)
    gain = 2.0 if kind == "relu" else 1.0
    deviation = (gain / max(fan_in, 1)) ** 0.5 / _TRUNCATED_DEVIATION
    return hk.initializers.TruncatedNormal(stddev=deviation)


class Linear(hk.Module):
    """Linear map of the last axis, onto one or several new axes.

    The parameters are used in the dtype of the input.
    """

    def __init__(
        self,
        output: int | tuple[int, ...],
        *,
        name: str,
        use_bias: bool = False,
        bias_init: float = 0.0,
        init: Initialiser = "linear",
        output_first: bool = False,
        precision: jax.lax.Precision | None = None,
    ) -> None:
        super().__init__(name=name)
        self.output = (output,) if isinstance(output, int) else output
        self.use_bias, self.bias_init = use_bias, bias_init
        self.init: Initialiser = init
        self.output_first, self.precision = output_first, precision

    def weights(self, fan_in: int, dtype: jnp.dtype) -> Float[Array, "..."]:
        """The parameter alone, for an operation that fuses the product with others."""
        first, last = (
            (self.output, (fan_in,)) if self.output_first else ((fan_in,), self.output)
        )
        init = _weight_initialiser(self.init, fan_in)
        return hk.get_parameter("weights", first + last, dtype, init).astype(dtype)

    def bias(self, dtype: jnp.dtype) -> Float[Array, "..."]:
        """What is added to the product."""
        init = hk.initializers.Constant(self.bias_init)
        return hk.get_parameter("bias", self.output, dtype, init).astype(dtype)

    def __call__(self, x: Float[Array, "*batch c"]) -> Float[Array, "..."]:
        weights = self.weights(x.shape[-1], x.dtype)
        axis = weights.ndim - 1 if self.output_first else 0
        y = jnp.tensordot(x, weights, axes=(-1, axis), precision=self.precision)
        if not self.use_bias:
            return y
        return y + self.bias(x.dtype).reshape((1,) * (x.ndim - 1) + self.output)


def head_projection(
    heads: tuple[int, int], *, output_first: bool = False, query_bias: bool = False
) -> Callable[..., Array]:  # [*batch n c] → [*batch n 4 h ch]
    """Query, key, value and gate of an attention, side by side, by one product.

    Each has its own parameters: "q", "k", "v" and "gate". With `output_first` those of
    all but the value have the input's axis last. Given a norm, edges are projected by
    `kernels.project`, in the order named.
    """
    size = heads[0] * heads[1]
    linears = (
        Linear(heads, name="q", output_first=output_first, use_bias=query_bias),
        Linear(heads, name="k", output_first=output_first),
        Linear(heads, name="v"),
        Linear(size, name="gate", output_first=output_first, init="zeros"),
    )

    def matrix(linear: Linear, x: Array) -> Float[Array, "c o"]:
        weights = linear.weights(x.shape[-1], x.dtype)
        return (
            weights.reshape(size, -1).T
            if linear.output_first
            else (weights.reshape(-1, size))
        )

    def project_heads(
        x: Float[Array, "*batch c"], norm: Norm | None = None, order: Order = "rows"
    ) -> Float[Array, "*ordered 4 h ch"]:
        weights = jnp.concatenate([matrix(y, x) for y in linears], axis=1)
        if norm is None:
            projected = x @ weights
        else:
            projected = project(x, weights, norm=norm, order=order)
        if query_bias:
            # As a vector, the product adds it on the way: no pass of its own.
            bias = linears[0].bias(x.dtype).reshape(size)
            bias = jnp.concatenate([bias, jnp.zeros(3 * size, x.dtype)])
            projected = projected + bias.reshape((1,) * (x.ndim - 1) + bias.shape)
        return projected.reshape(*projected.shape[:-1], 4, *heads)

    return project_heads


class ScalarEmbedding(hk.Module):
    """A number times a learnt vector: a linear map without an input axis."""

    def __init__(self, num_channels: int, *, name: str) -> None:
        super().__init__(name=name)
        self.num_channels = num_channels

    def __call__(self, x: Float[Array, "*batch"]) -> Float[Array, "*batch c"]:
        weights = hk.get_parameter(
            "weights", (self.num_channels,), x.dtype, _weight_initialiser("relu", 1)
        ).astype(x.dtype)
        return x[..., None] * weights.reshape((1,) * x.ndim + (-1,))


class LayerNorm(hk.Module):
    """Layer normalisation of the last axis, in float32 whatever the input's dtype."""

    def __init__(
        self, *, name: str, use_scale: bool = True, use_offset: bool = True
    ) -> None:
        super().__init__(name=name)
        self.use_scale, self.use_offset = use_scale, use_offset

    def parameters(self, num_channels: int) -> dict[str, Float[Array, "c"]]:
        """Those there are of "scale" and "offset", float32."""
        shape, parameters = (num_channels,), {}
        if self.use_scale:
            parameters["scale"] = hk.get_parameter(
                "scale", shape, jnp.float32, jnp.ones
            )
        if self.use_offset:
            parameters["offset"] = hk.get_parameter(
                "offset", shape, jnp.float32, jnp.zeros
            )
        return parameters

    def fused(self, num_channels: int) -> Norm:
        """For an operation that does more than the norm. Needs scale and offset."""
        return Norm(**self.parameters(num_channels))

    def __call__(self, x: Float[Array, "*batch c"]) -> Float[Array, "*batch c"]:
        # float32: a mean over hundreds of bfloat16 channels loses its last bits.
        y = x.astype(jnp.float32)
        # As published: both means in one pass over memory.
        mean = jnp.mean(y, axis=-1, keepdims=True)
        square = jnp.mean(jnp.square(y), axis=-1, keepdims=True)
        variance = jnp.maximum(square - jnp.square(mean), 0.0)
        y = (y - mean) * jax.lax.rsqrt(variance + 1e-5)
        broadcast = (1,) * (x.ndim - 1) + x.shape[-1:]
        parameters = self.parameters(x.shape[-1])
        if self.use_scale:
            y = y * parameters["scale"].reshape(broadcast)
        if self.use_offset:
            y = y + parameters["offset"].reshape(broadcast)
        return y.astype(x.dtype)


class Transition(hk.Module):
    """SwiGLU transition of a residual stream, added to it. SI Algorithm 11."""

    def __init__(self, factor: int, *, name: str) -> None:
        super().__init__(name=name)
        self.factor = factor

    def __call__(self, x: Float[Array, "*batch c"]) -> Float[Array, "*batch c"]:
        """x with the update added."""
        num_channels = x.shape[-1]
        num_hidden = self.factor * num_channels
        expand = Linear(2 * num_hidden, name="expand", init="relu")
        contract = Linear(num_channels, name="contract", init="zeros")
        return gated_transition(
            x,
            expand.weights(num_channels, x.dtype),
            contract.weights(num_hidden, x.dtype),
            norm=LayerNorm(name="norm").fused(num_channels),
        )


def gather(
    layout: Gather, x: Array, *, axis: int = 0, num_axes: int = 1
) -> Array:  # [..., *source, ...] → [..., *target, ...]
    """Moves `x` to another layout; zeros where the target has no source.

    `num_axes` axes of x, from `axis`, are the source layout.
    """
    before, after = x.shape[:axis], x.shape[axis + num_axes :]
    flat = x.reshape(*before, -1, *after)
    taken = jnp.take(flat, layout.index, axis=axis, mode="clip")
    mask = layout.mask.reshape((1,) * axis + layout.mask.shape + (1,) * len(after))
    return jnp.where(mask, taken, jnp.zeros((), x.dtype))


def mean_where(
    mask: Bool[Array, "..."],
    x: Float[Array, "..."],
    axis: int | tuple[int, ...],
    epsilon: float = 1e-10,
) -> Float[Array, "..."]:
    """The mean over the entries where `mask`, of x's rank, is true; 0 for none."""
    axes = (axis,) if isinstance(axis, int) else axis
    repeats = 1
    for a in axes:
        if mask.shape[a] == 1:
            repeats *= x.shape[a]
    weights = mask.astype(x.dtype)
    count = repeats * jnp.sum(weights, axis=axis, keepdims=True)
    total = jnp.sum(weights * x, axis=axis, keepdims=True)
    return jnp.squeeze(total / jnp.maximum(count, epsilon), axis)


@jax.custom_batching.custom_vmap
def in_any_item(condition: Bool[Array, ""]) -> Bool[Array, ""]:
    """`condition`; where items are computed together, whether it holds for any.

    So that a branch that none of them takes is not computed.
    """
    return condition


@in_any_item.def_vmap
def _in_any_item(
    axis_size: int, in_batched: list[bool], condition: Array
) -> tuple[Array, bool]:
    del axis_size
    if in_batched[0]:
        condition = jnp.any(condition, axis=0)
    return in_any_item(condition), False


def map_rows(
    function: Callable[..., Any],
    chunk: int,
    *arrays: Any,
    out_axis: int | tuple[int, ...] = 0,
) -> Any:
    """`function(*arrays)`, computed for `chunk` entries of the first axis at a time.

    Arguments and result are arrays, or trees of them, that share their first axis. The
    rows of the result are its axis `out_axis`, one for each where it is a tuple. The
    last chunk is shifted back to end with the arrays, so that no length needs padding;
    what is computed twice is the same both times.
    """
    num_rows = jax.tree.leaves(arrays)[0].shape[0]
    if num_rows <= chunk or hk.running_init():
        return function(*arrays)

    def compute(start: Array | int) -> Any:
        return function(*_take(arrays, start, chunk, 0))

    def step(i: Array, outputs: Any) -> Any:
        start = jnp.minimum(i * chunk, num_rows - chunk)
        return _put(outputs, compute(start), start, out_axis)

    def whole(x: jax.ShapeDtypeStruct, axis: int) -> Array:
        return jnp.zeros((*x.shape[:axis], num_rows, *x.shape[axis + 1 :]), x.dtype)

    shapes = hk.eval_shape(compute, 0)
    if isinstance(out_axis, tuple):
        outputs = tuple(map(whole, shapes, out_axis))
    else:
        outputs = jax.tree.map(lambda x: whole(x, out_axis), shapes)
    return hk.fori_loop(0, -(-num_rows // chunk), step, outputs)


def update_rows(
    function: Callable[..., Array],
    chunk: int,
    x: Array,
    *arrays: Any,
    axis: int = 0,
    used: Int[Array, ""] | None = None,
) -> Array:
    """`function(x, *arrays)` for `chunk` entries of an axis at a time, in place of `x`.

    The result has the shape of `x`, whose memory it takes: beside it, one chunk is
    alive. Rows do not see one another, whatever else `function` has read of `x` it
    has read before. Chunks that begin at row `used` or beyond may stay as they are.
    """
    num_rows = x.shape[axis]
    num_chunks = -(-num_rows // chunk)
    if num_chunks == 1 or hk.running_init():
        return function(x, *arrays)
    chunk = -(-num_rows // num_chunks)

    def step(i: Array, x: Array) -> Array:
        start = jnp.minimum(i * chunk, num_rows - chunk)
        rows, *others = _take((x, *arrays), start, chunk, axis)
        if used is None:
            updated = function(rows, *others)
        else:
            is_used = in_any_item(i * chunk < used)
            updated = hk.cond(is_used, function, lambda rows, *_: rows, rows, *others)
        if num_rows % chunk:
            # The last chunk is shifted back: rows already updated stay as they are.
            is_new = start + jnp.arange(chunk) >= i * chunk
            is_new = is_new.reshape((chunk,) + (1,) * (x.ndim - axis - 1))
            updated = jnp.where(is_new, updated, rows)
        return _put(x, updated, start, axis)

    return hk.fori_loop(0, num_chunks, step, x)


def _take(arrays: Any, start: Array | int, size: int, axis: int) -> Any:
    return jax.tree.map(
        lambda x: jax.lax.dynamic_slice_in_dim(x, start, size, axis), arrays
    )


def _put(arrays: Any, rows: Any, start: Array, axis: int | tuple[int, ...]) -> Any:
    if isinstance(axis, tuple):
        return tuple(map(lambda x, y, a: _put(x, y, start, a), arrays, rows, axis))
    return jax.tree.map(
        lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y, start, axis),
        arrays,
        rows,
    )
