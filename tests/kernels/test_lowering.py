"""Programs for NVIDIA GPUs, lowered where there is none."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu_compile import COMPILER

pytestmark = pytest.mark.skipif(
    not COMPILER.is_dir(), reason="XLA's compiler for GPUs is absent: run `make dev`"
)


@functools.cache
def lowered(what: str) -> dict[str, Any]:
    result = subprocess.run(
        [sys.executable, "-m", "tests.kernels.lowering", what],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("capability", ("8.0", "9.0", "10.0", "12.0"))
def test_the_assembler_of_xla_takes_what_triton_writes(capability) -> None:
    assert lowered("kernels")[capability] == ""


def test_compiler_and_assembler_are_those_of_a_gpu_machine() -> None:
    repository = Path(__file__).parents[2]
    pins = (repository / "envs/inference-cuda.yaml").read_text()
    locked = set(re.findall(r'"(\S+==\S+?)[ "]', pins))
    wanted = (repository / "tests/kernels/lowering.txt").read_text().splitlines()
    assert {line for line in wanted if not line.startswith("#")} <= locked


SHAPES = ("triangle", "template_triangle", "single", "diffusion", "atom")


@pytest.mark.parametrize("shape", SHAPES)
def test_triton_is_one_call_of_the_kernel_and_no_logits(shape) -> None:
    found = lowered("attentions")[f"{shape} triton"]
    assert found == {"calls": {"flash_attention": 1}, "logits": []}


@pytest.mark.parametrize("shape", SHAPES)
def test_cudnn_is_one_call_of_its_kernel_and_no_logits(shape) -> None:
    found = lowered("attentions")[f"{shape} cudnn"]
    assert found == {"calls": {"__cudnn$fmhaScaleBiasSoftmax": 1}, "logits": []}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_definition_has_logits_that_the_search_finds(shape) -> None:
    assert lowered("attentions")[f"{shape} naive"]["logits"]


# Attention in the program of the published size: atom transformers (embedder, denoiser
# twice), triangle attentions (templates, MSA, pairformer and confidence, each twice),
# single attention (pairformer and confidence) and the diffusion transformer.
NUM_ATTENTIONS = 3 + 8 + 2 + 1
NUM_FLOAT32 = 3 + 1
# Transitions of pair (templates, MSA, pairformer, confidence) and MSA, at bfloat16 and
# few enough channels for the fused kernel.
NUM_TRANSITIONS = 4 + 1
# Gated units of those that are float32 or have more channels: of atoms (three times),
# the diffusion transformer, single representations (pairformer, confidence), and twice
# each of the conditioning of pairs and of the noise level.
NUM_UNITS = 3 + 1 + 2 + 2 * 2
# Triangle multiplications of the same stacks, each twice; both sides are projected.
NUM_TRIANGLES = 4 * 2
# Heads, bias and output of each triangle attention; biases of single attention
# (pairformer and confidence) and of MSA pair-weighted averaging.
NUM_PROJECTIONS = 3 * 8 + 2 + 1


@pytest.mark.slow
def test_the_whole_model_lowers_with_the_flash_kernel() -> None:
    found = lowered("model")["triton"]
    assert found["calls"] == {
        "flash_attention": NUM_ATTENTIONS,
        "gated_transition": NUM_TRANSITIONS,
        "gated_unit": NUM_UNITS,
        "project": NUM_PROJECTIONS,
        "project_edges": 2 * NUM_TRIANGLES,
        "update_edges": NUM_TRIANGLES,
    }
    attentions = [name for key, name in found["choices"].items() if "attention" in key]
    assert set(attentions) == {"triton"}
    assert found["triangle_logits"] == []


@pytest.mark.slow
def test_the_whole_model_lowers_with_cudnn_where_it_is_bfloat16() -> None:
    found = lowered("model")["cudnn"]
    calls = found["calls"]["__cudnn$fmhaScaleBiasSoftmax"]
    assert calls == NUM_ATTENTIONS - NUM_FLOAT32
    assert found["triangle_logits"] == []
