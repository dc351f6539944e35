"""Losses of the denoiser. SI 3.7.1 and 3.7.2, equations 2-6, Algorithms 27 and 28."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from af3_core.model.batch import Batch
from af3_core.model.diffusion import SIGMA_DATA
from af3_core.model.primitives import gather, mean_where
from af3_core.training.examples import Labels
from af3_core.training.settings import Noise

_HIGHEST = jax.lax.Precision.HIGHEST
_LDDT_THRESHOLDS = (0.5, 1.0, 2.0, 4.0)
_RADIUS, _NUCLEOTIDE_RADIUS = 15.0, 30.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Atoms:
    """Labels atom by atom, in the windows' order: padding is at the end."""

    positions: Float[Array, "a 3"]
    resolved: Bool[Array, "a"]
    weight: Float[Array, "a"]
    is_nucleotide: Bool[Array, "a"]


def flatten_labels(batch: Batch, labels: Labels) -> Atoms:
    """Takes labels out of the token × 24 layout, three quarters of which is empty."""
    tokens, windows = batch.tokens, batch.windows
    is_nucleotide = jnp.asarray(tokens.is_dna) | jnp.asarray(tokens.is_rna)
    return Atoms(
        positions=flatten_atoms(batch, jnp.asarray(labels.positions)),
        resolved=flatten_atoms(batch, jnp.asarray(labels.resolved)),
        weight=flatten_atoms(batch, jnp.asarray(labels.weight)),
        is_nucleotide=gather(windows.tokens_to_queries, is_nucleotide).reshape(-1),
    )


def flatten_atoms(batch: Batch, values: Array) -> Array:  # [n x ...] → [a ...]
    """Values of atoms in the windows' order."""
    taken = gather(batch.windows.token_atoms_to_queries, values, num_axes=2)
    return taken.reshape(-1, *values.shape[2:])


def draw_noise_levels(key: Array, num_levels: int, noise: Noise) -> Float[Array, "b"]:
    """σ_data · exp(log_mean + log_deviation · N(0, 1)), Å. SI 3.7.1.

    Each level comes from its own part of the distribution, all parts equally likely, so
    that few levels cover it too.
    """
    uniform = jax.random.uniform(key, (num_levels,), minval=1e-6, maxval=1 - 1e-6)
    quantiles = (jnp.arange(num_levels, dtype=jnp.float32) + uniform) / num_levels
    normal = jax.scipy.stats.norm.ppf(quantiles)
    return SIGMA_DATA * jnp.exp(noise.log_mean + noise.log_deviation * normal)


def has_fixed_pose(noise_levels: Array, noise: Noise) -> Bool[Array, "*b"]:
    """At which levels positions keep the pose of their file."""
    limit = jnp.inf if noise.fixed_pose_above is None else noise.fixed_pose_above
    return noise_levels > limit


def level_weight(noise_level: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """The factor of the mean squared error in SI equation 6, 1/Å².

    Differs from the paper, whose denominator is the square of a sum. With the square
    of the product, as in Karras et al. 2022 (doi:10.48550/arXiv.2206.00364, table 1),
    the raw output of the network has the same weight at every level.
    """
    product = jnp.square(noise_level * SIGMA_DATA)
    return (jnp.square(noise_level) + SIGMA_DATA**2) / product


def align(
    mobile: Float[Array, "a 3"],
    target: Float[Array, "a 3"],
    weight: Float[Array, "a"],
) -> Float[Array, "a 3"]:
    """`mobile` moved rigidly onto `target`, least squares. SI Algorithm 28.

    No gradient flows through the result.
    """
    mobile, target = jax.lax.stop_gradient((mobile, target))
    weight = weight[:, None] / jnp.maximum(jnp.sum(weight), 1e-6)
    mobile_mean = jnp.sum(weight * mobile, axis=0, keepdims=True)
    target_mean = jnp.sum(weight * target, axis=0, keepdims=True)
    mobile, target = mobile - mobile_mean, target - target_mean  # lines 1-4
    covariance = jnp.einsum("ai,aj->ij", weight * target, mobile, precision=_HIGHEST)
    u, _, v = jnp.linalg.svd(covariance)  # lines 5-6
    handedness = jnp.linalg.det(jnp.matmul(u, v, precision=_HIGHEST))
    last = jnp.where(handedness < 0, -1.0, 1.0)  # lines 7-10
    flip = jnp.stack([jnp.ones_like(last), jnp.ones_like(last), last])
    rotation = jnp.matmul(u * flip[None, :], v, precision=_HIGHEST)
    moved = jnp.einsum("aj,ij->ai", mobile, rotation, precision=_HIGHEST)
    return jax.lax.stop_gradient(moved + target_mean)  # lines 11-12


def centre(
    positions: Float[Array, "*s 3"], resolved: Bool[Array, "*s"]
) -> Float[Array, "*s 3"]:
    """Moved so that the mean of resolved atoms is the origin, where all others lie."""
    mask = jnp.asarray(resolved)[..., None]
    axes = tuple(range(mask.ndim - 1))
    mean = jnp.expand_dims(mean_where(mask, positions, axes), axes)
    return jnp.where(mask, positions - mean, 0.0)


def weighted_mse(
    denoised: Float[Array, "a 3"],
    atoms: Atoms,
    is_fixed: bool | Bool[Array, ""] = False,
) -> Float[Array, ""]:
    """Squared error (Å²) after alignment, SI equations 2-4; of a fixed pose, as is."""
    target = jnp.where(
        is_fixed,
        centre(atoms.positions, atoms.resolved),
        align(atoms.positions, denoised, atoms.weight),
    )
    squared = jnp.sum(jnp.square(denoised - target), axis=-1)
    # The mean is over atoms, not over weights: nucleotides and ligands count for more.
    count = jnp.maximum(jnp.sum(atoms.resolved.astype(jnp.float32)), 1.0)
    return jnp.sum(atoms.weight * squared) / count / 3.0


def bond_loss(denoised: Float[Array, "n x 3"], labels: Labels) -> Float[Array, ""]:
    """Mean squared error (Å²) of the lengths of bonds of ligands. SI equation 5."""

    def lengths(positions: Array) -> Array:
        ends = positions.reshape(-1, 3)[jnp.asarray(labels.bond_atoms)]
        return _norm(ends[:, 0] - ends[:, 1])

    error = lengths(denoised) - lengths(jnp.asarray(labels.positions))
    mask = jnp.asarray(labels.bond_mask).astype(jnp.float32)
    return jnp.sum(mask * jnp.square(error)) / jnp.maximum(jnp.sum(mask), 1.0)


def smooth_lddt_loss(
    denoised: Float[Array, "a 3"], atoms: Atoms, partners: Int[Array, "p"]
) -> Float[Array, ""]:
    """1 − smooth lDDT. SI Algorithm 27.

    Every atom is compared with the atoms of index `partners` alone: all of them, or a
    random part, which makes the loss an unbiased estimate at a part of its cost.
    """
    expected = _norm(atoms.positions[:, None] - atoms.positions[partners][None])
    found = _norm(denoised[:, None] - denoised[partners][None])  # lines 1-2
    error = jnp.abs(found - expected)  # line 3
    score = sum(jax.nn.sigmoid(t - error) for t in _LDDT_THRESHOLDS) / 4.0  # line 4
    radius = jnp.where(atoms.is_nucleotide, _NUCLEOTIDE_RADIUS, _RADIUS)[partners]
    included = expected < radius[None, :]  # lines 5-6
    included &= atoms.resolved[:, None] & atoms.resolved[partners][None, :]
    included &= jnp.arange(len(atoms.resolved))[:, None] != partners[None, :]
    weight = included.astype(jnp.float32)
    return 1.0 - jnp.sum(weight * score) / jnp.maximum(jnp.sum(weight), 1.0)


def _norm(x: Float[Array, "*s 3"]) -> Float[Array, "*s"]:
    """The length; its gradient is finite at zero."""
    return jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(x), axis=-1), 1e-10))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DiffusionLosses:
    """Of each noise level, or their means."""

    mse: Float[Array, "*b"]
    """Weighted by level, so without unit: about 1 for a network that learnt nothing."""
    bond: Float[Array, "*b"]
    smooth_lddt: Float[Array, "*b"]


def diffusion_losses(
    denoised: Float[Array, "b n x 3"],
    noise_levels: Float[Array, "b"],
    batch: Batch,
    labels: Labels,
    partners: Array,
    noise: Noise,
) -> DiffusionLosses:
    """The terms of SI equation 6, means over the noise levels."""
    atoms = flatten_labels(batch, labels)

    def one(denoised: Array, level: Array) -> DiffusionLosses:
        flat = flatten_atoms(batch, denoised)
        weight = jnp.maximum(level_weight(level), noise.least_weight)
        return DiffusionLosses(
            mse=weight * weighted_mse(flat, atoms, has_fixed_pose(level, noise)),
            bond=weight * bond_loss(denoised, labels),
            smooth_lddt=smooth_lddt_loss(flat, atoms, partners),
        )

    losses = jax.vmap(one)(denoised, noise_levels)
    return jax.tree.map(jnp.mean, losses)


def draw_partners(key: Array, resolved: Bool[Array, "a"], number: int) -> Array:
    """Indices of `number` atoms, resolved ones first, in random order."""
    score = jax.random.uniform(key, resolved.shape)
    score = jnp.where(resolved, score, -1.0)
    return jnp.argsort(score, descending=True)[:number]
