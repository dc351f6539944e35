"""Projections of edges: the definition, and every backend against it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import Device, Norm, Order, lowering_for, project, projection_triton
from kernels.projection_triton import TILES, kernel_arrays, plan_launch
from kernels.spec import ProjectionSpec, projection_spec_of
from tests.kernels.examples import A100, Interpret, assert_close, normal

ORDERS = pytest.mark.parametrize("order", ("rows", "columns", "channels"))
PARTS = pytest.mark.parametrize(
    ("has_norm", "has_residual"),
    ((True, False), (False, True), (True, True), (False, False)),
    ids=("norm", "residual", "both", "bare"),
)


class Arrays:
    """x, weights that keep unit variance, and what may stand around them."""

    def __init__(
        self,
        *edges: int,
        num_channels: int = 16,
        num_outputs: int = 24,
        order: Order = "rows",
        has_norm: bool = True,
        has_residual: bool = False,
        dtype: str = "bfloat16",
    ) -> None:
        self.order, c = order, num_channels
        self.x = normal(*edges, c, dtype=dtype)
        weights = normal(c, num_outputs, seed=1) / c**0.5
        self.weights = weights.astype(dtype)
        norm = Norm(1 + normal(c, seed=2) / 4, normal(c, seed=3) / 4)
        self.norm = norm if has_norm else None
        self.residual = None
        self.residual = self.like_output(4, dtype) if has_residual else None

    def like_output(self, seed: int, dtype: str) -> jax.Array:
        return normal(*self.spec().output, seed=seed, dtype=dtype)

    def spec(self, device: Device = A100) -> ProjectionSpec:
        return projection_spec_of(
            self.x,
            self.weights,
            self.norm,
            self.residual,
            order=self.order,
            device=device,
        )

    def by(self, backend: str) -> np.ndarray:
        return np.asarray(
            project(
                self.x,
                self.weights,
                norm=self.norm,
                residual=self.residual,
                order=self.order,
                backend=backend,
            )
        )

    def interpreted(self, interpret: Interpret) -> np.ndarray:
        """The kernel as a card would be given it, run by Triton's interpreter."""
        arrays = kernel_arrays(self.x, self.weights, self.norm, self.residual)
        launch = plan_launch(self.spec())
        # NaN where the kernel writes nothing.
        outputs = {"output_ptr": np.full(self.spec().output, np.nan, self.x.dtype)}
        return interpret(
            "kernels.projection",
            "project",
            launch.grid,
            {name: np.asarray(x) for name, x in arrays.items()},
            outputs,
            launch.scalars | launch.constants,
        )["output_ptr"]


@ORDERS
@PARTS
def test_the_definition_is_written_out_in_float64(
    order, has_norm, has_residual
) -> None:
    arrays = Arrays(
        2, 5, 7, order=order, has_norm=has_norm, has_residual=has_residual,
        dtype="float32",
    )  # fmt: skip
    x = np.float64(arrays.x)
    if arrays.norm is not None:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        x = x * np.float64(arrays.norm.scale) + np.float64(arrays.norm.offset)
    subscripts = {"rows": "brso", "columns": "bsro", "channels": "bors"}[order]
    weights = np.float64(arrays.weights)
    expected = np.einsum(f"brsc,co->{subscripts}", x, weights)
    if arrays.residual is not None:
        expected += np.float64(arrays.residual)
    np.testing.assert_allclose(arrays.by("naive"), expected, atol=2e-5)


@ORDERS
@PARTS
@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
def test_xla_agrees_with_the_definition(dtype, order, has_norm, has_residual) -> None:
    how = {"has_norm": has_norm, "has_residual": has_residual, "dtype": dtype}
    arrays = Arrays(3, 9, 7, order=order, **how)
    assert_close(arrays.by("xla"), arrays.by("naive"))


@ORDERS
@pytest.mark.parametrize("dtype", ("bfloat16", "float16"))
@pytest.mark.parametrize(
    ("edges", "num_channels", "num_outputs"),
    (
        ((12, 16), 128, 512),
        ((16, 12), 64, 256),
        ((16, 16), 128, 4),
        ((1, 1), 16, 16),
        ((13, 11), 24, 40),
        ((3, 9, 7), 32, 7),
    ),
    ids=("heads", "template", "bias", "one_edge", "awkward", "batch"),
)
def test_the_kernel_agrees_with_the_definition(
    edges, num_channels, num_outputs, dtype, order, interpret
) -> None:
    arrays = Arrays(
        *edges,
        num_channels=num_channels,
        num_outputs=num_outputs,
        order=order,
        dtype=dtype,
    )
    assert_close(arrays.interpreted(interpret), arrays.by("naive"))


@ORDERS
@PARTS
def test_the_kernel_does_what_stands_around(
    order, has_norm, has_residual, interpret
) -> None:
    arrays = Arrays(5, 8, order=order, has_norm=has_norm, has_residual=has_residual)
    assert_close(arrays.interpreted(interpret), arrays.by("naive"))


@ORDERS
@pytest.mark.parametrize("tile", TILES)
def test_every_tile_means_the_same(tile, order, monkeypatch, interpret) -> None:
    monkeypatch.setattr(projection_triton, "TILES", (tile,))
    arrays = Arrays(12, 14, num_outputs=72, order=order, has_residual=True)
    assert_close(arrays.interpreted(interpret), arrays.by("naive"))


def test_it_traces_for_a_card_with_gradients_and_vmap() -> None:
    arrays = Arrays(3, 5, 7, order="columns", has_residual=True)

    def loss(x: jax.Array, weights: jax.Array, residual: jax.Array) -> jax.Array:
        how = {"norm": arrays.norm, "order": "columns", "backend": "triton"}
        return project(x, weights, residual=residual, **how).sum()

    with lowering_for(A100):
        gradient = jax.vmap(jax.grad(loss, argnums=(0, 1, 2)), in_axes=(0, None, 0))
        given = arrays.x, arrays.weights, arrays.residual
        found = jax.eval_shape(gradient, *given)
    assert [x.shape for x in found] == [(3, 5, 7, 16), (3, 16, 24), (3, 7, 5, 24)]


@pytest.mark.parametrize(
    ("dtype", "num_channels", "reason"),
    (("float32", 16, "x is float32"), ("bfloat16", 256, "at most 128 channels")),
)
def test_what_the_kernel_refuses_is_said(dtype, num_channels, reason) -> None:
    arrays = Arrays(4, 4, num_channels=num_channels, dtype=dtype)
    with lowering_for(A100), pytest.raises(ValueError, match=reason):
        arrays.by("triton")


@pytest.mark.parametrize(
    ("change", "message"),
    (
        ({"residual": jnp.zeros((4, 5, 24))}, r"shape \[5, 4, 24\] .* by columns"),
        ({"weights": jnp.zeros((16, 24), "bfloat16")}, "float32 and bfloat16"),
    ),
)
def test_what_does_not_fit_is_named(change, message) -> None:
    given = {"x": jnp.zeros((4, 5, 16)), "weights": jnp.zeros((16, 24))}
    with pytest.raises(ValueError, match=message):
        project(**(given | change), order="columns")
