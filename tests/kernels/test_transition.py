"""The SwiGLU transition: definition, XLA and the kernel in Triton's interpreter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import gated_transition, lowering_for
from kernels.spec import transition_spec_of
from kernels.transition_triton import plan_launch
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


def definition(*arrays: jax.Array) -> np.ndarray:
    return np.asarray(gated_transition(*arrays, backend="naive"))


def test_the_definition_is_algorithm_11() -> None:
    x, expand, contract = (np.float64(y) for y in weights())
    a, b = np.split(x @ expand, 2, axis=-1)
    expected = (a / (1 + np.exp(-a)) * b) @ contract
    np.testing.assert_allclose(definition(*weights()), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
def test_xla_agrees_with_the_definition(dtype) -> None:
    arrays = weights(dtype=dtype)
    assert_close(np.asarray(gated_transition(*arrays)), definition(*arrays))


@pytest.mark.parametrize("dtype", ("bfloat16", "float16"))
@pytest.mark.parametrize(
    "shape",
    ((1, 64, 256, 64), (129, 128, 512, 128), (65, 24, 40, 17)),
    ids=("one_row", "pair", "awkward"),
)
def test_the_kernel_agrees_with_the_definition(shape, dtype, interpret) -> None:
    arrays = weights(*shape, dtype=dtype)
    launch = plan_launch(transition_spec_of(*arrays, A100))
    names = ("x_ptr", "expand_ptr", "contract_ptr")
    output = interpret(
        "kernels.swiglu",
        "gated_transition",
        launch.grid,
        dict(zip(names, map(np.asarray, arrays), strict=True)),
        {"output_ptr": np.full((shape[0], shape[3]), np.nan, arrays[0].dtype)},
        launch.scalars | launch.constants,
    )["output_ptr"]
    assert_close(output, definition(*arrays))


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


def test_a_backend_that_cannot_run_says_why() -> None:
    with lowering_for(A100), pytest.raises(ValueError, match="x is float32"):
        gated_transition(*weights(), backend="triton")


def test_it_traces_for_a_card_with_gradients_and_vmap() -> None:
    arrays = weights(dtype="bfloat16")
    stacked = (jnp.stack([arrays[0]] * 3), *arrays[1:])

    def loss(x: jax.Array, expand: jax.Array, contract: jax.Array) -> jax.Array:
        return gated_transition(x, expand, contract, backend="triton").sum()

    with lowering_for(A100):
        gradient = jax.vmap(jax.grad(loss, argnums=(0, 1)), in_axes=(0, None, None))
        shapes = jax.eval_shape(gradient, *stacked)
    assert [x.shape for x in shapes] == [(3, 70, 32), (3, 32, 96)]
