"""The machine code of our kernels, for cards that are not here."""

import math
import subprocess

import pytest

from benchmarks.gpu_compile import PTXAS
from benchmarks.machine_code import (
    _TOOLS,
    CAPABILITIES,
    MachineCode,
    compile_attention,
    compile_segments,
    compile_spec,
    specs,
)
from kernels import (
    AttentionSpec,
    Device,
    ProjectionSpec,
    Spec,
    TransitionSpec,
    TriangleSpec,
)
from kernels import attention_triton as attention
from kernels import projection_triton as projection
from kernels import segments_triton as segments
from kernels import transition_triton as transition
from kernels import triangle_triton as triangle
from kernels.devices import card_of

MODULES = {
    AttentionSpec: attention,
    ProjectionSpec: projection,
    TransitionSpec: transition,
    TriangleSpec: triangle,
}

ALL = [(c, kernel) for c in CAPABILITIES for kernel in specs(c)]
# One card of the generation that most run on; the others by `make test-matrix`.
FEW = [((9, 0), kernel) for kernel in specs((9, 0)) if "template" not in kernel]


def estimated_shared_memory(spec: Spec) -> int:
    module = MODULES[type(spec)]
    return module.shared_memory(spec, module.choose_tile(spec))


def assert_fits(code: MachineCode, spec: Spec) -> None:
    limit = card_of(spec.device).shared_memory_kib * 1024
    assert code.num_spills == 0
    assert code.num_tensor_core > 0
    assert code.shared_bytes <= estimated_shared_memory(spec) <= limit


def cases(pairs: list[tuple[tuple[int, int], str]]) -> pytest.MarkDecorator:
    ids = [f"{major}.{minor} {kernel}" for (major, minor), kernel in pairs]
    return pytest.mark.parametrize(("capability", "kernel"), pairs, ids=ids)


@pytest.mark.slow
@cases(FEW)
def test_fills_tensor_cores_and_spills_no_register(capability, kernel) -> None:
    spec = specs(capability)[kernel]
    for code in compile_spec(spec):
        assert_fits(code, spec)


@pytest.mark.matrix
@cases(ALL)
def test_so_it_is_on_every_card(capability, kernel) -> None:
    spec = specs(capability)[kernel]
    for code in compile_spec(spec):
        assert_fits(code, spec)


def test_the_assembler_is_of_the_release_that_xla_uses() -> None:
    if not PTXAS.is_file():
        pytest.skip("XLA's compiler for GPUs is absent: run `make dev`")
    versions = {
        subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
        for tool in (PTXAS, _TOOLS / "ptxas")
    }
    assert len(versions) == 1


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


@pytest.mark.parametrize("layout", segments.LAYOUTS, ids=lambda x: f"{x.queries}")
@pytest.mark.parametrize("capability", ((8, 0), (8, 9), (9, 0), (12, 0)), ids=str)
def test_a_cell_of_a_search_costs_less_than_three_instructions(
    capability, layout
) -> None:
    code = compile_segments(layout, Device("cuda", capability))
    cells = math.prod(code.tile) / 32
    assert code.num_spills == 0
    assert 1 < code.num_loop / cells < 3
