"""The operations of model and search, each one typed function."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from numpy import ndarray

from kernels.devices import current_device
from kernels.dispatch import dispatch
from kernels.norms import Norm
from kernels.operands import Mask, Operands, StackedBias, gather_operands
from kernels.preferences import FusedBackend, Preference, SegmentsBackend
from kernels.segments import PackedSequences, Profiles, check_profiles
from kernels.spec import (
    Order,
    projection_spec_of,
    segments_spec_of,
    spec_of,
    transition_spec_of,
    triangle_spec_of,
)
from kernels.triangle import TriangleWeights, check_triangle


def attention(
    q: Float[Array, "*batch q h c"],
    k: Float[Array, "*batch k hk c"],
    v: Float[Array, "*batch k hk c"],
    *,
    bias: Float[Array, "*#batch #h #q #k"] | StackedBias | None = None,
    mask: Bool[Array, "*#batch #h #q #k"] | Mask | None = None,
    scale: float | None = None,
    gate: Float[Array, "*batch q h c"] | None = None,
    backend: Preference = "auto",
) -> Float[Array, "*batch q h c"]:
    """Scaled dot-product attention: softmax(scale · q kᵀ + bias, masked) v.

    The number of key heads `hk` divides the query heads `h`: query head i reads key
    head i // (h / hk), which covers multi-head, grouped-query and multi-query
    attention. `bias` and `mask` may have any axis of size 1, and fewer batch axes;
    they are never expanded; a `StackedBias` is one of several that lie in one array,
    and is not copied out of it where that can be. A `Mask` states padding, segments and
    causality without an array of queries × keys. `scale` is 1/√c unless given. With
    `gate` (logits) the result is multiplied by sigmoid(gate).

    Matrix products take the dtype of q, k and v (float32, bfloat16 or float16, all
    alike); logits, softmax and accumulation are float32; the result has q's dtype.
    A query that may attend no key gets zeros. A key that no query attends is not
    read: NaN there does no harm.

    `backend` is one name, or several of which the first that can run is taken;
    "auto" decides by `explain`.

    Raises ValueError when shapes or dtypes do not fit, or when no backend named can
    run; the message is the reason.
    """
    operands = gather_operands(q, k, v, bias=bias, mask=mask, gate=gate)
    return _attend(operands, scale, backend)


def self_attention(
    projected: Float[Array, "*batch n parts h c"],
    *,
    bias: Float[Array, "*#batch #h #n #n"] | StackedBias | None = None,
    mask: Bool[Array, "*#batch #h #n #n"] | Mask | None = None,
    scale: float | None = None,
    backend: Preference = "auto",
) -> Float[Array, "*batch n h c"]:
    """`attention` of q, k, v and gate (in this order) as one projection leaves them.

    One product makes all four, and a backend that can reads them where they lie:
    cutting them apart would cost a pass over memory.

    Raises ValueError as `attention` does.
    """
    if projected.ndim < 4 or projected.shape[-3] != 4:
        raise ValueError(
            f"projected must have shape [*batch n 4 h c], got {list(projected.shape)}"
        )
    q, k, v, gate = (projected[..., part, :, :] for part in range(4))
    operands = gather_operands(q, k, v, bias=bias, mask=mask, gate=gate)
    return _attend(operands._replace(packed=projected), scale, backend)


def _attend(operands: Operands, scale: float | None, backend: Preference) -> Array:
    q = operands.q
    factor = float(q.shape[-1] ** -0.5 if scale is None else scale)
    if not 0.0 < factor < float("inf"):
        raise ValueError(f"scale must be positive and finite, got {scale}")
    if 0 in (*q.shape, *operands.k.shape):
        return jnp.zeros_like(q)
    spec = spec_of(operands, current_device())
    return dispatch(spec, backend).run(operands, scale=factor, spec=spec)


def project(
    x: Float[Array, "*batch r s c"],
    weights: Float[Array, "c o"],
    *,
    norm: Norm | None = None,
    residual: Float[Array, "..."] | None = None,
    order: Order = "rows",
    backend: FusedBackend = "auto",
) -> Float[Array, "..."]:
    """x @ weights for edges of a pair representation, and what stands around it.

    With `norm`, of the layer norm of x. `order` says how the result lies in memory: as
    [*batch r s o] ("rows"), as [*batch s r o] ("columns") or as [*batch o r s]
    ("channels"). `residual`, of that shape, is added. The product takes the dtype of x,
    the norm is float32.

    Raises ValueError when shapes or dtypes do not fit, or when `backend` is named and
    cannot run; the message is the reason.
    """
    if x.ndim < 3:
        raise ValueError(f"x must have shape [*batch r s c], got {list(x.shape)}")
    if weights.ndim != 2 or len(weights) != x.shape[-1]:
        raise ValueError(
            f"weights must have {x.shape[-1]} rows for x {list(x.shape)}, got shape"
            f" {list(weights.shape)}"
        )
    if norm is not None:
        norm = Norm(*(y.astype(jnp.float32) for y in norm))
    spec = projection_spec_of(
        x, weights, norm, residual, order=order, device=current_device()
    )
    if residual is not None and residual.shape != spec.output:
        raise ValueError(
            f"residual must have shape {list(spec.output)} for x {list(x.shape)} by"
            f" {order}, got {list(residual.shape)}"
        )
    for name, y in (("weights", weights), ("residual", residual)):
        if y is not None and y.dtype != x.dtype:
            raise ValueError(
                f"x and {name} must have one dtype, got {x.dtype.name} and"
                f" {y.dtype.name}"
            )
    return dispatch(spec, backend).run(x, weights, norm, residual, spec=spec)


def gated_transition(
    x: Float[Array, "*batch c"],
    expand: Float[Array, "c twice_f"],
    contract: Float[Array, "f d"],
    *,
    norm: Norm | None = None,
    backend: FusedBackend = "auto",
) -> Float[Array, "*batch d"]:
    """SwiGLU transition (silu(x Wa) · x Wb) Wc. AF3 SI Algorithm 11, lines 2-4.

    `expand` holds Wa in its first f columns and Wb in the others. Matrix products
    take the dtype of x. With `norm` it is the whole update of a residual stream,
    x + transition(layer norm of x); then d must be c.

    Raises ValueError when shapes or dtypes do not fit, or when `backend` is named and
    cannot run; the message is the reason.
    """
    num_channels, num_hidden = x.shape[-1], contract.shape[0]
    if expand.shape != (num_channels, 2 * num_hidden):
        raise ValueError(
            f"expand must have shape {[num_channels, 2 * num_hidden]} for x"
            f" {list(x.shape)} and contract {list(contract.shape)},"
            f" got {list(expand.shape)}"
        )
    if not x.dtype == expand.dtype == contract.dtype:
        raise ValueError(
            "x, expand and contract must have one dtype, got"
            f" {x.dtype.name}, {expand.dtype.name} and {contract.dtype.name}"
        )
    if norm is not None:
        if contract.shape[1] != num_channels:
            raise ValueError(
                f"with a norm, contract must have shape {[num_hidden, num_channels]}"
                f" for x {list(x.shape)}, got {list(contract.shape)}"
            )
        norm = Norm(*(y.astype(jnp.float32) for y in norm))
    spec = transition_spec_of(x, expand, contract, norm, current_device())
    return dispatch(spec, backend).run(x, expand, contract, norm, spec=spec)


def triangle_multiplication(
    pair: Float[Array, "*batch n n c"],
    mask: Bool[Array, "*batch n n"],
    weights: TriangleWeights,
    *,
    outgoing: bool,
    rows_at_once: int | None = None,
    backend: FusedBackend = "auto",
) -> Float[Array, "*batch n n c"]:
    """pair + its triangle update by products of edges. AF3 SI Algorithms 12 and 13.

    Edges where `mask` is False count as zero in the products; their own update is
    computed like any other, or not at all where the mask has no edge of a token from
    there on (padding). Matrix products take the dtype of pair, layer norms are
    float32. `rows_at_once` bounds memory: the update is made for so many rows
    (outgoing edges) or columns (incoming ones) at a time, in place of the pair, beside
    which half of the projected edges are alive and a chunk of all else (default: all).
    Not on a processor by its own kernel, which holds the whole product in float32.

    Raises ValueError when shapes do not fit, or when `backend` is named and cannot
    run; the message is the reason.
    """
    check_triangle(pair, mask, weights, rows_at_once)
    num_tokens = pair.shape[-2]
    rows_at_once = num_tokens if rows_at_once is None else min(rows_at_once, num_tokens)
    spec = triangle_spec_of(
        pair,
        weights,
        outgoing=outgoing,
        rows_at_once=rows_at_once,
        device=current_device(),
    )
    return dispatch(spec, backend).run(pair, mask, weights, spec=spec)


def best_segments(
    profiles: Profiles,
    targets: PackedSequences,
    *,
    backend: SegmentsBackend = "auto",
) -> UInt8[Array | ndarray, "q s"]:
    """The highest sum of negated costs over ungapped segments, for each pair.

    A segment pairs consecutive residues of a target with consecutive columns of a
    query's profile. The empty one has score 0; sums saturate at 255. Every backend
    gives the same numbers. A GPU's array may still be in the making when the call
    returns: `np.asarray` waits for it.

    Args:
        profiles: for each query, costs of [classes, columns]; all have as many classes.
        targets: their residue classes must have a row in the profiles.
        backend: "auto" decides by `explain`.

    Raises ValueError when profiles or residues do not fit, or when `backend` is named
    and cannot run; the message is the reason.
    """
    if not len(profiles):
        return np.zeros((0, len(targets.starts) - 1), np.uint8)
    check_profiles(profiles, targets)
    spec = segments_spec_of(profiles, targets, current_device())
    return dispatch(spec, backend).run(profiles, targets, spec=spec)
