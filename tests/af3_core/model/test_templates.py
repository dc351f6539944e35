import functools
from collections.abc import Callable
from dataclasses import replace

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from af3_core.model.batch import Templates
from af3_core.model.config import Conventions, DistanceBins
from af3_core.model.templates import (
    TemplateEmbedder,
    backbone_directions,
    backbone_frames,
    one_hot_distances,
)
from tests.af3_core.model.stages import random_array, random_like
from tests.af3_core.model.tiny import FLOAT32, TINY

NUM_TOKENS = 6
PAIR = random_array(9, NUM_TOKENS, NUM_TOKENS, TINY.pair_channels)


def template(seed) -> Templates:
    return Templates(
        residue_type=jax.random.randint(
            jax.random.PRNGKey(seed), (1, NUM_TOKENS), 0, 20
        ),
        atom_mask=jnp.ones((1, NUM_TOKENS, 24), bool),
        atom_positions=10 * random_array(seed, 1, NUM_TOKENS, 24, 3),
    )


def stack(*templates) -> Templates:
    return jax.tree.map(lambda *xs: jnp.concatenate(xs), *templates)


@pytest.fixture(scope="module")
def embed() -> Callable[[Templates], jax.Array]:
    return embedder(TINY.templates)


def embedder(config) -> Callable[[Templates], jax.Array]:
    """Embeds templates of four tokens of one chain and two of another."""

    def module(templates) -> jax.Array:
        mask = jnp.ones(NUM_TOKENS, bool)
        asym_id = jnp.array([1, 1, 1, 1, 2, 2])
        embedder = TemplateEmbedder(config, Conventions(), FLOAT32, name="templates")
        return embedder(templates, PAIR, mask, asym_id) - PAIR

    transformed = hk.without_apply_rng(hk.transform(module))
    shapes = jax.eval_shape(transformed.init, jax.random.PRNGKey(0), template(0))
    params = random_like(shapes)
    return jax.jit(functools.partial(transformed.apply, params))


def test_the_order_of_templates_does_not_matter(embed) -> None:
    a, b = template(1), template(2)
    np.testing.assert_allclose(
        embed(stack(a, b, b, a)), embed(stack(a, a, b, b)), atol=1e-5
    )


def test_a_template_given_twice_weighs_like_once(embed) -> None:
    a = template(1)
    np.testing.assert_allclose(embed(stack(a, a, a)), embed(a), atol=1e-5)


def test_absent_templates_count_in_the_mean(embed) -> None:
    a = template(1)
    absent = jax.tree.map(jnp.zeros_like, a)
    assert np.abs(embed(stack(a, absent)) - embed(a)).max() > 1e-3


def test_chains_do_not_see_each_other_in_a_template() -> None:
    features_only = embedder(replace(TINY.templates, num_blocks=0))
    a = template(1)
    shift = jnp.where(jnp.arange(NUM_TOKENS) < 4, 0.0, 50.0)[None, :, None, None]
    moved = replace(a, atom_positions=a.atom_positions + shift)
    # The vector from a frame to itself is rounding.
    others = ~np.eye(NUM_TOKENS, dtype=bool)
    np.testing.assert_allclose(
        features_only(moved)[others], features_only(a)[others], atol=1e-4
    )


def test_directions_are_unit_vectors_that_no_rotation_changes() -> None:
    positions = np.asarray(10 * random_array(0, NUM_TOKENS, 24, 3))
    slots = jnp.tile(jnp.array([[0, 1, 2]]), (NUM_TOKENS, 1))
    rotation = Rotation.random(rng=1).as_matrix().astype(np.float32)
    ours, rotated = (
        backbone_directions(frames, frames)
        for x in (positions, positions @ rotation.T + 3)
        if (frames := backbone_frames(jnp.asarray(x), slots))
    )
    others = ~np.eye(NUM_TOKENS, dtype=bool)
    np.testing.assert_allclose(ours[others], rotated[others], atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(ours[others], axis=-1), 1, atol=1e-5)


def test_each_distance_falls_in_one_bin_at_most() -> None:
    positions = jnp.array([[0.0, 0, 0], [3.0, 0, 0], [4.0, 0, 0], [99.0, 0, 0]])
    bins = one_hot_distances(positions, positions, DistanceBins())[0]
    np.testing.assert_array_equal(bins.sum(axis=-1), [0, 0, 1, 1])
    assert np.argmax(bins[2]) == 0 and np.argmax(bins[3]) == 38
