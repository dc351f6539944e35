"""What the backends of triangle multiplication share. SI Algorithms 12 and 13."""

import dataclasses
from collections.abc import Callable
from typing import no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

EPSILON = 1e-5
"""What AlphaFold 3 adds to the variance in a layer norm."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
@no_type_check  # as a JAX tree it also holds what is not an array
class TriangleWeights:
    """Parameters of one triangle multiplication: c channels, h hidden ones.

    The last axis of the two projections is a, b.
    """

    input_scale: Float[Array, "c"]
    input_offset: Float[Array, "c"]
    project: Float[Array, "c h 2"]
    project_gate: Float[Array, "c h 2"]
    output_scale: Float[Array, "h"]
    output_offset: Float[Array, "h"]
    output: Float[Array, "h c"]
    output_gate: Float[Array, "c c"]

    def cast(self, dtype: jnp.dtype) -> "TriangleWeights":
        """The matrices in `dtype`, the norms in float32."""
        return TriangleWeights(
            self.input_scale.astype(jnp.float32),
            self.input_offset.astype(jnp.float32),
            self.project.astype(dtype),
            self.project_gate.astype(dtype),
            self.output_scale.astype(jnp.float32),
            self.output_offset.astype(jnp.float32),
            self.output.astype(dtype),
            self.output_gate.astype(dtype),
        )


def check_triangle(
    pair: Float[Array, "*batch n n c"],
    mask: Bool[Array, "*batch n n"],
    weights: TriangleWeights,
    channels_at_once: int,
) -> None:
    """Raises ValueError naming what does not fit, and the shape it must have."""
    if pair.ndim < 3 or pair.shape[-3] != pair.shape[-2]:
        raise ValueError(f"pair must have shape [*batch n n c], got {list(pair.shape)}")
    if mask.shape != pair.shape[:-1]:
        raise ValueError(
            f"mask must have shape {list(pair.shape[:-1])} for pair"
            f" {list(pair.shape)}, got {list(mask.shape)}"
        )
    c, h = pair.shape[-1], weights.output.shape[0]
    wanted = {
        "input_scale": (c,),
        "input_offset": (c,),
        "project": (c, h, 2),
        "project_gate": (c, h, 2),
        "output_scale": (h,),
        "output_offset": (h,),
        "output": (h, c),
        "output_gate": (c, c),
    }
    for name, shape in wanted.items():
        found = getattr(weights, name).shape
        if found != shape:
            raise ValueError(
                f"weights.{name} must have shape {list(shape)} for pair"
                f" {list(pair.shape)} and {h} hidden channels, got {list(found)}"
            )
    if channels_at_once < 1 or h % channels_at_once:
        raise ValueError(
            f"channels_at_once must divide the {h} hidden channels,"
            f" got {channels_at_once}"
        )


def layer_norm(
    x: Float[Array, "*batch c"], scale: Float[Array, "c"], offset: Float[Array, "c"]
) -> Float[Array, "*batch c"]:
    """Layer norm of the last axis, computed in float32, in x's dtype."""
    y = x.astype(jnp.float32)
    y = y - jnp.mean(y, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(y), axis=-1, keepdims=True)
    y = y * jax.lax.rsqrt(variance + EPSILON)
    shape = (1,) * (x.ndim - 1) + scale.shape
    return (y * scale.reshape(shape) + offset.reshape(shape)).astype(x.dtype)


def multiply(
    a: Float[Array, "*batch n n"], b: Float[Array, "*batch n n"], *, outgoing: bool
) -> Float[Array, "*batch n n"]:
    """Σ_k a_ik b_jk for outgoing edges, Σ_k a_kj b_ki for incoming ones.

    Differs from the paper: for incoming edges a carries the index j.
    """
    return jnp.einsum("...ik,...jk->...ij" if outgoing else "...kj,...ki->...ij", a, b)


def in_chunks(
    multiply_some: Callable[..., Array],
    channels_at_once: int,
    project: Float[Array, "c h 2"],
    project_gate: Float[Array, "c h 2"],
) -> Float[Array, "h *batch n n"]:
    """`multiply_some` of the projections of a few hidden channels at a time."""
    num_channels, num_hidden, _ = project.shape
    if num_hidden == channels_at_once:
        return multiply_some(project, project_gate)
    chunked = (
        w.reshape(num_channels, -1, channels_at_once, 2).swapaxes(0, 1)
        for w in (project, project_gate)
    )
    products = jax.lax.map(lambda some: multiply_some(*some), tuple(chunked))
    return products.reshape(num_hidden, *products.shape[2:])
