"""The SwiGLU transition: definition, XLA and the kernel in Triton's interpreter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import Norm, gated_transition, lowering_for
from kernels.spec import transition_spec_of
from kernels.transition_triton import is_whole, kernel_arrays, plan_launch
from tests.kernels.examples import A100, assert_close, normal


def weights(
    num_rows: int = 70,
    num_channels: int = 32,
    num_hidden: int = 48,
    num_outputs: int = 32,
    dtype: str = "float32",
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rows of unit variance and weights that keep it."""
    x = normal(num_rows, num_channels, dtype="float32")
    expand = normal(num_channels, 2 * num_hidden, seed=1) / num_channels**0.5
    contract = normal(num_hidden, num_outputs, seed=2) / num_hidden**0.5
    return x.astype(dtype), expand.astype(dtype), contract.astype(dtype)


def norm(num_channels: int = 32) -> Norm:
    return Norm(1 + normal(num_channels, seed=3) / 4, normal(num_channels, seed=4) / 4)


def definition(*arrays: jax.Array, norm: Norm | None = None) -> np.ndarray:
    return np.asarray(gated_transition(*arrays, norm=norm, backend="naive"))


def test_the_definition_is_algorithm_11() -> None:
    x, expand, contract = (np.float64(y) for y in weights())
    a, b = np.split(x @ expand, 2, axis=-1)
    expected = (a / (1 + np.exp(-a)) * b) @ contract
    np.testing.assert_allclose(definition(*weights()), expected, atol=1e-5)


def test_with_a_norm_it_is_the_update_of_a_residual_stream() -> None:
    x, expand, contract = weights()
    scale, offset = (np.asarray(y, np.float64) for y in norm())
    y = np.float64(x)
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    normed = jnp.asarray(y * scale + offset, jnp.float32)
    expected = np.asarray(x) + definition(normed, expand, contract)
    found = definition(x, expand, contract, norm=norm())
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("has_norm", (False, True), ids=("bare", "norm"))
@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
def test_xla_agrees_with_the_definition(dtype, has_norm) -> None:
    arrays, how = weights(dtype=dtype), {"norm": norm() if has_norm else None}
    found = np.asarray(gated_transition(*arrays, **how))
    assert_close(found, definition(*arrays, **how))


@pytest.mark.parametrize("has_norm", (False, True), ids=("bare", "norm"))
@pytest.mark.parametrize("dtype", ("bfloat16", "float16"))
@pytest.mark.parametrize(
    "shape",
    ((1, 64, 256, 64), (129, 128, 512, 128), (65, 24, 40, 17)),
    ids=("one_row", "pair", "awkward"),
)
def test_the_kernel_agrees_with_the_definition(
    shape, dtype, has_norm, interpret
) -> None:
    if has_norm and shape[1] != shape[3]:
        pytest.skip("a residual stream keeps its channels")
    arrays, norms = weights(*shape, dtype=dtype), norm(shape[1]) if has_norm else None
    launch = plan_launch(transition_spec_of(*arrays, norms, A100))
    output = interpret(
        "kernels.swiglu",
        "gated_transition",
        launch.grid,
        {k: np.asarray(x) for k, x in kernel_arrays(*arrays, norms).items()},
        {"output_ptr": np.full((shape[0], shape[3]), np.nan, arrays[0].dtype)},
        launch.scalars | launch.constants,
    )["output_ptr"]
    assert_close(output, definition(*arrays, norm=norms))


def test_leading_axes_are_rows() -> None:
    x, expand, contract = weights(num_rows=12)
    output = gated_transition(x.reshape(3, 4, -1), expand, contract)
    np.testing.assert_allclose(
        output.reshape(12, -1), gated_transition(x, expand, contract), atol=1e-6
    )


def test_weights_that_do_not_fit_are_named() -> None:
    x, expand, contract = weights()
    with pytest.raises(ValueError, match=r"expand must have shape \[32, 96\]"):
        gated_transition(x, expand[:, :-1], contract)


def test_a_residual_stream_keeps_its_channels() -> None:
    with pytest.raises(ValueError, match=r"contract must have shape \[48, 32\]"):
        gated_transition(*weights(num_outputs=16), norm=norm())


@pytest.mark.parametrize(
    ("shape", "dtype"),
    (
        ((70, 384, 768, 384), "bfloat16"),
        ((70, 128, 256, 128), "float32"),
        ((1, 48, 96, 40), "float32"),
        ((131, 40, 72, 8), "float32"),
        ((65, 200, 24, 17), "float16"),
    ),
    ids=("single", "atom", "one_row", "awkward", "awkward_half"),
)
def test_the_gated_unit_agrees_with_the_definition(shape, dtype, interpret) -> None:
    """Of rows that are too long, or too precise, for one kernel of it all."""
    x, expand, contract = weights(*shape, dtype=dtype)
    for products in ("float32", "tf32"):
        spec = transition_spec_of(x, expand, contract, None, A100)
        spec = spec._replace(products=products)
        assert not is_whole(spec)
        launch = plan_launch(spec)
        hidden = interpret(
            "kernels.swiglu",
            "gated_unit",
            launch.grid,
            {"x_ptr": np.asarray(x), "expand_ptr": np.asarray(expand)},
            {"output_ptr": np.full((shape[0], shape[2]), np.nan, x.dtype)},
            launch.scalars | launch.constants,
        )["output_ptr"]
        identity = jnp.eye(shape[2], dtype=dtype)
        assert_close(hidden, definition(x, expand, identity))


def test_a_backend_that_cannot_run_says_why() -> None:
    with pytest.raises(ValueError, match="run on NVIDIA GPUs, not on cpu"):
        gated_transition(*weights(), backend="triton")


@pytest.mark.parametrize("dtype", ("bfloat16", "float32"))
def test_it_traces_for_a_card_with_gradients_and_vmap(dtype) -> None:
    arrays = weights(dtype=dtype)
    stacked = (jnp.stack([arrays[0]] * 3), *arrays[1:])

    def loss(x: jax.Array, expand: jax.Array, contract: jax.Array) -> jax.Array:
        how = {"norm": norm(), "backend": "triton"}
        return gated_transition(x, expand, contract, **how).sum()

    with lowering_for(A100):
        gradient = jax.vmap(jax.grad(loss, argnums=(0, 1)), in_axes=(0, None, None))
        shapes = jax.eval_shape(gradient, *stacked)
    assert [x.shape for x in shapes] == [(3, 70, 32), (3, 32, 96)]
