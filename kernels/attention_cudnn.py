"""Attention by cuDNN's fused kernel, through JAX.

cuDNN knows an additive bias, and neither key padding with holes nor segments. A
boolean mask therefore goes into the bias where that makes no array larger than one
the caller already has; key padding otherwise rides on eight more channels.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from kernels.devices import why_no_dtype
from kernels.operands import (
    Operands,
    allowed,
    batch_axes,
    drop_unattended,
    take_block,
)
from kernels.spec import AttentionSpec, Shape, spec_of

OLDEST_CAPABILITY = (8, 0)
DTYPES = ("bfloat16", "float16")
# What `jax.nn.dot_product_attention` is asked for.
IMPLEMENTATION = "cudnn"
# cuDNN reads rows of 16 bytes.
CHANNEL_MULTIPLE = 8
# Half of what float16 holds: added to a logit it must not overflow.
MASKED = {"bfloat16": -1e30, "float16": -3e4}


def unsupported(spec: AttentionSpec) -> str | None:
    """Why cuDNN cannot run `spec`; None when it can."""
    device = spec.device
    if device.platform != "cuda":
        return f"cuDNN runs on NVIDIA GPUs, not on {device.platform}"
    refusal = why_no_dtype(device, spec.dtype)
    if refusal is not None:
        return refusal
    if device.capability < OLDEST_CAPABILITY:
        return (
            "cuDNN's flash attention needs compute capability 8.0 or newer;"
            f" this card has {device.capability_name}"
        )
    if spec.dtype not in DTYPES:
        return (
            f"cuDNN's flash attention reads {' and '.join(DTYPES)}; q is {spec.dtype}"
        )
    most = 256 if device.capability >= (9, 0) else 128
    if spec.num_channels % CHANNEL_MULTIPLE or spec.num_channels > most:
        return (
            f"cuDNN takes heads of a multiple of {CHANNEL_MULTIPLE} channels up to"
            f" {most}; this has {spec.num_channels}"
        )
    if rides_on_channels(spec) and spec.num_channels + CHANNEL_MULTIPLE > most:
        return (
            f"key padding needs {CHANNEL_MULTIPLE} channels beside the"
            f" {spec.num_channels} of a head, and cuDNN takes {most}"
        )
    array = _bias_shape(spec)
    if array is not None and math.prod(array) > _largest_given(spec):
        return (
            "cuDNN takes bias, mask and segments as one array of queries × keys; here"
            f" it would be {list(array)}, larger than any the caller has made"
        )
    return None


def run(
    operands: Operands, *, scale: float, spec: AttentionSpec
) -> Float[Array, "*batch q h c"]:
    """softmax(scale · q kᵀ + bias) v by `jax.nn.dot_product_attention`.

    The bias is rounded to q's dtype. A query that may attend no key gets zeros.
    """
    output = _attend(operands, scale, spec)
    may_attend = allowed(operands)
    if may_attend is not None:
        has_key = jnp.moveaxis(may_attend.any(axis=-1), -1, -2)[..., None]
        output = jnp.where(has_key, output, jnp.zeros((), output.dtype))
    if operands.gate is not None:
        gate = jax.nn.sigmoid(operands.gate.astype(jnp.float32))
        output = (output.astype(jnp.float32) * gate).astype(output.dtype)
    return output


def _attend(operands: Operands, scale: float, spec: AttentionSpec) -> Array:
    """One call of cuDNN, or one for each index of a batch axis the bias splits on."""
    split = _split_axis(spec)
    if split is None:
        return _call(operands, scale, spec)
    axes = batch_axes(split, len(spec.batch))

    def attend_one(index: Array) -> Array:
        one = take_block(operands, axes, index, 1)
        return _attend(one, scale, spec_of(one, spec.device))

    stacked = jax.lax.map(attend_one, jnp.arange(spec.batch[split]))
    return jnp.moveaxis(stacked, 0, split).reshape(operands.q.shape)


def _call(operands: Operands, scale: float, spec: AttentionSpec) -> Array:
    q, k, v = operands[:3]
    may_attend = allowed(operands._replace(query_index=None, key_index=None))
    v = drop_unattended(v, may_attend)
    bias = None
    array = _bias_shape(spec)
    if array is not None:
        in_bias = operands._replace(query_index=None, key_index=None)
        if rides_on_channels(spec):
            in_bias = in_bias._replace(key_mask=None)
        bias = _additive_bias(in_bias, array)
        bias = bias.reshape(-1, *array[-3:])
    if operands.key_mask is not None and rides_on_channels(spec):
        q, k, v = _with_mask_channels(q, k, v, operands.key_mask)
    output = jax.nn.dot_product_attention(
        *(x.reshape(-1, *x.shape[-3:]) for x in (q, k, v)),
        bias=bias,
        scale=scale,
        is_causal=spec.is_causal,
        implementation=IMPLEMENTATION,
    )
    return output[..., : spec.num_channels].reshape(operands.q.shape)


def _additive_bias(operands: Operands, shape: Shape) -> Array:
    dtype = operands.q.dtype
    bias = jnp.zeros((1,) * len(shape), dtype)
    if operands.bias is not None:
        bias = operands.bias.astype(dtype)
    may_attend = allowed(operands)
    if may_attend is not None:
        bias = jnp.where(may_attend, bias, jnp.asarray(MASKED[dtype.name], dtype))
    return jnp.broadcast_to(bias, shape)


def _with_mask_channels(
    q: Array, k: Array, v: Array, key_mask: Bool[Array, "*#batch k"]
) -> tuple[Array, Array, Array]:
    """One channel is 1 in every query and very negative in every masked key.

    The product then adds that number to the logits: key padding at the price of
    CHANNEL_MULTIPLE channels, instead of an array of queries × keys.
    """
    dtype = q.dtype
    is_real = key_mask[..., :, None, None]
    k = jnp.where(is_real, k, jnp.zeros((), dtype))
    penalty = jnp.where(is_real, 0.0, MASKED[dtype.name]).astype(dtype)
    ones = jnp.ones((*q.shape[:-1], 1), dtype)
    penalties = jnp.broadcast_to(penalty, (*k.shape[:-1], 1))

    def widen(x: Array, extra: Array | None) -> Array:
        parts = [x] if extra is None else [x, extra]
        missing = x.shape[-1] + CHANNEL_MULTIPLE - sum(p.shape[-1] for p in parts)
        return jnp.concatenate(
            [*parts, jnp.zeros((*x.shape[:-1], missing), dtype)], axis=-1
        )

    return widen(q, ones), widen(k, penalties), widen(v, None)


def _bias_shape(spec: AttentionSpec) -> Shape | None:
    """Shape of the array of queries × keys cuDNN must be given; None if none."""
    shapes = _array_shapes(spec)
    if not shapes:
        return None
    if spec.key_mask is not None and not rides_on_channels(spec):
        shapes.append(_per_key(spec.key_mask))
    shape = np.broadcast_shapes(*shapes)
    return (*shape[:-2], spec.num_queries, spec.num_keys)


def _array_shapes(spec: AttentionSpec) -> list[Shape]:
    shapes = [shape for shape in (spec.bias, spec.dense_mask) if shape is not None]
    if spec.query_segments is not None and spec.key_segments is not None:
        segments = np.broadcast_shapes(spec.query_segments[:-1], spec.key_segments[:-1])
        shapes.append((*segments, 1, spec.num_queries, spec.num_keys))
    return shapes


def _largest_given(spec: AttentionSpec) -> int:
    return max(math.prod(shape or (0,)) for shape in (spec.bias, spec.dense_mask))


def rides_on_channels(spec: AttentionSpec) -> bool:
    """Whether key padding is not merged into an array that exists anyway."""
    if spec.key_mask is None:
        return False
    merged = np.broadcast_shapes(*_array_shapes(spec), _per_key(spec.key_mask))
    return math.prod(merged) > _largest_given(spec)


def _per_key(shape: Shape) -> Shape:
    return (*shape[:-1], 1, 1, shape[-1])


def _split_axis(spec: AttentionSpec) -> int | None:
    """The outermost batch axis to loop over, where the bias has some but not all."""
    array = _bias_shape(spec)
    real = [axis for axis, size in enumerate(spec.batch) if size > 1]
    if array is None or len({array[axis] == 1 for axis in real}) < 2:
        return None
    return real[0]
