from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from af3_core.model.config import Pairformer
from af3_core.model.pairformer import (
    PairformerStack,
    TriangleAttention,
    TriangleMultiplication,
)
from tests.af3_core.model.stages import random_array, run
from tests.af3_core.model.tiny import FLOAT32

MASK = jnp.array([True, True, True, True, False])
PAIR_MASK = MASK[:, None] & MASK[None, :]


def triangle_modules() -> list[Callable]:
    modules = []
    for flag in (True, False):
        modules.append(
            lambda p, m, f=flag: TriangleMultiplication(FLOAT32, outgoing=f, name="t")(
                p, m
            )
        )
        modules.append(
            lambda p, m, f=flag: TriangleAttention(2, FLOAT32, starting=f, name="t")(
                p, m
            )
        )
    return modules


@pytest.mark.parametrize("module", triangle_modules())
def test_triangle_updates_do_not_see_padding(module) -> None:
    pair = random_array(0, 5, 5, 8)
    spoilt = jnp.where(PAIR_MASK[..., None], pair, 100.0)
    ours, other = (run(module, x, PAIR_MASK)[:4, :4] for x in (pair, spoilt))
    np.testing.assert_allclose(ours, other, atol=1e-5)


@pytest.mark.parametrize("module", triangle_modules())
def test_triangle_updates_follow_a_permutation_of_tokens(module) -> None:
    pair, order = random_array(0, 5, 5, 8), np.array([3, 0, 2, 1, 4])
    permuted = run(module, pair[order][:, order], PAIR_MASK)[:4, :4]
    expected = run(module, pair, PAIR_MASK)[order][:, order][:4, :4]
    np.testing.assert_allclose(permuted, expected, atol=1e-5)


def test_outgoing_and_incoming_edges_of_the_transpose_differ() -> None:
    # a and b swap roles between the two, so one is not the transpose of the other.
    pair = random_array(0, 5, 5, 8)

    def update(pair, mask, outgoing) -> jax.Array:
        module = TriangleMultiplication(FLOAT32, outgoing=outgoing, name="t")
        return module(pair, mask) - pair

    outgoing, incoming = (
        run(lambda p, m, f=flag: update(p, m, f), x, PAIR_MASK)
        for flag, x in ((True, pair), (False, jnp.swapaxes(pair, 0, 1)))
    )
    assert np.abs(outgoing - incoming).max() > 0.01


def test_the_pairformer_does_not_see_padding() -> None:
    config = Pairformer(num_blocks=2, num_pair_heads=2, num_single_heads=2)
    single, pair = random_array(0, 5, 6), random_array(1, 5, 5, 8)

    def stack(single, pair, mask) -> tuple:
        return PairformerStack(config, FLOAT32, name="pairformer")(single, pair, mask)

    spoilt = (
        jnp.where(MASK[:, None], single, 9.0),
        jnp.where(PAIR_MASK[..., None], pair, -9.0),
    )
    for ours, other in zip(
        run(stack, single, pair, MASK), run(stack, *spoilt, MASK), strict=True
    ):
        real = (slice(4),) * (ours.ndim - 1)
        np.testing.assert_allclose(ours[real], other[real], atol=1e-4)
