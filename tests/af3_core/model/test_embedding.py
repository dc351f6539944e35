from dataclasses import replace

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from af3_core.model.batch import Bonds, Gather
from af3_core.model.embedding import (
    RelativePositionEncoding,
    encode_relative_positions,
    token_bond_matrix,
)
from tests.af3_core.model.tiny import FLOAT32, TINY, small_batch

TOKENS = small_batch().tokens


def test_looking_rows_up_is_multiplying_with_one_hots() -> None:
    def encode(tokens) -> jax.Array:
        encode = RelativePositionEncoding(TINY, FLOAT32, name="relative")
        return encode(tokens, tokens)

    encoding = hk.without_apply_rng(hk.transform(encode))
    params = encoding.init(jax.random.PRNGKey(0), TOKENS)
    one_hots = encode_relative_positions(
        TOKENS, TOKENS, TINY.max_relative_index, TINY.max_relative_chain
    )
    expected = one_hots @ params["relative"]["weights"]
    np.testing.assert_allclose(encoding.apply(params, TOKENS), expected, atol=1e-6)


def test_relative_positions_have_the_published_channels() -> None:
    assert encode_relative_positions(TOKENS, TOKENS, 32, 2).shape == (32, 32, 139)


def test_offsets_are_clipped_within_a_chain_and_set_apart_between_chains() -> None:
    tokens = replace(TOKENS, residue_index=100 * jnp.arange(32))
    encoded = encode_relative_positions(tokens, tokens, 32, 2)
    classes = np.argmax(encoded[..., :66], axis=-1)
    assert classes[0, 0] == 32
    assert (classes[1, 0], classes[0, 1]) == (64, 0)
    assert classes[0, 12] == 65  # the second peptide


def test_bonds_are_written_once_each_and_padding_nowhere() -> None:
    pairs = np.array([[1, 2], [3, 4], [0, 0], [2, 3]])
    mask = np.array([[True, True], [True, True], [True, True], [True, False]])
    none = Gather(np.zeros((1, 2), int), np.zeros((1, 2), bool))
    matrix = token_bond_matrix(Bonds(none, Gather(pairs, mask)), 5)
    np.testing.assert_array_equal(np.argwhere(matrix), [[1, 2], [3, 4]])
