"""A projection, its norm, order and residual as steps of plain JAX."""

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
    """With JAX's default precision, like any linear layer."""
    if norm is not None:
        x = layer_norm(x, norm.scale, norm.offset)
    projected = spec.reorder(x @ weights)
    return projected if residual is None else residual + projected
