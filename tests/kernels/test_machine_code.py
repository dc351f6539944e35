"""The machine code of our kernels, for cards that are not here."""

import math

import pytest

from benchmarks.machine_code import (
    CAPABILITIES,
    MachineCode,
    compile_attention,
    compile_spec,
    specs,
)
from kernels import AttentionSpec, Device, Spec, TransitionSpec, TriangleSpec
from kernels import attention_triton as attention
from kernels import transition_triton as transition
from kernels import triangle_triton as triangle
from kernels.devices import card_of

MODULES = {
    AttentionSpec: attention,
    TransitionSpec: transition,
    TriangleSpec: triangle,
}

# All kernels on one card of each generation of tensor cores; 8.6 and 8.9 differ from
# 8.0 and 12.0 in shared memory only.
CASES = [
    (capability, kernel)
    for capability in CAPABILITIES
    for kernel in specs(capability)
    if capability not in ((8, 6), (8, 9))
    or kernel in ("triangle bfloat16", "pair transition bfloat16")
]


def estimated_shared_memory(spec: Spec) -> int:
    module = MODULES[type(spec)]
    return module.shared_memory(spec, module.choose_tile(spec))


def assert_fits(code: MachineCode, spec: Spec) -> None:
    limit = card_of(spec.device).shared_memory_kib * 1024
    assert code.num_spills == 0
    assert code.num_tensor_core > 0
    assert code.shared_bytes <= estimated_shared_memory(spec) <= limit


@pytest.mark.slow
@pytest.mark.parametrize(
    ("capability", "kernel"), CASES, ids=lambda x: x if isinstance(x, str) else str(x)
)
def test_fills_tensor_cores_and_spills_no_register(capability, kernel) -> None:
    spec = specs(capability)[kernel]
    for code in compile_spec(spec):
        assert_fits(code, spec)


@pytest.mark.parametrize("capability", ((8, 7), (10, 3), (12, 1)), ids=str)
def test_relatives_of_those_cards_are_compiled_for_too(capability) -> None:
    spec = specs(capability)["triangle bfloat16"]
    for code in compile_spec(spec):
        assert_fits(code, spec)


@pytest.mark.parametrize(
    ("kernel", "capability", "most"),
    (
        ("triangle bfloat16", (9, 0), 460 / 32),
        ("triangle bfloat16", (8, 0), 460 / 32),
        ("diffusion float32", (9, 0), 40),
        ("diffusion float32", (8, 0), 40),
        ("atom float32", (9, 0), 40),
    ),
)
def test_a_logit_costs_few_instructions(kernel, capability, most) -> None:
    (code,) = compile_spec(specs(capability)[kernel])
    logits = math.prod(code.tile) / (32 * code.num_warps)
    assert 0 < code.num_loop <= most * logits


@pytest.mark.parametrize("dtype", ("float32", "float16"))
@pytest.mark.parametrize("num_channels", (16, 64, 128))
def test_every_head_size_fits_the_smallest_card(num_channels, dtype) -> None:
    spec = specs((8, 6))["triangle bfloat16"]._replace(
        num_channels=num_channels, dtype=dtype, bias_dtype=dtype
    )
    assert_fits(compile_attention(spec), spec)


def test_every_mask_at_once_fits_the_smallest_card() -> None:
    spec = specs((12, 0))["triangle bfloat16"]._replace(
        dense_mask=(1, 1, 1024, 1024),
        query_segments=(1, 1024),
        key_segments=(1, 1024),
        is_causal=True,
    )
    assert_fits(compile_attention(spec), spec)


def test_a_bias_of_aligned_rows_is_read_in_vectors() -> None:
    aligned = specs((8, 0))["triangle bfloat16"]
    odd = aligned._replace(num_keys=1023, bias=(1, 4, 1024, 1023))
    assert (
        compile_attention(aligned).num_registers < compile_attention(odd).num_registers
    )


def test_a_card_without_room_for_a_tile_is_refused() -> None:
    spec = specs((8, 0))["triangle bfloat16"]
    assert attention.choose_tile(spec) is not None
    assert attention.unsupported(spec._replace(device=Device("cuda", (7, 5))))
