from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from af3_core.model.batch import Msa
from af3_core.model.config import Conventions
from af3_core.model.msa_module import OuterProductMean, embed_rows, shuffle_rows
from tests.af3_core.model.stages import random_array, run
from tests.af3_core.model.tiny import FLOAT32

KEY = jax.random.PRNGKey(3)


def alignment(num_rows, num_real) -> Msa:
    """Each row's residue class is its index."""
    rows = np.repeat(np.arange(num_rows, dtype=np.int8)[:, None], 4, axis=1)
    mask = np.repeat(np.arange(num_rows)[:, None] < num_real, 4, axis=1)
    zeros = np.zeros((4,), np.float32)
    return Msa(
        rows, mask, rows, np.zeros((4, 31), np.float32), zeros, np.array(num_real)
    )


def test_rows_are_shuffled_alike_whatever_the_padding() -> None:
    short = shuffle_rows(alignment(20, 20), KEY, 20)
    long = shuffle_rows(alignment(90, 20), KEY, 20)
    np.testing.assert_array_equal(short.rows, long.rows)
    np.testing.assert_array_equal(short.deletion_matrix, long.deletion_matrix)
    assert long.mask.all()


def test_rows_are_drawn_without_replacement_and_in_another_order() -> None:
    drawn = shuffle_rows(alignment(20, 20), KEY, 20).rows[:, 0]
    assert sorted(drawn) == list(range(20))
    assert list(drawn) != list(range(20))


def test_rows_are_drawn_in_the_published_order() -> None:
    # From the Gumbel noise of fold_in(key, row), highest first.
    noise = [jax.random.gumbel(jax.random.fold_in(KEY, i)) for i in range(6)]
    drawn = shuffle_rows(alignment(6, 6), KEY, 3).rows[:, 0]
    np.testing.assert_array_equal(drawn, np.argsort(noise)[::-1][:3])


def test_deletions_are_counted_on_a_bounded_scale() -> None:
    msa = replace(alignment(3, 3), deletion_matrix=np.array([[0, 1, 3, 127]] * 3))
    features = embed_rows(msa, np.zeros(4, bool), Conventions())
    assert features.shape == (3, 4, 34)
    np.testing.assert_array_equal(features[0, :, 32], [0, 1, 1, 1])
    np.testing.assert_allclose(
        features[0, :, 33], [0, 0.204833, 0.5, 0.984965], atol=1e-5
    )


def test_the_outer_product_mean_does_not_see_masked_rows() -> None:
    pair = random_array(1, 3, 3, 6)

    def mean(msa, mask) -> jax.Array:
        return OuterProductMean(4, FLOAT32, name="mean")(msa, mask, pair) - pair

    msa, mask = random_array(0, 5, 3, 8), jnp.ones((5, 3), bool).at[3:].set(False)
    np.testing.assert_allclose(
        run(mean, msa, mask), run(mean, msa[:3], mask[:3]), atol=1e-5
    )
