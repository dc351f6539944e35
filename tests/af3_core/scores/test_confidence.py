"""AF3's confidences: against samples of the real weights, and by definition."""

import json
from dataclasses import replace

import numpy as np
import pytest

from af3_core.contracts import PREDICTIONS
from af3_core.scores import confidence
from af3_core.scores.confidence import (
    RawConfidence,
    chain_iptm,
    chain_pair_extremes,
    chain_pair_iptm,
    compute_confidence,
    has_clash,
    prediction_columns,
    quantise_contact_probs,
    quantise_pae,
    ranking_score,
    tm_score,
)
from af3_core.structures.structure import moved, select
from tests.reference_data import need_reference
from tests.structures import dimer, protein, real_complex

TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def real_samples() -> list[tuple]:
    """Structure, token arrays and AF3's own numbers of five samples of 5TGY."""
    real = need_reference("real_5tgy")
    arrays = dict(np.load(real / "arrays.npz"))
    samples = json.loads((real / "metadata.json").read_text())["samples"]
    return [_real_sample(arrays, i, sample) for i, sample in enumerate(samples)]


def _real_sample(arrays, i, expected) -> tuple:
    structure = real_complex(arrays, i)
    asym_id = np.where(np.array(expected["token_chain_ids"]) == "P", 1, 2)
    # Zinc sits between two nitrogens in a line: the only token without a frame.
    has_frame = np.ones(len(asym_id), bool)
    has_frame[-1] = False
    taps = {k: arrays[f"sample{i}.{k}"] for k in ("full_pae", "full_pde")}
    return structure, asym_id, has_frame, taps, expected


def test_chain_pair_errors_equal_those_of_the_real_weights(real_samples) -> None:
    for _, asym_id, has_frame, taps, expected in real_samples:
        pae_min, _ = chain_pair_extremes(taps["full_pae"], asym_id, has_frame)
        every = np.ones_like(has_frame)
        pde_min, pde_mean = chain_pair_extremes(taps["full_pde"], asym_id, every)
        for name, found in [
            ("chain_pair_pae_min", pae_min),
            ("chain_pair_pde_min", pde_min),
            ("chain_pair_pde_mean", pde_mean),
        ]:
            np.testing.assert_allclose(found, expected[name], atol=TOLERANCE)


def test_ranking_equals_that_of_the_real_weights(real_samples) -> None:
    for structure, _, _, _, expected in real_samples:
        clash = has_clash(structure)
        disordered = confidence.fraction_disordered(structure)
        assert (clash, disordered) == (
            expected["has_clash"],
            expected["fraction_disordered"],
        )
        score = ranking_score(expected["ptm"], expected["iptm"], disordered, clash)
        assert score == pytest.approx(expected["ranking_score"], abs=TOLERANCE)


def test_chain_iptm_equals_that_of_the_real_weights(real_samples) -> None:
    for *_, expected in real_samples:
        found = chain_iptm(np.array(expected["chain_pair_iptm"]))
        np.testing.assert_allclose(found, expected["iptm_xchain"], atol=TOLERANCE)


def _raw(num_tokens, num_atoms, seed=0) -> RawConfidence:
    random = np.random.default_rng(seed)
    pairs = random.uniform(0.05, 0.95, (5, num_tokens, num_tokens))
    return RawConfidence(
        pae=30 * pairs[0],
        pde=30 * pairs[1],
        tm_adjusted_global=pairs[2],
        tm_adjusted_interface=pairs[3],
        contact_probs=pairs[4],
        atom_plddt=random.uniform(0, 100, num_atoms),
    )


def test_tm_score_is_the_best_row_mean_over_tokens_with_frames() -> None:
    terms = np.array([[0.9, 0.9], [0.2, 0.4]])
    assert tm_score(terms, np.array([True, True])) == pytest.approx(0.9)
    assert tm_score(terms, np.array([False, True])) == pytest.approx(0.3)
    assert np.isnan(tm_score(terms, np.array([False, False])))


def test_pair_iptm_holds_the_own_ptm_on_its_diagonal() -> None:
    raw, asym_id = _raw(6, 1), np.array([1, 1, 1, 1, 2, 2])
    frames = np.array([True] * 4 + [False] * 2)
    pairs = chain_pair_iptm(raw.tm_adjusted_interface, asym_id, frames)
    own = tm_score(raw.tm_adjusted_interface[:4, :4], frames[:4])
    between = raw.tm_adjusted_interface[:4, 4:].mean(axis=-1).max()
    assert pairs[0, 0] == pytest.approx(own)
    assert pairs[0, 1] == pairs[1, 0] == pytest.approx(between)
    assert np.isnan(pairs[1, 1])


def test_chain_iptm_leaves_out_what_is_not_defined() -> None:
    pairs = np.array([[0.9, 0.4, np.nan], [0.4, 0.8, 0.2], [np.nan, 0.2, np.nan]])
    np.testing.assert_allclose(chain_iptm(pairs), [0.4, 0.3, 0.2])
    assert np.isnan(chain_iptm(np.array([[0.7]]))).all()


def test_an_ion_has_no_row_in_the_aligned_errors() -> None:
    errors = np.arange(9.0).reshape(3, 3)
    frames, asym_id = np.array([True, True, False]), np.array([1, 1, 2])
    least, mean = chain_pair_extremes(errors, asym_id, frames)
    np.testing.assert_array_equal(least, [[0, 2], [np.nan, np.nan]])
    np.testing.assert_array_equal(mean, [[2, 3.5], [np.nan, np.nan]])


def test_a_single_chain_is_ranked_by_its_ptm() -> None:
    structure = protein("1vii")
    raw = _raw(36, structure.num_atoms)
    found = compute_confidence(raw, structure, np.ones(36, int), np.ones(36, bool))
    assert np.isnan(found.iptm) and np.isnan(found.chain_iptm).all()
    expected = found.ptm + 0.5 * found.fraction_disordered
    assert found.ranking_score == pytest.approx(expected)


def test_overlapping_chains_clash_and_lose_a_hundred() -> None:
    structure, raw = dimer([0.3, 0.3, 0.3]), _raw(72, 2 * 295)
    asym_id = np.repeat([1, 2], 36)
    found = compute_confidence(raw, structure, asym_id, np.ones(72, bool))
    assert found.has_clash
    assert found.ranking_score < -98


def test_neighbouring_chains_do_not_clash() -> None:
    assert not has_clash(dimer([60.0, 0.0, 0.0]))


def test_only_polymer_atoms_clash() -> None:
    structure = dimer([0.3, 0.3, 0.3])
    ligand = np.where(structure.chain_id == "B", "ligand", "protein")
    assert not has_clash(replace(structure, kind=ligand))
    assert not has_clash(select(structure, np.zeros(structure.num_atoms, bool)))


def test_consecutive_residues_may_touch() -> None:
    structure = protein("1vii")
    near = moved(structure, np.zeros((structure.num_atoms, 3)))
    assert has_clash(near)
    dipeptide = select(near, near.residue_id <= near.residue_id[0] + 1)
    assert not has_clash(dipeptide)


def test_outputs_that_overflowed_are_refused() -> None:
    structure = protein("1vii")
    raw = _raw(36, structure.num_atoms)
    raw.pae[3, 4] = np.inf
    with pytest.raises(ValueError, match="1 of 1296 values of pae"):
        compute_confidence(raw, structure, np.ones(36, int), np.ones(36, bool))


def test_coordinates_that_are_not_numbers_are_refused() -> None:
    structure = protein("1vii")
    positions = structure.positions.copy()
    positions[5, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 295 atoms .*MET1/CG"):
        compute_confidence(
            _raw(36, structure.num_atoms),
            moved(structure, positions),
            np.ones(36, int),
            np.ones(36, bool),
        )


def test_integers_hold_what_the_json_would_show() -> None:
    pae = np.array([[0.04, 0.05], [31.249, 120.0]])
    assert quantise_pae(pae).tolist() == [[0, 1], [312, 999]]
    probs = np.array([[0.004, 0.005], [0.994, 1.0]])
    assert quantise_contact_probs(probs).tolist() == [[0, 1], [99, 100]]


def test_columns_fit_the_contract() -> None:
    structure = protein("1vii")
    found = compute_confidence(
        _raw(36, structure.num_atoms), structure, np.ones(36, int), np.ones(36, bool)
    )
    row = prediction_columns(found) | {
        "job_id": "0" * 16,
        "seed": 1,
        "sample": 0,
        "positions": structure.positions.ravel().tolist(),
        "provenance": "{}",
    }
    PREDICTIONS.check(PREDICTIONS.table([row]), where="memory")
