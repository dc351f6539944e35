"""Triangle multiplication: the definition, and every backend against it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import TriangleWeights, triangle_multiplication
from tests.kernels.examples import assert_close, bernoulli, normal

DIRECTIONS = pytest.mark.parametrize("outgoing", (True, False))


def weights(num_channels: int = 16, num_hidden: int = 24) -> TriangleWeights:
    """Weights that keep unit variance, so that a wrong step shows."""
    c, h = num_channels, num_hidden
    return TriangleWeights(
        input_scale=1 + normal(c, seed=1) / 4,
        input_offset=normal(c, seed=2) / 4,
        project=normal(c, h, 2, seed=3) / c**0.5,
        project_gate=normal(c, h, 2, seed=4) / c**0.5,
        output_scale=1 + normal(h, seed=5) / 4,
        output_offset=normal(h, seed=6) / 4,
        output=normal(h, c, seed=7) / h**0.5,
        output_gate=normal(c, c, seed=8) / c**0.5,
    )


def edges(
    num_tokens: int = 13, num_channels: int = 16, *batch: int, dtype: str = "float32"
) -> tuple[jax.Array, jax.Array]:
    """A pair representation and a mask with holes that is not symmetric."""
    shape = (*batch, num_tokens, num_tokens)
    return normal(*shape, num_channels, dtype=dtype), bernoulli(*shape)


def definition(
    pair: jax.Array, mask: jax.Array, w: TriangleWeights, **how
) -> np.ndarray:
    return np.asarray(triangle_multiplication(pair, mask, w, backend="naive", **how))


@DIRECTIONS
def test_the_definition_is_algorithm_12_and_13_with_af3s_order_of_a_and_b(
    outgoing,
) -> None:
    pair, mask = edges(5)
    w = jax.tree.map(lambda x: np.asarray(x, np.float64), weights())

    def norm(x: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
        return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * scale + offset

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    z, is_edge = np.float64(pair), np.asarray(mask)
    expected = z.copy()
    x = np.array([[norm(e, w.input_scale, w.input_offset) for e in row] for row in z])
    a, b = (
        sigmoid(x @ w.project_gate[..., s])
        * (x @ w.project[..., s])
        * is_edge[..., None]
        for s in (0, 1)
    )
    for i in range(5):
        for j in range(5):
            if outgoing:
                product = sum(a[i, k] * b[j, k] for k in range(5))
            else:
                product = sum(a[k, j] * b[k, i] for k in range(5))
            update = norm(product, w.output_scale, w.output_offset) @ w.output
            expected[i, j] += update * sigmoid(x[i, j] @ w.output_gate)
    found = definition(pair, mask, weights(), outgoing=outgoing)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@DIRECTIONS
@pytest.mark.parametrize("rows_at_once", (None, 5, 7, 1))
@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
def test_xla_agrees_with_the_definition(dtype, rows_at_once, outgoing) -> None:
    pair, mask = edges(dtype=dtype)
    found = triangle_multiplication(
        pair,
        mask,
        weights(),
        outgoing=outgoing,
        rows_at_once=rows_at_once,
        backend="xla",
    )
    expected = definition(pair, mask, weights(), outgoing=outgoing)
    assert_close(np.asarray(found), expected)


@DIRECTIONS
@pytest.mark.parametrize("backend", ("naive", "xla"))
def test_a_batch_is_one_after_another(backend, outgoing) -> None:
    pair, mask = edges(7, 16, 2, 3)
    how = {"outgoing": outgoing, "backend": backend}
    together = triangle_multiplication(
        pair, mask, weights(), rows_at_once=3 if backend == "xla" else None, **how
    )
    alone = triangle_multiplication(pair[1, 2], mask[1, 2], weights(), **how)
    assert_close(np.asarray(together[1, 2]), np.asarray(alone))


@DIRECTIONS
def test_masked_edges_enter_no_product(outgoing) -> None:
    pair, mask = edges()
    other = jnp.where(mask[..., None], pair, 5.0)
    how = {"outgoing": outgoing, "backend": "xla"}
    before = triangle_multiplication(pair, mask, weights(), **how)
    after = triangle_multiplication(other, mask, weights(), **how)
    kept = np.asarray(mask)
    assert_close(np.asarray(after)[kept], np.asarray(before)[kept])


@pytest.mark.parametrize(
    ("change", "message"),
    (
        ({"weights": weights(num_channels=8)}, r"weights.input_scale .* \[16\]"),
        ({"rows_at_once": 0}, "rows_at_once must be at least 1, got 0"),
    ),
)
def test_what_does_not_fit_is_named(change, message) -> None:
    pair, mask = edges(5)
    arguments = {"pair": pair, "mask": mask, "weights": weights(), "outgoing": True}
    with pytest.raises(ValueError, match=message):
        triangle_multiplication(**(arguments | change))
