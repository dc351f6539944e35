"""Every backend against the definition, where there is a GPU.

`JAX_PLATFORMS=cuda python -m pytest -m gpu`
"""

import jax
import numpy as np
import pytest

from benchmarks.shapes import random_inputs
from kernels import attention, current_device, gated_transition
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

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() != "gpu", reason="needs a GPU"),
]
FUSED = ("triton", "cudnn", "xla")


def assert_agrees(backend: str, arguments: dict) -> None:
    """Agreement with `naive` to the tolerance of the dtype, or a skip saying why."""
    operands = gather_operands(**{"bias": None, "mask": None, "gate": None} | arguments)
    refusal = BACKENDS[backend].unsupported(spec_of(operands, current_device()))
    if refusal is not None:
        pytest.skip(refusal)
    output = np.asarray(attention(**arguments, backend=backend))
    difference = np.abs(np.float32(output) - np.float32(naive(arguments)))
    assert difference.max() <= TOLERANCE[output.dtype.name]


@pytest.mark.parametrize("backend", FUSED)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", small_shapes(), ids=str)
def test_agrees_with_the_definition_in_the_model(shape, dtype, backend) -> None:
    assert_agrees(backend, random_inputs(shape, dtype))


@pytest.mark.parametrize("backend", FUSED)
@pytest.mark.parametrize("mask", MASKS)
def test_takes_every_mask(mask, backend) -> None:
    arguments = qkv(dtype="bfloat16") | {"mask": masks()[mask]}
    assert_agrees(backend, arguments | {"bias": normal(4, 20, 24, dtype="bfloat16")})


def test_the_fused_transition_agrees_with_the_definition() -> None:
    x = normal(1000, 128, dtype="bfloat16")
    expand = (normal(128, 1024, seed=1) / 128**0.5).astype("bfloat16")
    contract = (normal(512, 128, seed=2) / 512**0.5).astype("bfloat16")
    output = gated_transition(x, expand, contract)
    expected = gated_transition(x, expand, contract, backend="naive")
    difference = np.abs(np.float32(output) - np.float32(expected))
    assert difference.max() <= TOLERANCE["bfloat16"]
