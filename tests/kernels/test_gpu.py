"""Every backend against the definition, where there is a GPU.

`JAX_PLATFORMS=cuda python -m pytest -m gpu`
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.shapes import random_inputs
from kernels import (
    Mask,
    Norm,
    attention,
    current_device,
    gated_transition,
    project,
    triangle_multiplication,
)
from kernels.dispatch import BACKENDS
from kernels.operands import gather_operands
from kernels.spec import spec_of
from tests.kernels.examples import (
    DTYPES,
    MASKS,
    TOLERANCE,
    masks,
    naive,
    normal,
    qkv,
    small_shapes,
)
from tests.kernels.test_triangle import edges, weights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() != "gpu", reason="needs a GPU"),
]
FUSED = ("triton", "cudnn", "xla")
# Three TF32 products and an approximate exponential; one TF32 product.
ON_GPU = TOLERANCE | {"float32": 2e-5, "tf32": 8e-3}


def assert_agrees(backend: str, arguments: dict, precision: str | None) -> None:
    """Agreement with `naive` to the tolerance of the dtype, or a skip saying why."""
    operands = gather_operands(**{"bias": None, "mask": None, "gate": None} | arguments)
    with jax.default_matmul_precision(precision):
        spec = spec_of(operands, current_device())
        refusal = BACKENDS[backend].unsupported(spec)
        if refusal is not None:
            pytest.skip(refusal)
        output = np.asarray(attention(**arguments, backend=backend))
    difference = np.abs(np.float32(output) - np.float32(naive(arguments)))
    kind = "tf32" if spec.products == "tf32" else output.dtype.name
    assert difference.max() <= ON_GPU[kind]


@pytest.mark.parametrize("precision", ("highest", None))
@pytest.mark.parametrize("backend", FUSED)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", small_shapes(), ids=str)
def test_agrees_with_the_definition_in_the_model(
    shape, dtype, backend, precision
) -> None:
    assert_agrees(backend, random_inputs(shape, dtype), precision)


@pytest.mark.parametrize("num_tokens", (257, 513, 1024))
@pytest.mark.parametrize("backend", FUSED)
def test_agrees_over_several_blocks_and_rows_that_take_turns(
    backend, num_tokens
) -> None:
    arguments = qkv(num_tokens, num_tokens, batch=(9,), dtype="bfloat16")
    arguments["bias"] = normal(4, num_tokens, num_tokens, dtype="bfloat16")
    arguments["mask"] = Mask(keys=jnp.arange(num_tokens) < num_tokens * 9 // 10)
    assert_agrees(backend, arguments, None)


@pytest.mark.parametrize("backend", FUSED)
@pytest.mark.parametrize("mask", MASKS)
def test_takes_every_mask(mask, backend) -> None:
    arguments = qkv(dtype="bfloat16") | {"mask": masks()[mask]}
    bias = normal(4, 20, 24, dtype="bfloat16")
    assert_agrees(backend, arguments | {"bias": bias}, None)


def test_the_fused_transition_agrees_with_the_definition() -> None:
    x = normal(1000, 128, dtype="bfloat16")
    expand = (normal(128, 1024, seed=1) / 128**0.5).astype("bfloat16")
    contract = (normal(512, 128, seed=2) / 512**0.5).astype("bfloat16")
    norm = Norm(1 + normal(128, seed=3) / 4, normal(128, seed=4) / 4)
    for how in ({}, {"norm": norm}):
        output = gated_transition(x, expand, contract, **how)
        expected = gated_transition(x, expand, contract, **how, backend="naive")
        difference = np.abs(np.float32(output) - np.float32(expected))
        assert difference.max() <= 2 * TOLERANCE["bfloat16"]


@pytest.mark.parametrize("order", ("rows", "columns", "channels"))
def test_fused_projections_agree_with_the_definition(order) -> None:
    x = normal(65, 130, 128, dtype="bfloat16")
    weights = (normal(128, 512, seed=1) / 128**0.5).astype("bfloat16")
    norm = Norm(1 + normal(128, seed=3) / 4, normal(128, seed=4) / 4)
    how = {"norm": norm, "order": order}
    expected = project(x, weights, **how, backend="naive")
    difference = np.abs(
        np.float32(project(x, weights, **how, backend="triton")) - np.float32(expected)
    )
    assert difference.max() <= 2 * TOLERANCE["bfloat16"]


@pytest.mark.parametrize("outgoing", (True, False))
@pytest.mark.parametrize("num_tokens", (64, 129))
def test_fused_triangle_multiplication_agrees_with_the_definition(
    num_tokens, outgoing
) -> None:
    pair, mask = edges(num_tokens, 128, dtype="bfloat16")
    how = {"outgoing": outgoing}
    output = triangle_multiplication(pair, mask, weights(128, 128), **how)
    expected = triangle_multiplication(
        pair, mask, weights(128, 128), **how, backend="naive"
    )
    difference = np.abs(np.float32(output) - np.float32(expected))
    assert difference.max() <= 2 * TOLERANCE["bfloat16"]
