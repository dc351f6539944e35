import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from af3_core.model.batch import Gather
from af3_core.model.primitives import (
    LayerNorm,
    Linear,
    gather,
    map_rows,
    mean_where,
    update_rows,
)
from tests.af3_core.model.stages import random_array, run


def test_gather_moves_values_and_leaves_zeros_where_there_is_no_source() -> None:
    layout = Gather(np.array([[3, 0]]), np.array([[True, False]]))
    x = jnp.arange(1.0, 9.0).reshape(2, 2, 2)
    np.testing.assert_array_equal(
        gather(layout, x, num_axes=2), [[[7.0, 8.0], [0.0, 0.0]]]
    )


def test_gather_does_not_read_what_is_masked() -> None:
    layout = Gather(np.array([0]), np.array([False]))
    assert gather(layout, jnp.array([jnp.nan]))[0] == 0.0


def test_mean_where_ignores_masked_entries_and_survives_none() -> None:
    mask = jnp.array([[True, True], [False, False]])
    x = jnp.array([[1.0, 3.0], [5.0, 7.0]])
    np.testing.assert_allclose(mean_where(mask, x, axis=1), [2.0, 0.0])


def test_mean_where_counts_a_broadcast_mask_for_every_entry() -> None:
    mask = jnp.array([[True], [True]])
    assert mean_where(mask, jnp.ones((2, 5)), axis=(0, 1)) == pytest.approx(1.0)


@pytest.mark.parametrize("chunk", [1, 3, 7, 8])
def test_rows_in_chunks_are_the_rows_at_once(chunk) -> None:
    x = random_array(0, 7, 5)

    def chunked(x) -> jax.Array:
        return map_rows(Linear(3, name="linear"), chunk, x)

    def whole(x) -> jax.Array:
        return Linear(3, name="linear")(x)

    np.testing.assert_allclose(run(chunked, x), run(whole, x), rtol=1e-6)


def test_layer_norm_of_bfloat16_is_computed_in_float32() -> None:
    x = (1000 + jnp.arange(64.0)).astype(jnp.bfloat16)
    normed = run(
        lambda x: LayerNorm(name="norm", use_scale=False, use_offset=False)(x), x
    )
    expected = np.asarray(x, np.float32)
    expected = (expected - expected.mean()) / np.sqrt(expected.var() + 1e-5)
    assert normed.dtype == jnp.bfloat16
    np.testing.assert_allclose(normed.astype(jnp.float32), expected, rtol=1e-2)


@pytest.mark.parametrize("output_first", [False, True])
def test_linear_maps_onto_several_axes(output_first) -> None:
    def linear(x) -> jax.Array:
        return Linear((2, 3), name="linear", use_bias=True, output_first=output_first)(
            x
        )

    assert run(linear, jnp.ones((4, 5))).shape == (4, 2, 3)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("used", "updated"), [(0, 0), (1, 4), (6, 8), (10, 10)])
def test_chunks_of_padding_stay_as_they_are(axis: int, used: int, updated: int) -> None:
    x = jnp.arange(60.0).reshape(10, 6) if axis == 0 else jnp.ones((6, 10))

    def update(x: jax.Array, used: jax.Array) -> jax.Array:
        function = hk.without_apply_rng(
            hk.transform(
                lambda x: update_rows(lambda y: y + 1, 4, x, axis=axis, used=used)
            )
        )
        return function.apply({}, x)

    grown = np.moveaxis(np.asarray(jax.jit(update)(x, jnp.int32(used)) - x), axis, 0)
    np.testing.assert_array_equal(grown[:updated], 1.0)
    np.testing.assert_array_equal(grown[updated:], 0.0)
