"""Triangle multiplication in plain JAX, channels first.

It is one product of two n × n matrices for each hidden channel: with the channels in
front they lie in memory as a library of matrix products wants them, on every device.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from kernels.norms import layer_norm
from kernels.spec import TriangleSpec
from kernels.triangle import Side, TriangleWeights, update_rows


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
    """pair + update, with JAX's default precision, like any linear layer."""
    w = weights.cast(pair.dtype)

    def norm(edges: Float[Array, "*batch r s c"]) -> Float[Array, "*batch r s c"]:
        return layer_norm(edges, w.input_scale, w.input_offset)

    def project(edges: Array, mask: Array, side: Side) -> Float[Array, "h *batch r s"]:
        x = norm(edges)
        projected = (x @ side.project) * jax.nn.sigmoid(x @ side.gate)
        # Moved after the products: a CPU has no fast one that puts channels first.
        return jnp.moveaxis(jnp.where(mask[..., None], projected, 0), -1, 0)

    def finish(
        product: Float[Array, "h *batch r s"], edges: Array
    ) -> Float[Array, "*batch r s c"]:
        product = layer_norm(product, w.output_scale, w.output_offset, axis=0)
        update = jnp.tensordot(product, w.output, axes=(0, 0))
        return edges + update * jax.nn.sigmoid(norm(edges) @ w.output_gate)

    return update_rows(
        project,
        finish,
        pair,
        mask,
        w,
        outgoing=spec.outgoing,
        rows_at_once=spec.rows_at_once,
    )
