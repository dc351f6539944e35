from dataclasses import replace

import biotite.structure as bs
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from af3_core.model.config import ConfidenceHead
from af3_core.model.heads import ConfidenceLogits, error_bin_centres
from af3_core.training.confidence_loss import (
    aligned_errors,
    atom_lddt,
    bin_of,
    confidence_losses,
    distance_errors,
)
from tests.af3_core.training.known import example_for

EXAMPLE = example_for("trypsin_inhibitor", 64)
NOISE = np.random.default_rng(3).standard_normal((64, 24, 3)).astype(np.float32)
SAMPLE = jnp.asarray(EXAMPLE.labels.positions + 1.2 * NOISE)


def moved(positions: jax.Array) -> jax.Array:
    rotation = Rotation.from_rotvec([1.0, 0.2, -0.5]).as_matrix().astype(np.float32)
    shift = jnp.asarray([5.0, 6.0, -70.0]).reshape(1, 1, 3)
    return positions @ jnp.asarray(rotation.T) + shift


def representative_positions(positions: jax.Array) -> np.ndarray:
    rows = EXAMPLE.batch.pseudo_beta.index
    return np.asarray(positions).reshape(-1, 3)[rows].astype(np.float64)


def test_atom_lddt_agrees_with_biotite() -> None:
    labels = EXAMPLE.labels
    token, slot = np.nonzero(labels.resolved)
    atoms = bs.AtomArray(len(token))
    atoms.coord = labels.positions[token, slot]
    atoms.res_id = token
    is_centre = slot == EXAMPLE.batch.residue_center_index[token]
    partners = is_centre & np.asarray(EXAMPLE.batch.tokens.is_protein)[token]
    expected = bs.lddt(
        atoms,
        np.asarray(SAMPLE)[token, slot],
        aggregation="atom",
        partner_mask=partners,
        inclusion_radius=15.0,
        exclude_same_residue=False,
        symmetric=False,
    )
    found, mask = atom_lddt(SAMPLE, EXAMPLE.batch, labels)
    assert np.asarray(mask)[token, slot].all()
    np.testing.assert_allclose(np.asarray(found)[token, slot], expected, atol=1e-5)


def test_distance_errors_are_those_of_scipy() -> None:
    found, mask = distance_errors(SAMPLE, EXAMPLE.batch, EXAMPLE.labels)
    model = representative_positions(SAMPLE)
    known = representative_positions(jnp.asarray(EXAMPLE.labels.positions))
    expected = np.abs(cdist(model, model) - cdist(known, known))
    known_pairs = np.asarray(mask)
    assert known_pairs.sum() == 63**2
    np.testing.assert_allclose(
        np.asarray(found)[known_pairs], expected[known_pairs], atol=2e-3
    )


def test_aligned_errors_are_seen_from_each_frame() -> None:
    labels = EXAMPLE.labels
    found, mask = aligned_errors(SAMPLE, EXAMPLE.batch, labels)
    model, known = np.asarray(SAMPLE, np.float64), labels.positions.astype(np.float64)
    i, j = 12, 40
    first, origin, last = (model.reshape(-1, 3)[a] for a in labels.frame_atoms[i])
    true = [known.reshape(-1, 3)[a] for a in labels.frame_atoms[i]]
    offsets = []
    for (a, b, c), points in (((first, origin, last), SAMPLE), (true, known)):
        # Three orthogonal directions of the plane N, C-alpha, C, by cross products.
        u, v = (a - b) / np.linalg.norm(a - b), (c - b) / np.linalg.norm(c - b)
        x = (u + v) / np.linalg.norm(u + v)
        z = np.cross(u, v) / np.linalg.norm(np.cross(u, v))
        point = representative_positions(jnp.asarray(points))[j] - b
        offsets.append(np.array([point @ x, point @ np.cross(z, x), point @ z]))
    expected = np.linalg.norm(offsets[0] - offsets[1])
    assert np.asarray(mask)[i, j]
    assert float(found[i, j]) == pytest.approx(expected, abs=1e-3)


def test_errors_do_not_depend_on_where_the_sample_lies() -> None:
    for errors in (aligned_errors, distance_errors, atom_lddt):
        here, mask = errors(SAMPLE, EXAMPLE.batch, EXAMPLE.labels)
        there, _ = errors(moved(SAMPLE), EXAMPLE.batch, EXAMPLE.labels)
        np.testing.assert_allclose(here[mask], there[mask], atol=5e-3)


def test_the_truth_has_no_errors() -> None:
    truth = moved(jnp.asarray(EXAMPLE.labels.positions))
    pae, known = aligned_errors(truth, EXAMPLE.batch, EXAMPLE.labels)
    lddt, defined = atom_lddt(truth, EXAMPLE.batch, EXAMPLE.labels)
    assert np.asarray(pae)[np.asarray(known)].max() < 1e-3
    assert np.asarray(lddt)[np.asarray(defined)].min() == 1.0


def test_bins_are_those_whose_centres_the_head_reports() -> None:
    head = ConfidenceHead()
    centres = error_bin_centres(head.max_error, head.num_error_bins)
    end = head.max_error * head.num_error_bins / (head.num_error_bins - 2)
    np.testing.assert_array_equal(bin_of(centres, end, 64), np.arange(64))
    assert int(bin_of(jnp.asarray([500.0]), end, 64)[0]) == 63


def logits_that_say(lddt_bin: int, error_bin: int) -> ConfidenceLogits:
    def sure(shape: tuple[int, ...], index: int) -> jax.Array:
        return jnp.zeros(shape).at[..., index].set(20.0)

    return ConfidenceLogits(
        plddt=sure((64, 24, 50), lddt_bin),
        pae=sure((64, 64, 64), error_bin),
        pde=sure((64, 64, 64), error_bin),
        resolved=sure((64, 24, 2), 1),
    )


def test_the_right_confidence_costs_nothing_and_the_wrong_one_much() -> None:
    truth = jnp.asarray(EXAMPLE.labels.positions)
    for logits, low, high in (
        (logits_that_say(49, 0), 0.0, 0.01),
        (logits_that_say(5, 40), 10.0, 21.0),
    ):
        losses = confidence_losses(logits, truth, EXAMPLE.batch, EXAMPLE.labels, 31.0)
        for value in (losses.plddt, losses.pae, losses.pde):
            assert low <= float(value) <= high


def test_resolved_atoms_are_told_from_missing_ones() -> None:
    labels = EXAMPLE.labels
    half = labels.resolved & (np.arange(64) < 30)[:, None]
    losses = confidence_losses(
        logits_that_say(49, 0),
        jnp.asarray(labels.positions),
        EXAMPLE.batch,
        replace(labels, resolved=half),
        31.0,
    )
    wrong = labels.resolved.sum() - half.sum()
    expected = 20.0 * wrong / EXAMPLE.batch.predicted_atom_mask.sum()
    assert float(losses.resolved) == pytest.approx(expected, rel=1e-3)


def test_ignorance_costs_the_logarithm_of_the_number_of_bins() -> None:
    logits = jax.tree.map(jnp.zeros_like, logits_that_say(0, 0))
    losses = confidence_losses(logits, SAMPLE, EXAMPLE.batch, EXAMPLE.labels, 31.0)
    assert float(losses.plddt) == pytest.approx(np.log(50), rel=1e-5)
    assert float(losses.pae) == pytest.approx(np.log(64), rel=1e-5)
