"""The definition of the SwiGLU transition, in float32."""

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
    """(silu(x Wa) · x Wb) Wc with every product in float32."""
    highest = jax.lax.Precision.HIGHEST
    wide, first, second = (y.astype(jnp.float32) for y in (x, expand, contract))
    gate, value = jnp.split(jnp.matmul(wide, first, precision=highest), 2, axis=-1)
    hidden = jax.nn.silu(gate) * value
    return jnp.matmul(hidden, second, precision=highest).astype(x.dtype)
