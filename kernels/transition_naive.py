"""The definition of the SwiGLU transition, in float32."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.norms import Norm, layer_norm
from kernels.spec import TransitionSpec


def unsupported(spec: TransitionSpec) -> str | None:
    """Never refuses."""
    return None


def run(
    x: Float[Array, "*batch c"],
    expand: Float[Array, "c twice_f"],
    contract: Float[Array, "f d"],
    norm: Norm | None,
    *,
    spec: TransitionSpec,
) -> Float[Array, "*batch d"]:
    """(silu(x Wa) · x Wb) Wc with every product in float32; with `norm`, of the norm of
    x, and added to x."""
    highest = jax.lax.Precision.HIGHEST
    wide, first, second = (y.astype(jnp.float32) for y in (x, expand, contract))
    normed = wide if norm is None else layer_norm(wide, *norm)
    gate, value = jnp.split(jnp.matmul(normed, first, precision=highest), 2, axis=-1)
    hidden = jax.nn.silu(gate) * value
    result = jnp.matmul(hidden, second, precision=highest)
    return (result if norm is None else wide + result).astype(x.dtype)
