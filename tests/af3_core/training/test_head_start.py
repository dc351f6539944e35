import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from af3_core.training.head_start import HEADS, moments, standardise_heads
from af3_core.training.settings import Training
from af3_core.training.step import Setup
from tests.af3_core.training.known import SMALL, example_for, small_parameters

pytestmark = pytest.mark.slow

SETUP = Setup(SMALL, Training(seed=3))
EXAMPLES = [example_for(name, 46) for name in ("villin_headpiece", "crambin")]


def untaught() -> dict:
    params = small_parameters()
    heads = {f"confidence/{head}" for head in HEADS}
    return {
        path: {k: jnp.zeros_like(v) for k, v in leaves.items()}
        if path in heads
        else leaves
        for path, leaves in params.items()
    }


def test_what_the_heads_read_has_mean_nought_and_deviation_one() -> None:
    params = standardise_heads(untaught(), EXAMPLES, SETUP)
    measure = jax.jit(functools.partial(moments, setup=SETUP))
    keys = [jax.random.fold_in(jax.random.PRNGKey(3), index) for index in (0, 1)]
    found = [measure(params, *pair) for pair in zip(EXAMPLES, keys, strict=True)]
    sums = jax.tree.map(jnp.add, *found)
    for head in HEADS:
        number, total, squares = sums[head]
        assert number == {"plddt": 82, "resolved": 82}.get(head, 36**2 + 46**2)
        np.testing.assert_allclose(total / number, 0, atol=1e-3)
        np.testing.assert_allclose(squares / number, 1, atol=0.01)


def test_heads_that_have_learnt_are_left_alone() -> None:
    params = small_parameters()
    assert standardise_heads(params, EXAMPLES, SETUP) is params
