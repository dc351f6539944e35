import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import log_softmax

from af3_core.model.config import DistogramHead
from af3_core.model.heads import Distogram
from af3_core.training.distogram_loss import distogram_loss
from tests.af3_core.training.known import example_for

EXAMPLE = example_for("crambin", 48)
EDGES = np.linspace(2.3125, 21.6875, 63).astype(np.float32)


def distogram(logits: np.ndarray) -> Distogram:
    pairs = jnp.zeros(logits.shape[:2])
    return Distogram(pairs, jnp.asarray(EDGES), jnp.asarray(logits))


def test_cross_entropy_is_over_pairs_of_representative_atoms() -> None:
    logits = np.random.default_rng(0).standard_normal((48, 48, 64)).astype(np.float32)
    flat = EXAMPLE.labels.positions.reshape(-1, 3)[EXAMPLE.batch.pseudo_beta.index[:46]]
    target = np.digitize(cdist(flat, flat), EDGES)
    picked = np.take_along_axis(
        log_softmax(logits[:46, :46], axis=-1), target[..., None], axis=-1
    )
    found = distogram_loss(distogram(logits), EXAMPLE.batch, EXAMPLE.labels)
    assert float(found) == pytest.approx(-picked.mean(), rel=1e-4)


def test_edges_are_those_of_the_head() -> None:
    head = DistogramHead()
    edges = np.linspace(head.first_break, head.last_break, head.num_bins - 1)
    np.testing.assert_allclose(EDGES, edges, rtol=1e-6)
    np.testing.assert_allclose(np.diff(EDGES), 5 / 16, rtol=1e-4)


def test_knowing_nothing_costs_the_logarithm_of_64() -> None:
    zeros = distogram(np.zeros((48, 48, 64), np.float32))
    found = distogram_loss(zeros, EXAMPLE.batch, EXAMPLE.labels)
    assert float(found) == pytest.approx(np.log(64), rel=1e-5)
