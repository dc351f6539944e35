"""The definition of a projection, in float32."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.norms import Norm, layer_norm
from kernels.spec import ProjectionSpec


def unsupported(spec: ProjectionSpec) -> str | None:
    """Never refuses."""
    return None


def run(
    x: Float[Array, "*batch r s c"],
    weights: Float[Array, "c o"],
    norm: Norm | None,
    residual: Float[Array, "..."] | None,
    *,
    spec: ProjectionSpec,
) -> Float[Array, "..."]:
    """Everything in float32, rounded once."""
    y = x.astype(jnp.float32)
    if norm is not None:
        y = layer_norm(y, norm.scale, norm.offset)
    with jax.default_matmul_precision("highest"):
        y = spec.reorder(y @ weights.astype(jnp.float32))
    if residual is not None:
        y = y + residual.astype(jnp.float32)
    return y.astype(x.dtype)
