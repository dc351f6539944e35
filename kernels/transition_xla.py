"""The SwiGLU transition in plain JAX."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.spec import TransitionSpec


def unsupported(spec: TransitionSpec) -> str | None:
    """Never refuses."""
    return None


def run(
    x: Float[Array, "*batch c"],
    expand: Float[Array, "c twice_f"],
    contract: Float[Array, "f d"],
    *,
    spec: TransitionSpec,
) -> Float[Array, "*batch d"]:
    """(silu(x Wa) · x Wb) Wc, with JAX's default precision, like any linear layer.

    The expanded activations are held in memory in x's dtype: 2f channels a row.
    """
    gate, value = jnp.split(x @ expand, 2, axis=-1)
    return (jax.nn.silu(gate) * value) @ contract
