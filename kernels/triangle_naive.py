"""The definition of triangle multiplication, in float32."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from kernels.norms import layer_norm
from kernels.spec import TriangleSpec
from kernels.triangle import TriangleWeights


def unsupported(spec: TriangleSpec) -> str | None:
    """Never refuses."""
    return None


def run(
    pair: Float[Array, "*batch n n c"],
    mask: Bool[Array, "*batch n n"],
    weights: TriangleWeights,
    *,
    spec: TriangleSpec,
) -> Float[Array, "*batch n n c"]:
    """pair + update, every product in float32, rounded once."""
    w = weights.cast(jnp.dtype("float32"))
    z = pair.astype(jnp.float32)
    equation = "...ikh,...jkh->...ijh" if spec.outgoing else "...kjh,...kih->...ijh"
    with jax.default_matmul_precision("highest"):
        x = layer_norm(z, w.input_scale, w.input_offset)
        projected = jnp.einsum("...c,chs->...hs", x, w.project)
        gate = jnp.einsum("...c,chs->...hs", x, w.project_gate)
        ab = projected * jax.nn.sigmoid(gate)
        ab = jnp.where(mask[..., None, None], ab, 0.0)
        product = jnp.einsum(equation, ab[..., 0], ab[..., 1])
        update = layer_norm(product, w.output_scale, w.output_offset) @ w.output
        return (z + update * jax.nn.sigmoid(x @ w.output_gate)).astype(pair.dtype)
