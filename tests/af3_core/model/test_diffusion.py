from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from af3_core.features.buckets import RELEASE_BUCKETS, bucket_for
from af3_core.model import atoms
from af3_core.model.config import Sampler
from af3_core.model.diffusion import (
    SIGMA_DATA,
    Conditioning,
    Embeddings,
    centre_random_augmentation,
    condition,
    denoise,
    draw_noise,
    noise_schedule,
    random_rotation,
    sample_positions,
)
from af3_core.model.fourier import fourier_constants
from af3_core.model.model import apply
from tests.af3_core.model.stages import random_array
from tests.af3_core.model.tiny import FLOAT32, TINY, random_params, small_batch

KEY = jax.random.PRNGKey(0)
MASK = small_batch().predicted_atom_mask


def test_the_schedule_falls_from_160_to_nearly_nothing() -> None:
    levels = noise_schedule(Sampler())
    assert len(levels) == 201
    assert levels[0] == pytest.approx(160 * SIGMA_DATA, rel=1e-5)
    assert levels[-1] == pytest.approx(0.0004 * SIGMA_DATA, rel=1e-3)
    assert (np.diff(levels) < 0).all()


def test_fourier_constants_are_those_of_the_published_weights() -> None:
    weight, bias = fourier_constants()
    np.testing.assert_allclose(weight[:3], [0.458736, 0.065162, -0.072783], atol=1e-6)
    np.testing.assert_allclose(bias[-3:], [0.101742, 0.953327, 0.807939], atol=1e-6)


def test_rotations_are_rotations() -> None:
    rotation = np.asarray(random_rotation(KEY))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1.0, abs=1e-5)


def test_augmentation_centres_and_keeps_distances() -> None:
    positions = 30 + 10 * random_array(0, *MASK.shape, 3)
    moved = centre_random_augmentation(KEY, positions, MASK)
    before, after = (np.asarray(x)[np.asarray(MASK)] for x in (positions, moved))
    assert np.abs(after.mean(axis=0)).max() < 5  # a shift of about 1 Å
    np.testing.assert_allclose(
        np.linalg.norm(before[1:] - before[0], axis=-1),
        np.linalg.norm(after[1:] - after[0], axis=-1),
        rtol=1e-4,
    )
    assert (moved[~np.asarray(MASK)] == 0).all()


@pytest.mark.parametrize("drawn_tokens", [128, 256, 384])
def test_noise_is_what_alphafold_3_draws_for_its_own_bucket(drawn_tokens) -> None:
    n = min(300, drawn_tokens)
    theirs = jax.random.normal(KEY, (3, drawn_tokens, 24, 3))
    ours = jax.jit(lambda size: draw_noise(KEY, 3, (300, 24), size))(drawn_tokens)
    np.testing.assert_array_equal(ours[:, :n], theirs[:, :n])


def test_noise_may_be_that_of_an_older_release_with_other_buckets() -> None:
    buckets = RELEASE_BUCKETS["3.0.4"]
    drawn = bucket_for(100, buckets)
    theirs = jax.random.normal(KEY, (3, drawn, 24, 3))
    ours = jax.jit(lambda size: draw_noise(KEY, 3, (112, 24), size, buckets))(drawn)
    np.testing.assert_array_equal(ours, theirs[:, :112])
    assert drawn == 256 and bucket_for(100) == 128


def test_noise_of_an_atom_does_not_depend_on_padding() -> None:
    small, large = (draw_noise(KEY, 3, (n, 24), jnp.asarray(128)) for n in (80, 128))
    np.testing.assert_array_equal(small, large[:, :80])


def test_positions_spread_as_the_noise_level_says() -> None:
    # Under a denoiser that answers "all atoms in one place", what is left is noise of
    # the level that was reached, if every step adds and removes the right amount.
    sampler = Sampler(num_steps=12, num_samples=3, noise_scale=1.0, step_scale=1.0)

    mask = jnp.ones((40, 24), bool)

    def sample(key) -> jax.Array:
        return sample_positions(lambda noisy, level: 0 * noisy, mask, key, sampler)

    for positions in np.asarray(jax.jit(sample)(KEY)):
        spread = (positions - positions.mean(axis=(0, 1))).std()
        assert spread == pytest.approx(noise_schedule(sampler)[-1], rel=0.1)


@pytest.fixture(scope="module")
def conditioning() -> Conditioning:
    batch, params = small_batch(), random_params()
    n = MASK.shape[0]
    embeddings = Embeddings(
        random_array(0, n, 63 + TINY.single_channels),
        random_array(1, n, TINY.single_channels),
        random_array(2, n, n, TINY.pair_channels),
    )
    how = {"config": TINY, "runtime": FLOAT32}
    return jax.jit(partial(apply, condition, **how))(params, batch, embeddings)


denoise_tiny = jax.jit(partial(apply, denoise, config=TINY, runtime=FLOAT32))


def test_samples_are_denoised_independently(conditioning) -> None:
    noisy = 10 * random_array(3, 3, *MASK.shape, 3)
    level, order = jnp.float32(20.0), np.array([2, 0, 1])

    def run(x) -> jax.Array:
        return denoise_tiny(random_params(), small_batch(), conditioning, x, level)

    together = run(noisy)
    np.testing.assert_allclose(run(noisy[order]), together[order], atol=1e-4)
    np.testing.assert_allclose(run(noisy[1:2]), together[1:2], atol=1e-4)


def test_atoms_of_a_sample_at_a_time_are_as_of_all(conditioning, monkeypatch) -> None:
    arguments = random_params(), small_batch(), conditioning
    noisy, level = 10 * random_array(3, 3, *MASK.shape, 3), jnp.float32(20.0)
    together = denoise_tiny(*arguments, noisy, level)
    monkeypatch.setattr(atoms, "WINDOWS_AT_ONCE", 1)
    alone = jax.jit(partial(apply, denoise, config=TINY, runtime=FLOAT32))
    np.testing.assert_allclose(alone(*arguments, noisy, level), together, atol=1e-4)


def test_at_little_noise_the_positions_stay(conditioning) -> None:
    noisy = jnp.where(MASK[None, ..., None], 10 * random_array(3, 1, *MASK.shape, 3), 0)
    level = jnp.float32(1e-4)
    denoised = denoise_tiny(random_params(), small_batch(), conditioning, noisy, level)
    np.testing.assert_allclose(denoised, noisy, atol=0.01)
