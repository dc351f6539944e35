"""What the compiler makes of our kernels for cards that need not be here.

Triton compiles to machine code without a GPU and ships NVIDIA's disassembler; this
module reads registers, spills, shared memory and tensor-core instructions from it.
"""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from benchmarks.shapes import af3_shapes, spec_for
from kernels import AttentionSpec, Device, TransitionSpec
from kernels import attention_triton as attention
from kernels import transition_triton as transition
from kernels.devices import card_of
from kernels.flash import flash_attention
from kernels.launch import COMPILER_OPTIONS, Launch
from kernels.swiglu import gated_transition

CAPABILITIES = ((8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0))

# The instructions that multiply matrices, by generation: mma.sync, wgmma, tcgen05.
TENSOR_CORE = re.compile(r"\b(HMMA|HGMMA|UTCHMMA)\b")
SPILL = re.compile(r"\b(STL|LDL)\b")

_POINTERS = {"bfloat16": "*bf16", "float16": "*fp16", "float32": "*fp32"}
_TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"


class MachineCode(NamedTuple):
    """One kernel, compiled for one card."""

    num_registers: int
    num_spills: int
    """Instructions that move registers to local memory and back."""
    shared_bytes: int
    num_tensor_core: int
    """Instructions that multiply matrices on tensor cores."""
    tile: tuple[int, ...]
    num_warps: int
    num_stages: int


def compile_attention(spec: AttentionSpec) -> MachineCode:
    """The flash kernel as it would run `spec` on its device."""
    pointers = dict.fromkeys(
        ("q_ptr", "k_ptr", "v_ptr", "gate_ptr", "output_ptr"), _POINTERS[spec.dtype]
    )
    pointers |= {
        "bias_ptr": _POINTERS[spec.bias_dtype or spec.dtype],
        "dense_mask_ptr": "*i8",
        "key_mask_ptr": "*i8",
        "query_segments_ptr": "*i32",
        "key_segments_ptr": "*i32",
    }
    launch = attention.plan_launch(spec, spec.num_channels**-0.5)
    return _compile(flash_attention, pointers, launch, spec.device)


def compile_transition(spec: TransitionSpec) -> MachineCode:
    """The transition kernel as it would run `spec` on its device."""
    names = ("x_ptr", "expand_ptr", "contract_ptr", "output_ptr")
    pointers = dict.fromkeys(names, _POINTERS[spec.dtype])
    launch = transition.plan_launch(spec)
    return _compile(gated_transition, pointers, launch, spec.device)


def _compile(
    kernel: Any, pointers: dict[str, str], launch: Launch, device: Device
) -> MachineCode:
    scalars = {name: _type_of(value) for name, value in launch.scalars.items()}
    # As jax-triton does: an integer 1 is compiled in.
    ones = {name: 1 for name, value in launch.scalars.items() if value == 1}
    constants = launch.constants | ones
    types = pointers | scalars | dict.fromkeys(constants, "constexpr")
    names = kernel.arg_names
    source = ASTSource(
        kernel,
        {name: types[name] for name in names},
        constants,
        {
            (i,): [["tt.divisibility", 16]]
            for i, name in enumerate(names)
            if name in pointers
        },
    )
    major, minor = device.compute_capability
    compiled = triton.compile(
        source,
        target=GPUTarget("cuda", 10 * major + minor, 32),
        options=COMPILER_OPTIONS
        | {"num_warps": launch.num_warps, "num_stages": launch.num_stages},
    )
    usage, assembly = _disassemble(compiled.asm["cubin"])
    blocks = ("BLOCK_QUERIES", "BLOCK_KEYS", "BLOCK_ROWS", "BLOCK_HIDDEN")
    return MachineCode(
        num_registers=int(re.search(r"REG:(\d+)", usage)[1]),
        num_spills=len(SPILL.findall(assembly)),
        shared_bytes=compiled.metadata.shared,
        num_tensor_core=len(TENSOR_CORE.findall(assembly)),
        tile=tuple(constants[name] for name in blocks if name in constants),
        num_warps=launch.num_warps,
        num_stages=launch.num_stages,
    )


def _type_of(scalar: float | tuple[int, ...]) -> str | tuple[str, ...]:
    if isinstance(scalar, tuple):
        return ("i32",) * len(scalar)
    return "fp32" if isinstance(scalar, float) else "i32"


def _disassemble(cubin: bytes) -> tuple[str, str]:
    """What cuobjdump says of resources, and the assembly of nvdisasm."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        outputs = [
            subprocess.run(
                [_TOOLS / tool, *options, file.name],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for tool, options in (("cuobjdump", ["-res-usage"]), ("nvdisasm", []))
        ]
    return outputs[0], outputs[1]


def specs(capability: tuple[int, int]) -> dict[str, AttentionSpec | TransitionSpec]:
    """Every kernel that a prediction of 1,024 tokens launches on a card."""
    device = Device("cuda", capability)
    found = {
        f"{shape.name} {shape.dtype}": spec_for(shape, device)
        for shape in af3_shapes(1024)
    }
    for name, channels in (("pair", 128), ("MSA", 64)):
        found[f"{name} transition bfloat16"] = TransitionSpec(
            1024**2, channels, 4 * channels, channels, "bfloat16", device
        )
    return found


def compile_spec(spec: AttentionSpec | TransitionSpec) -> MachineCode:
    """The kernel that runs `spec`."""
    if isinstance(spec, AttentionSpec):
        return compile_attention(spec)
    return compile_transition(spec)


def table(capabilities: tuple[tuple[int, int], ...] = CAPABILITIES) -> list[str]:
    """A Markdown table of every kernel on every card."""
    lines = [
        "| card | kernel | tile | warps | stages | registers | spills | shared memory"
        " (bytes) | of | tensor-core instructions |",
        "| --- | --- | --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for capability in capabilities:
        card = card_of(Device("cuda", capability))
        for name, spec in specs(capability).items():
            code = compile_spec(spec)
            tile = " × ".join(map(str, code.tile))
            lines.append(
                f"| {capability[0]}.{capability[1]} ({card.example}) | {name} | {tile}"
                f" | {code.num_warps} | {code.num_stages} | {code.num_registers}"
                f" | {code.num_spills} | {code.shared_bytes:,}"
                f" | {card.shared_memory_kib * 1024:,} | {code.num_tensor_core} |"
            )
    return lines
