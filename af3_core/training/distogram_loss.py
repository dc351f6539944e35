"""Loss of the distogram head. SI 4.4."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from af3_core.model.batch import Batch
from af3_core.model.heads import Distogram
from af3_core.model.primitives import gather
from af3_core.training.examples import Labels


def distogram_loss(
    distogram: Distogram, batch: Batch, labels: Labels
) -> Float[Array, ""]:
    """Cross-entropy of the distances between representative atoms, mean over pairs."""
    positions, resolved = representatives(jnp.asarray(labels.positions), batch, labels)
    offsets = positions[:, None] - positions[None, :]
    squared = jnp.sum(jnp.square(offsets), axis=-1)
    edges = jnp.square(distogram.bin_edges)
    target = jnp.sum(squared[..., None] > edges[None, None], axis=-1)
    assert distogram.logits is not None, "run with Runtime.return_distogram"
    losses = cross_entropy(distogram.logits, target)
    weight = (resolved[:, None] & resolved[None, :]).astype(jnp.float32)
    return jnp.sum(weight * losses) / jnp.maximum(jnp.sum(weight), 1.0)


def representatives(
    positions: Float[Array, "n x 3"], batch: Batch, labels: Labels
) -> tuple[Float[Array, "n 3"], Bool[Array, "n"]]:
    """Each token's representative atom, and whether experiment resolved it.

    SI 4.4: C-beta (C-alpha of glycine), C4 of purines, C2 of pyrimidines, the atom.
    """
    known = gather(batch.pseudo_beta, jnp.asarray(labels.resolved), num_axes=2)
    known &= jnp.asarray(batch.tokens.mask)
    return gather(batch.pseudo_beta, positions, num_axes=2), known


def cross_entropy(logits: Float[Array, "*s bins"], target: Array) -> Array:
    """−log of the probability of each target bin."""
    log_probabilities = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_probabilities, target[..., None], axis=-1)[..., 0]
