import jax
import jax.numpy as jnp
import numpy as np
import pytest

from af3_core.model.config import DistogramHead
from af3_core.model.heads import (
    Chains,
    Distogram,
    chain_sizes,
    error_bin_centres,
    expect,
    expect_tm,
    predict_distogram,
    tm_scales,
)
from tests.af3_core.model.stages import random_array, run
from tests.af3_core.model.tiny import FLOAT32, small_batch


def test_error_bins_are_half_an_angstrom_wide() -> None:
    centres = error_bin_centres(31.0, 64)
    assert (centres[0], centres[-1]) == (0.25, 31.75)
    np.testing.assert_allclose(np.diff(centres), 0.5)


def test_a_certain_error_is_expected() -> None:
    logits = jnp.array([0.0, 100.0, 0.0])
    assert expect(logits, jnp.array([1.0, 2.0, 3.0])) == pytest.approx(2.0)


def scales(asym_id, mask) -> tuple[jax.Array, jax.Array]:
    chains = Chains(asym_id, mask, chain_sizes(asym_id, mask))
    return tm_scales(chains, chains)


def test_tm_scales_count_a_chain_once_within_and_both_between() -> None:
    asym_id = jnp.repeat(jnp.array([1, 2, 0]), jnp.array([30, 50, 4]))
    whole, interface = scales(asym_id, asym_id > 0)

    def d0(n) -> float:
        return 1.24 * (n - 15) ** (1 / 3) - 1.8

    assert whole[0, 0] == pytest.approx(d0(80), rel=1e-5)
    assert interface[0, 1] == pytest.approx(d0(30), rel=1e-5)
    assert interface[40, 41] == pytest.approx(d0(50), rel=1e-5)
    assert interface[0, 40] == pytest.approx(d0(80), rel=1e-5)


def test_small_complexes_have_the_scale_of_nineteen_residues() -> None:
    whole, _ = scales(jnp.ones(5, jnp.int32), jnp.ones(5, bool))
    assert whole[0, 0] == pytest.approx(1.24 * 4 ** (1 / 3) - 1.8, rel=1e-5)


def test_no_error_is_a_full_tm_term() -> None:
    logits = jnp.full((1, 1, 2), -1e9).at[..., 0].set(0.0)
    term = expect_tm(logits, jnp.array([0.0, 5.0]), jnp.ones((1, 1)))
    assert term[0, 0] == pytest.approx(1.0)


def test_the_distogram_is_symmetric_and_contacts_are_probabilities() -> None:
    batch = small_batch()
    n = batch.tokens.mask.shape[0]

    def head(pair) -> Distogram:
        return predict_distogram(batch, pair, DistogramHead(), FLOAT32)

    distogram = run(head, random_array(0, n, n, 8))
    contacts = np.asarray(distogram.contact_probs)
    np.testing.assert_allclose(contacts, contacts.T, atol=1e-6)
    assert 0 <= contacts.min() and contacts.max() <= 1 + 1e-6
    assert (contacts[~np.asarray(batch.tokens.mask)] == 0).all()
    assert len(distogram.bin_edges) == 63
