"""The SwiGLU transition in plain JAX."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.attention_xla import precision_of
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
    """(silu(x Wa) · x Wb) Wc; products in x's dtype, accumulated in float32.

    The expanded activations are held in memory in x's dtype: 2f channels a row.
    """
    precision = precision_of(x)
    gate, value = jnp.split(jnp.matmul(x, expand, precision=precision), 2, axis=-1)
    return jnp.matmul(jax.nn.silu(gate) * value, contract, precision=precision)
