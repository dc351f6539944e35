import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from af3_core.model.model import apply, embed_inputs, zero_embeddings
from af3_core.training.examples import Example
from af3_core.training.settings import Noise, Training
from af3_core.training.step import Setup, denoise_labels
from tests.af3_core.training.known import SMALL, example_for, small_parameters

pytestmark = pytest.mark.long

LEVELS = (0.01, 4.0, 100.0)
FIXED_ABOVE = 3.0


def given(noise: Noise) -> list[np.ndarray]:
    """What the denoiser was given at each level, from its answer.

    With parameters of zero it answers σ² / (σ² + t²) of it. SI Algorithm 20, line 8.
    """
    params = jax.tree.map(jnp.zeros_like, small_parameters())
    example, setup = example_for("crambin", 48), Setup(SMALL, Training())

    @jax.jit
    def run(params: dict, example: Example, key: jax.Array) -> jax.Array:
        inputs = apply(embed_inputs, params, example.batch, **setup.how)
        embeddings = zero_embeddings(inputs, SMALL)
        levels = jnp.asarray(LEVELS)
        return denoise_labels(params, example, embeddings, key, levels, setup, noise)

    answers = np.asarray(run(params, example, jax.random.PRNGKey(0)), np.float64)
    return [x * (256 + t**2) / 256 for x, t in zip(answers, LEVELS, strict=True)]


@pytest.fixture(scope="module")
def noisy() -> list[np.ndarray]:
    return given(Noise())


def test_labels_are_noised_by_their_level_in_a_pose_of_their_own(
    noisy: list[np.ndarray],
) -> None:
    labels = example_for("crambin", 48).labels
    truth = labels.positions[labels.resolved].astype(np.float64)
    rotations = []
    for positions, level in zip(noisy, LEVELS, strict=True):
        found = positions[labels.resolved]
        assert np.linalg.norm(found.mean(0)) < 5.0 + level  # shifts of about 1 Å
        rotation, distance = Rotation.align_vectors(
            found - found.mean(0), truth - truth.mean(0)
        )
        deviation = distance / np.sqrt(truth.size)
        assert deviation == pytest.approx(level, rel=0.1)
        rotations.append(rotation)
    assert (rotations[0].inv() * rotations[1]).magnitude() > 0.1


def test_slots_without_an_atom_are_not_noised(noisy: list[np.ndarray]) -> None:
    empty = ~np.asarray(example_for("crambin", 48).batch.predicted_atom_mask)
    assert all((positions[empty] == 0.0).all() for positions in noisy)


def test_poses_that_are_fixed_are_those_of_the_file() -> None:
    labels = example_for("crambin", 48).labels
    truth = labels.positions[labels.resolved].astype(np.float64)
    truth -= truth.mean(0)
    free, *fixed = given(Noise(fixed_pose_above=FIXED_ABOVE))
    assert np.abs(free[labels.resolved] - truth).max() > 5.0
    for positions, level in zip(fixed, LEVELS[1:], strict=True):
        difference = positions[labels.resolved] - truth
        assert difference.std() == pytest.approx(level, rel=0.1)
