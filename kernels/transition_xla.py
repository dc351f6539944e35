"""The SwiGLU transition in plain JAX."""

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
    """(silu(x Wa) · x Wb) Wc, with JAX's default precision, like any linear layer; with
    `norm`, of the norm of x, and added to x.

    The expanded activations are held in memory in x's dtype: 2f channels a row.
    """
    normed = x if norm is None else layer_norm(x, *norm)
    gate, value = jnp.split(normed @ expand, 2, axis=-1)
    result = (jax.nn.silu(gate) * value) @ contract
    return result if norm is None else x + result
