"""The definition of attention, in float32, that every backend is compared with."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.operands import Operands, allowed, drop_unattended
from kernels.spec import AttentionSpec


def unsupported(spec: AttentionSpec) -> str | None:
    """Never refuses."""
    return None


def run(
    operands: Operands, *, scale: float, spec: AttentionSpec
) -> Float[Array, "*batch q h c"]:
    """softmax(scale · q kᵀ + bias) v, every product in float32.

    Memory grows as batch × heads × queries × keys. A query that may attend no key
    gets zeros.
    """
    q, k, v = (x.astype(jnp.float32) for x in operands[:3])
    may_attend = allowed(operands)
    k = jnp.repeat(k, spec.heads_per_key_head, axis=-2)
    v = jnp.repeat(drop_unattended(v, may_attend), spec.heads_per_key_head, axis=-2)
    highest = jax.lax.Precision.HIGHEST
    logits = scale * jnp.einsum("...qhc,...khc->...hqk", q, k, precision=highest)
    if operands.bias is not None:
        logits = logits + operands.bias.astype(jnp.float32)
    if may_attend is not None:
        logits = jnp.where(may_attend, logits, -jnp.inf)
    maximum = jnp.max(logits, axis=-1, keepdims=True)
    weights = jnp.exp(logits - jnp.where(maximum == -jnp.inf, 0.0, maximum))
    total = jnp.sum(weights, axis=-1, keepdims=True)
    weights = weights / jnp.where(total == 0.0, 1.0, total)
    output = jnp.einsum("...hqk,...khc->...qhc", weights, v, precision=highest)
    if operands.gate is not None:
        output = output * jax.nn.sigmoid(operands.gate.astype(jnp.float32))
    return output.astype(operands.q.dtype)
