"""Layer norm as AlphaFold 3 computes it: in float32, whatever goes in and out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

EPSILON = 1e-5
"""What AlphaFold 3 adds to the variance."""


class Norm(NamedTuple):
    """Parameters of one layer norm."""

    scale: Float[Array, "c"]
    offset: Float[Array, "c"]


def layer_norm(
    x: Float[Array, "*shape"],
    scale: Float[Array, "c"],
    offset: Float[Array, "c"],
    axis: int = -1,
) -> Float[Array, "*shape"]:
    """Layer norm of one axis, computed in float32, in x's dtype."""
    y, axis = x.astype(jnp.float32), axis % x.ndim
    # As AlphaFold 3 has it: both means in one pass over memory.
    mean = jnp.mean(y, axis=axis, keepdims=True)
    square = jnp.mean(jnp.square(y), axis=axis, keepdims=True)
    variance = jnp.maximum(square - jnp.square(mean), 0.0)
    y = (y - mean) * jax.lax.rsqrt(variance + EPSILON)
    shape = (1,) * axis + scale.shape + (1,) * (x.ndim - axis - 1)
    return (y * scale.reshape(shape) + offset.reshape(shape)).astype(x.dtype)
