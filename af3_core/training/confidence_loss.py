"""Losses of the confidence head. SI 4.3.

What the head predicts of a sample is compared with what is true of it. No gradient
reaches the sample, nor the trunk.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from af3_core.model.batch import Batch
from af3_core.model.heads import ConfidenceLogits
from af3_core.training.distogram_loss import cross_entropy, representatives
from af3_core.training.examples import Labels

_THRESHOLDS = (0.5, 1.0, 2.0, 4.0)
_RADIUS, _NUCLEOTIDE_RADIUS = 15.0, 30.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ConfidenceLosses:
    """Mean cross-entropies, before weights."""

    plddt: Float[Array, ""]
    pae: Float[Array, ""]
    pde: Float[Array, ""]
    resolved: Float[Array, ""]


def confidence_losses(
    logits: ConfidenceLogits,
    sample: Float[Array, "n x 3"],
    batch: Batch,
    labels: Labels,
    max_error: float,
) -> ConfidenceLosses:
    """The terms of SI equation 15 that belong to confidence.

    Args:
        max_error: of the model's confidence head, Å; beyond it is the last bin.
    """
    sample = jax.lax.stop_gradient(sample)
    resolved = jnp.asarray(labels.resolved)
    lddt, lddt_mask = atom_lddt(sample, batch, labels)
    lddt_bin = bin_of(lddt, 1.0, logits.plddt.shape[-1])
    pae, pae_mask = aligned_errors(sample, batch, labels)
    pde, pde_mask = distance_errors(sample, batch, labels)
    num_bins = logits.pae.shape[-1]
    end = max_error * num_bins / (num_bins - 2)
    atoms = jnp.asarray(batch.predicted_atom_mask)
    return ConfidenceLosses(
        plddt=mean(cross_entropy(logits.plddt, lddt_bin), lddt_mask),
        pae=mean(cross_entropy(logits.pae, bin_of(pae, end, num_bins)), pae_mask),
        pde=mean(cross_entropy(logits.pde, bin_of(pde, end, num_bins)), pde_mask),
        resolved=mean(
            cross_entropy(logits.resolved, resolved.astype(jnp.int32)), atoms
        ),
    )


def bin_of(values: Float[Array, "*s"], end: float, num_bins: int) -> Array:
    """The bin of each value among bins of equal width from 0 to `end`."""
    return jnp.clip((values * (num_bins / end)).astype(jnp.int32), 0, num_bins - 1)


def mean(values: Float[Array, "*s"], mask: Bool[Array, "*s"]) -> Float[Array, ""]:
    """The mean where the mask is True; 0 if that is nowhere."""
    weight = mask.astype(jnp.float32)
    return jnp.sum(weight * values) / jnp.maximum(jnp.sum(weight), 1.0)


def atom_lddt(
    sample: Float[Array, "n x 3"], batch: Batch, labels: Labels
) -> tuple[Float[Array, "n x"], Bool[Array, "n x"]]:
    """lDDT (0-1) of every atom against C-alpha and C1', and where it is defined.

    SI 4.3.1: partners within 15 Å in the experiment (30 Å if nucleotides), one per
    token of a polymer. A modified residue's tokens are its atoms, so that each is one.
    """
    partners, known = centres(sample, batch, labels)
    true_partners, _ = centres(jnp.asarray(labels.positions), batch, labels)
    tokens = batch.tokens
    nucleotide = jnp.asarray(tokens.is_rna) | jnp.asarray(tokens.is_dna)
    known &= nucleotide | jnp.asarray(tokens.is_protein)
    positions, resolved = jnp.asarray(labels.positions), jnp.asarray(labels.resolved)
    expected = _norm(positions[:, :, None] - true_partners[None, None])
    found = _norm(sample[:, :, None] - partners[None, None])
    radius = jnp.where(nucleotide, _NUCLEOTIDE_RADIUS, _RADIUS)
    included = (expected < radius[None, None]) & known[None, None]
    # An atom has no distance to itself: that of a token's centre is always right.
    included &= (expected > 1e-3) & resolved[..., None]
    error = jnp.abs(found - expected)
    score = sum((error < t).astype(jnp.float32) for t in _THRESHOLDS) / 4.0
    weight = included.astype(jnp.float32)
    count = jnp.sum(weight, axis=-1)
    return jnp.sum(weight * score, axis=-1) / jnp.maximum(count, 1.0), count > 0


def aligned_errors(
    sample: Float[Array, "n x 3"], batch: Batch, labels: Labels
) -> tuple[Float[Array, "n n"], Bool[Array, "n n"]]:
    """Error (Å) of token j seen from the frame of token i (row). SI 4.3.2.

    A token is where its representative atom is. Row i counts if its frame is valid.
    """
    true_positions = jnp.asarray(labels.positions)
    found, known = representatives(sample, batch, labels)
    expected, _ = representatives(true_positions, batch, labels)
    offsets = to_frames(sample, labels, found) - to_frames(
        true_positions, labels, expected
    )
    return _norm(offsets), jnp.asarray(labels.frame_mask)[:, None] & known[None, :]


def distance_errors(
    sample: Float[Array, "n x 3"], batch: Batch, labels: Labels
) -> tuple[Float[Array, "n n"], Bool[Array, "n n"]]:
    """Error (Å) of the distance between two representative atoms. SI 4.3.3."""
    found, known = representatives(sample, batch, labels)
    expected, _ = representatives(jnp.asarray(labels.positions), batch, labels)

    def distances(points: Array) -> Array:
        return _norm(points[:, None] - points[None, :])

    error = jnp.abs(distances(found) - distances(expected))
    return error, known[:, None] & known[None, :]


def centres(
    positions: Float[Array, "n x 3"], batch: Batch, labels: Labels
) -> tuple[Float[Array, "n 3"], Bool[Array, "n"]]:
    """Each token's atom nearest its centre, and whether experiment resolved it."""
    tokens = jnp.arange(positions.shape[0])
    slots = jnp.asarray(batch.residue_center_index)
    known = jnp.asarray(labels.resolved)[tokens, slots]
    return positions[tokens, slots], known & jnp.asarray(batch.tokens.mask)


def to_frames(
    positions: Float[Array, "n x 3"], labels: Labels, points: Float[Array, "m 3"]
) -> Float[Array, "n m 3"]:
    """Points as seen from the frame of every token. SI Algorithm 29."""
    ends = positions.reshape(-1, 3)[jnp.asarray(labels.frame_atoms)]
    origin = ends[:, 1]
    first, second = _unit(ends[:, 0] - origin), _unit(ends[:, 2] - origin)
    x, y = _unit(first + second), _unit(second - first)  # lines 2-4
    axes = jnp.stack([x, y, jnp.cross(x, y)], axis=1)
    offsets = points[None, :] - origin[:, None]
    highest = jax.lax.Precision.HIGHEST
    return jnp.einsum("nij,nmj->nmi", axes, offsets, precision=highest)  # lines 6-9


def _unit(x: Float[Array, "*s 3"]) -> Float[Array, "*s 3"]:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-6)


def _norm(x: Float[Array, "*s 3"]) -> Float[Array, "*s"]:
    return jnp.sqrt(jnp.sum(jnp.square(x), axis=-1))
