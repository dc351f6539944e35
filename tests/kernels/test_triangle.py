"""Triangle multiplication: the definition, and every backend against it."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import (
    Device,
    TriangleWeights,
    lowering_for,
    triangle_multiplication,
    triangle_triton,
)
from kernels.launch import Launch
from kernels.spec import triangle_spec_of
from kernels.triangle import Side, update_rows
from kernels.triangle_triton import (
    TILES,
    plan_project,
    plan_update,
    project_arrays,
    update_arrays,
)
from tests.kernels.examples import (
    A100,
    Interpret,
    assert_close,
    bernoulli,
    normal,
)

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


def interpreted(
    interpret: Interpret,
    pair: jax.Array,
    mask: jax.Array,
    w: TriangleWeights,
    *,
    outgoing: bool,
    rows_at_once: int | None = None,
    device: Device = A100,
) -> np.ndarray:
    """Both kernels, run by Triton's interpreter, around JAX's product."""
    w, rows = w.cast(pair.dtype), rows_at_once or pair.shape[-2]
    how = {"outgoing": outgoing, "rows_at_once": rows}
    spec = triangle_spec_of(pair, w, **how, device=device)

    def run(kernel: str, launch: Launch, arrays: dict, name: str, *shape: int) -> Any:
        given = {name: np.asarray(x) for name, x in arrays.items()}
        # NaN where a kernel writes nothing.
        outputs = {name: np.full(shape, np.nan, pair.dtype)}
        numbers = launch.scalars | launch.constants
        filled = interpret(
            "kernels.edges", kernel, launch.grid, given, outputs, numbers
        )
        return jnp.asarray(filled[name])

    def project(edges: jax.Array, mask: jax.Array, side: Side) -> jax.Array:
        launch, arrays = (
            plan_project(spec, mask.size),
            project_arrays(edges, mask, w, side),
        )
        shape = (spec.num_hidden, *mask.shape)
        return run("project_edges", launch, arrays, "projected_ptr", *shape)

    def finish(product: jax.Array, edges: jax.Array) -> jax.Array:
        launch = plan_update(spec, math.prod(edges.shape[:-1]))
        arrays = update_arrays(edges, product, w)
        return run("update_edges", launch, arrays, "updated_ptr", *edges.shape)

    with jax.disable_jit():
        return np.asarray(update_rows(project, finish, pair, mask, w, **how))


@DIRECTIONS
@pytest.mark.parametrize("dtype", ("bfloat16", "float16"))
@pytest.mark.parametrize(
    ("num_tokens", "num_channels", "num_hidden"),
    ((12, 128, 128), (12, 64, 64), (1, 16, 16), (13, 24, 40)),
    ids=("pair", "template", "one_token", "awkward"),
)
def test_the_kernels_agree_with_the_definition(
    num_tokens, num_channels, num_hidden, dtype, outgoing, interpret
) -> None:
    pair, mask = edges(num_tokens, num_channels, dtype=dtype)
    w = weights(num_channels, num_hidden)
    found = interpreted(interpret, pair, mask, w, outgoing=outgoing)
    assert_close(found, definition(pair, mask, w, outgoing=outgoing))


@DIRECTIONS
def test_the_kernels_take_some_rows_at_a_time(outgoing, interpret) -> None:
    pair, mask = edges(9, 16, dtype="bfloat16")
    how = {"outgoing": outgoing, "rows_at_once": 4}
    found = interpreted(interpret, pair, mask, weights(), **how)
    assert_close(found, definition(pair, mask, weights(), outgoing=outgoing))


@DIRECTIONS
def test_the_kernels_take_a_batch(outgoing, interpret) -> None:
    pair, mask = edges(7, 16, 2, 3, dtype="bfloat16")
    found = interpreted(interpret, pair, mask, weights(), outgoing=outgoing)
    assert_close(found, definition(pair, mask, weights(), outgoing=outgoing))


@pytest.mark.parametrize("tile", TILES)
def test_every_tile_means_the_same(tile, monkeypatch, interpret) -> None:
    monkeypatch.setattr(triangle_triton, "TILES", (tile,))
    pair, mask = edges(12, 32, dtype="bfloat16")
    w = weights(32, 48)
    found = interpreted(interpret, pair, mask, w, outgoing=True)
    assert_close(found, definition(pair, mask, w, outgoing=True))


def test_the_kernels_read_no_masked_edge_into_a_product(interpret) -> None:
    pair, mask = edges(9, 16, dtype="bfloat16")
    clean = interpreted(interpret, pair, mask, weights(), outgoing=True)
    poisoned = jnp.where(mask[..., None], pair, jnp.nan)
    found = interpreted(interpret, poisoned, mask, weights(), outgoing=True)
    kept = np.asarray(mask)
    np.testing.assert_array_equal(found[kept], clean[kept])


def test_it_traces_for_a_card_with_gradients_and_vmap() -> None:
    pair, mask = edges(8, 16, 3, dtype="bfloat16")

    def loss(pair: jax.Array, mask: jax.Array, w: TriangleWeights) -> jax.Array:
        how = {"outgoing": True, "rows_at_once": 3, "backend": "triton"}
        return triangle_multiplication(pair, mask, w, **how).sum()

    with lowering_for(A100):
        gradient = jax.vmap(jax.grad(loss, argnums=(0, 2)), in_axes=(0, 0, None))
        of_pair, of_weights = jax.eval_shape(gradient, pair, mask, weights())
    assert of_pair.shape == pair.shape
    assert of_weights.project.shape == (3, 16, 24, 2)


@pytest.mark.parametrize(
    ("dtype", "num_channels", "reason"),
    (("float32", 16, "pair is float32"), ("bfloat16", 256, "at most 128 channels")),
)
def test_what_the_kernels_refuse_is_said(dtype, num_channels, reason) -> None:
    pair, mask = edges(4, num_channels, dtype=dtype)
    how = {"outgoing": True, "backend": "triton"}
    with lowering_for(A100), pytest.raises(ValueError, match=reason):
        triangle_multiplication(pair, mask, weights(num_channels), **how)
