"""Triangle multiplication in plain JAX, channels first.

It is one product of two n × n matrices for each hidden channel: with the channels in
front they lie in memory as a library of matrix products wants them, on every device.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from kernels.spec import TriangleSpec
from kernels.triangle import TriangleWeights, in_chunks, layer_norm, multiply


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
    """pair + update, with JAX's default precision, like any linear layer.

    Beside the pair, its norm and the product, four arrays of `spec.channels_at_once`
    channels are alive.
    """
    w = weights.cast(pair.dtype)
    x = layer_norm(pair, w.input_scale, w.input_offset)

    def project(weights: Float[Array, "c h"]) -> Float[Array, "h *batch n n"]:
        return jnp.einsum("ch,...c->h...", weights, x)

    def multiply_some(
        edges: Float[Array, "c h 2"], gates: Float[Array, "c h 2"]
    ) -> Float[Array, "h *batch n n"]:
        a, b = (
            jnp.where(
                mask,
                project(edges[..., side]) * jax.nn.sigmoid(project(gates[..., side])),
                0,
            )
            for side in (0, 1)
        )
        return multiply(a, b, outgoing=spec.outgoing)

    product = in_chunks(multiply_some, spec.channels_at_once, w.project, w.project_gate)
    product = jnp.moveaxis(product, 0, -1)
    update = layer_norm(product, w.output_scale, w.output_offset) @ w.output
    return pair + update * jax.nn.sigmoid(x @ w.output_gate)
