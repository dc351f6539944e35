"""How the XLA backend cuts an attention, and what that saves."""

import math

import jax
import pytest

from benchmarks.shapes import af3_shapes, input_shapes, spec_for
from kernels import Device, attention
from kernels.attention_xla import LOGIT_BYTES, Blocks, plan_blocks

CPU = Device("cpu")
TRIANGLE = spec_for(af3_shapes(1024)[0], CPU)


def logit_bytes(blocks: Blocks, num_heads: int) -> int:
    return 4 * math.prod(blocks.batch) * blocks.queries * blocks.keys * num_heads


def test_what_fits_is_not_cut() -> None:
    spec = TRIANGLE._replace(batch=(4,), num_queries=100, num_keys=100)
    assert plan_blocks(spec) == Blocks((4,), 100, 100)


@pytest.mark.parametrize("shape", af3_shapes(2048), ids=str)
def test_blocks_stay_within_the_budget(shape) -> None:
    blocks = plan_blocks(spec_for(shape, CPU))
    assert logit_bytes(blocks, shape.num_heads) <= LOGIT_BYTES["cpu"]


def test_batch_axes_are_cut_before_queries_and_queries_before_keys() -> None:
    blocks = plan_blocks(TRIANGLE)
    assert blocks.batch == (1,)
    assert 128 <= blocks.queries < 1024
    assert blocks.keys == 1024


def test_keys_are_cut_when_one_block_of_queries_is_too_wide() -> None:
    blocks = plan_blocks(TRIANGLE._replace(num_keys=200_000))
    assert blocks.queries == 128 and blocks.keys < 200_000


def temporary_bytes(backend: str, num_tokens: int) -> int:
    """Largest sum of XLA's temporary buffers alive at once; nothing is computed."""
    arguments = input_shapes(af3_shapes(num_tokens)[0])
    function = jax.jit(lambda arguments: attention(**arguments, backend=backend))
    analysis = function.lower(arguments).compile().memory_analysis()
    return analysis.temp_size_in_bytes


@pytest.mark.parametrize("num_tokens", (512, 1024))
def test_triangle_attention_needs_a_tenth_of_the_memory_of_the_definition(
    num_tokens,
) -> None:
    chunked = temporary_bytes("xla", num_tokens)
    assert chunked * 10 <= temporary_bytes("naive", num_tokens)
