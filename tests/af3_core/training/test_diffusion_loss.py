from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation
from scipy.stats import norm

from af3_core.model.diffusion import SIGMA_DATA
from af3_core.training.diffusion_loss import (
    Atoms,
    align,
    bond_loss,
    centre,
    diffusion_losses,
    draw_noise_levels,
    draw_partners,
    flatten_labels,
    level_weight,
    smooth_lddt_loss,
    weighted_mse,
)
from af3_core.training.settings import Noise
from tests.af3_core.training.known import example_for

RANDOM = np.random.default_rng(5)


def atoms_of(name: str, num_tokens: int) -> Atoms:
    example = example_for(name, num_tokens)
    return flatten_labels(example.batch, example.labels)


def disturbed(positions: jax.Array, size: float) -> jax.Array:
    noise = RANDOM.standard_normal(positions.shape).astype(np.float32)
    return positions + size * jnp.asarray(noise)


def moved(positions: jax.Array) -> jax.Array:
    rotation = Rotation.from_rotvec([0.3, -1.2, 2.0]).as_matrix().astype(np.float32)
    shift = jnp.asarray([[3.0, -20.0, 7.0]], jnp.float32)
    return positions @ jnp.asarray(rotation.T) + shift


def test_alignment_is_the_best_rigid_motion() -> None:
    atoms = atoms_of("lac_repressor_dna", 76)
    target = disturbed(moved(atoms.positions), 2.0)
    weight = np.asarray(atoms.weight, np.float64)
    x, y = (np.asarray(a, np.float64) for a in (atoms.positions, target))
    x_mean, y_mean = (np.average(a, axis=0, weights=weight) for a in (x, y))
    rotation, _ = Rotation.align_vectors(y - y_mean, x - x_mean, weights=weight)
    expected = rotation.apply(x - x_mean) + y_mean
    found = align(atoms.positions, target, atoms.weight)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_alignment_never_mirrors() -> None:
    atoms = atoms_of("villin_headpiece", 40)
    mirrored = atoms.positions * jnp.asarray([[1.0, 1.0, -1.0]], jnp.float32)
    found = align(atoms.positions, mirrored, atoms.weight)
    assert float(weighted_mse(mirrored, atoms)) > 1.0
    assert np.abs(np.asarray(found - mirrored)).max() > 1.0


def test_mean_squared_error_ignores_where_the_structure_lies() -> None:
    atoms = atoms_of("trypsin_inhibitor", 64)
    assert float(weighted_mse(moved(atoms.positions), atoms)) < 1e-6


def test_mean_squared_error_is_the_weighted_one_of_the_paper() -> None:
    atoms = atoms_of("trypsin_inhibitor", 64)
    denoised = disturbed(atoms.positions, 1.0)
    aligned = np.asarray(align(atoms.positions, denoised, atoms.weight))
    squared = np.sum((np.asarray(denoised) - aligned) ** 2, axis=-1)
    known = np.asarray(atoms.resolved)
    expected = np.mean((np.asarray(atoms.weight) * squared)[known]) / 3
    assert float(weighted_mse(denoised, atoms)) == pytest.approx(expected, rel=1e-5)


def test_bond_loss_is_the_error_of_lengths() -> None:
    labels = example_for("trypsin_inhibitor", 64).labels
    stretched = jnp.asarray(labels.positions) * 1.1
    ends = labels.positions.reshape(-1, 3)[labels.bond_atoms[labels.bond_mask]]
    lengths = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1)
    expected = np.mean((0.1 * lengths) ** 2)
    assert float(bond_loss(stretched, labels)) == pytest.approx(expected, rel=1e-3)
    assert float(bond_loss(jnp.asarray(labels.positions), labels)) == 0.0


def smooth_lddt_by_definition(denoised: np.ndarray, atoms: Atoms) -> float:
    known = np.asarray(atoms.resolved)
    expected = cdist(atoms.positions, atoms.positions)
    error = np.abs(cdist(denoised, denoised) - expected)
    score = np.mean([1 / (1 + np.exp(error - t)) for t in (0.5, 1, 2, 4)], axis=0)
    radius = np.where(np.asarray(atoms.is_nucleotide), 30.0, 15.0)[:, None]
    counted = (expected < radius) & known[:, None] & known[None, :]
    counted &= ~np.eye(len(known), dtype=bool)
    return 1 - score[counted].mean()


def test_smooth_lddt_follows_its_definition() -> None:
    atoms = atoms_of("lac_repressor_dna", 76)
    denoised = disturbed(atoms.positions, 1.5)
    everyone = jnp.arange(len(atoms.resolved))
    expected = smooth_lddt_by_definition(np.asarray(denoised), atoms)
    found = smooth_lddt_loss(denoised, atoms, everyone)
    assert float(found) == pytest.approx(expected, abs=1e-5)


def test_smooth_lddt_of_some_partners_estimates_that_of_all() -> None:
    atoms = atoms_of("ubiquitin", 76)
    denoised = disturbed(atoms.positions, 1.0)
    keys = jax.random.split(jax.random.PRNGKey(0), 40)
    some = [
        float(smooth_lddt_loss(denoised, atoms, draw_partners(k, atoms.resolved, 60)))
        for k in keys
    ]
    everyone = smooth_lddt_loss(denoised, atoms, jnp.arange(len(atoms.resolved)))
    assert np.mean(some) == pytest.approx(float(everyone), abs=0.005)


def test_partners_are_resolved_atoms_each_once() -> None:
    resolved = jnp.arange(100) % 3 == 0
    drawn = np.asarray(draw_partners(jax.random.PRNGKey(1), resolved, 30))
    assert len(set(drawn.tolist())) == 30
    assert np.asarray(resolved)[drawn].all()


def test_losses_have_finite_gradients_where_atoms_coincide() -> None:
    example = example_for("trypsin_inhibitor", 64)
    zeros = jnp.zeros((1, *example.labels.positions.shape))
    levels = jnp.ones(1)

    def total(denoised: jax.Array) -> jax.Array:
        losses = diffusion_losses(
            denoised, levels, example.batch, example.labels, jnp.arange(50), Noise()
        )
        return losses.mse + losses.bond + losses.smooth_lddt

    assert np.isfinite(np.asarray(jax.grad(total)(zeros))).all()


def test_perfect_denoising_costs_only_what_smooth_lddt_cannot_reach() -> None:
    example = example_for("trypsin_inhibitor", 64)
    found = diffusion_losses(
        jnp.asarray(example.labels.positions)[None],
        jnp.ones(1),
        example.batch,
        example.labels,
        jnp.arange(64),
        Noise(),
    )
    floor = 1 - np.mean([1 / (1 + np.exp(-t)) for t in (0.5, 1, 2, 4)])
    assert float(found.mse) < 1e-3
    assert float(found.bond) == 0.0
    assert float(found.smooth_lddt) == pytest.approx(floor, abs=1e-5)


def test_noise_levels_are_log_normal_around_the_papers_mean() -> None:
    levels = draw_noise_levels(jax.random.PRNGKey(0), 20_000, Noise())
    logs = np.log(np.asarray(levels) / SIGMA_DATA)
    assert logs.mean() == pytest.approx(-1.2, abs=0.03)
    assert logs.std() == pytest.approx(1.5, abs=0.03)


def test_few_noise_levels_cover_the_distribution() -> None:
    levels = draw_noise_levels(jax.random.PRNGKey(0), 4, Noise(0.5, 2.0))
    quartiles = SIGMA_DATA * np.exp(0.5 + 2.0 * norm.ppf([0.25, 0.5, 0.75]))
    np.testing.assert_array_equal(np.digitize(levels, quartiles), [0, 1, 2, 3])


def test_every_noise_level_weighs_the_networks_output_alike() -> None:
    level = jnp.asarray([0.01, 1.0, 16.0, 500.0])
    scale = level * SIGMA_DATA / jnp.sqrt(level**2 + SIGMA_DATA**2)
    np.testing.assert_allclose(level_weight(level) * scale**2, 1.0, rtol=1e-5)


def test_levels_weigh_squared_errors_and_bonds_but_not_smooth_lddt() -> None:
    example = example_for("trypsin_inhibitor", 64)
    batch, labels = example.batch, example.labels
    denoised = disturbed(jnp.asarray(labels.positions), 1.0)
    twice = jnp.stack([denoised, denoised])
    partners = jnp.arange(50)
    one = diffusion_losses(twice, jnp.full(2, 16.0), batch, labels, partners, Noise())
    two = diffusion_losses(
        twice, jnp.asarray([2.0, 8.0]), batch, labels, partners, Noise()
    )
    # (t² + 16²) / (16 t)² at t = 2, 8 and 16 is 65/256, 5/256 and 2/256.
    assert float(two.mse / one.mse) == pytest.approx(35 / 2, rel=1e-4)
    assert float(two.bond / one.bond) == pytest.approx(35 / 2, rel=1e-4)
    assert float(two.smooth_lddt) == pytest.approx(float(one.smooth_lddt), rel=1e-5)


def test_squared_errors_count_at_least_as_much_as_is_said() -> None:
    example = example_for("trypsin_inhibitor", 64)
    batch, labels = example.batch, example.labels
    denoised = disturbed(jnp.asarray(labels.positions), 1.0)[None]
    how = (denoised, jnp.full(1, 160.0), batch, labels, jnp.arange(50))
    free = diffusion_losses(*how, Noise())
    bounded = diffusion_losses(*how, Noise(least_weight=0.1))
    weight = float(level_weight(jnp.float32(160.0)))
    assert float(bounded.mse / free.mse) == pytest.approx(0.1 / weight, rel=1e-4)


def test_above_a_level_errors_are_those_of_the_pose_in_the_file() -> None:
    example = example_for("trypsin_inhibitor", 64)
    batch, labels = example.batch, example.labels
    posed = centre(jnp.asarray(labels.positions), jnp.asarray(labels.resolved))
    turned = moved(posed.reshape(-1, 3)).reshape(posed.shape)
    noise = Noise(fixed_pose_above=100.0)

    def error(denoised: jax.Array, level: float) -> float:
        levels, partners = jnp.full(1, level), jnp.arange(50)
        found = diffusion_losses(denoised[None], levels, batch, labels, partners, noise)
        return float(found.mse)

    assert error(posed, 101.0) < 1e-6
    assert error(turned, 101.0) > 0.01
    assert error(turned, 99.0) < 1e-6


def test_unresolved_atoms_do_not_count() -> None:
    atoms = atoms_of("villin_headpiece", 40)
    hidden = replace(
        atoms,
        resolved=atoms.resolved.at[:20].set(False),
        weight=atoms.weight.at[:20].set(0.0),
    )
    wrong = atoms.positions.at[:20].add(50.0)
    partners = draw_partners(jax.random.PRNGKey(0), hidden.resolved, 100)
    assert float(weighted_mse(wrong, hidden)) < 1e-6
    assert float(smooth_lddt_loss(wrong, hidden, partners)) == pytest.approx(
        float(smooth_lddt_loss(atoms.positions, hidden, partners)), abs=1e-6
    )
