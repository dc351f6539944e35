"""What the compiler makes of our kernels for cards that need not be here.

Triton compiles to PTX without a GPU and ships NVIDIA's tools. This module assembles
the PTX with the release of the assembler that XLA uses (Triton's own wheel has it, but
prefers a newer one on newer cards), disassembles the result and reads registers,
spills, shared memory, tensor-core instructions and the length of the inner loop.
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
from kernels.edges import project_edges, update_edges
from kernels.flash import flash_attention
from kernels.launch import COMPILER_OPTIONS, Launch
from kernels.projection import project
from kernels.sweep import sweep_segments
from kernels.swiglu import gated_transition, gated_unit

CAPABILITIES = ((8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0))

# The instructions that multiply matrices, by generation: mma.sync, wgmma, tcgen05.
TENSOR_CORE = re.compile(r"\b(HMMA|HGMMA|UTCHMMA)\b")
# Maxima of two half-precision numbers at once, which `best_segments` is made of.
HALF_MAXIMUM = re.compile(r"\bV?HM?NMX")
SPILL = re.compile(r"\b(STL|LDL)\b")
_LABEL = re.compile(r"^(\.L_x_\d+):")
_BRANCH = re.compile(r"\bBRA\S* .*`\((\.L_x_\d+)\)")
_COMMAND = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/")

_POINTERS = {"bfloat16": "*bf16", "float16": "*fp16", "float32": "*fp32"}
_TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"


class MachineCode(NamedTuple):
    """One kernel, compiled for one card."""

    kernel: str
    num_registers: int
    num_spills: int
    """Instructions that move registers to local memory and back."""
    shared_bytes: int
    num_tensor_core: int
    """Instructions that multiply matrices on tensor cores."""
    num_loop: int
    """Instructions of a thread for one turn of the shortest loop with such products,
    or with the instructions that a kernel without them is known by."""
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
        "bias_index_ptr": "*i32",
        "dense_mask_ptr": "*i8",
        "key_mask_ptr": "*i8",
        "key_ends_ptr": "*i32",
        "query_segments_ptr": "*i32",
        "key_segments_ptr": "*i32",
    }
    launch = attention.plan_launch(spec, spec.num_channels**-0.5)
    return _compile(flash_attention, pointers, launch, spec.device)


def compile_transition(spec: TransitionSpec) -> MachineCode:
    """The transition kernel as it would run `spec` on its device."""
    names = ("x_ptr", "expand_ptr", "contract_ptr", "output_ptr")
    pointers: dict[str, str] = dict.fromkeys(names, _POINTERS[spec.dtype])
    pointers |= dict.fromkeys(("scale_ptr", "offset_ptr"), "*fp32")
    launch = transition.plan_launch(spec)
    if not transition.is_whole(spec):
        names = ("x_ptr", "expand_ptr", "output_ptr")
        pointers = dict.fromkeys(names, _POINTERS[spec.dtype])
        return _compile(gated_unit, pointers, launch, spec.device)
    return _compile(gated_transition, pointers, launch, spec.device)


def compile_projection(spec: ProjectionSpec) -> MachineCode:
    """The projection kernel as it would run `spec` on its device."""
    names = ("x_ptr", "weights_ptr", "residual_ptr", "output_ptr")
    pointers: dict[str, str] = dict.fromkeys(names, _POINTERS[spec.dtype])
    pointers |= dict.fromkeys(("scale_ptr", "offset_ptr"), "*fp32")
    return _compile(project, pointers, projection.plan_launch(spec), spec.device)


def compile_triangle(spec: TriangleSpec) -> tuple[MachineCode, MachineCode]:
    """The two kernels around a triangle multiplication."""
    norms = dict.fromkeys(
        (
            "scale_ptr",
            "offset_ptr",
            "input_scale_ptr",
            "input_offset_ptr",
            "output_scale_ptr",
            "output_offset_ptr",
        ),
        "*fp32",
    )
    codes = []
    num_edges = spec.num_tokens**2
    launches = (
        triangle.plan_project(spec, num_edges),
        triangle.plan_update(spec, num_edges),
    )
    for kernel, launch in zip((project_edges, update_edges), launches, strict=True):
        names = [name for name in kernel.arg_names if name.endswith("_ptr")]
        pointers = dict.fromkeys(names, _POINTERS[spec.dtype]) | {
            name: dtype
            for name, dtype in (norms | {"mask_ptr": "*i8"}).items()
            if name in names
        }
        codes.append(_compile(kernel, pointers, launch, spec.device))
    return codes[0], codes[1]


def compile_segments(layout: segments.Layout, device: Device) -> MachineCode:
    """The kernel of `best_segments` for so many queries side by side."""
    pointers = {
        "scores_ptr": "*fp16",
        "letters_ptr": "*u32",
        "starts_ptr": "*i32",
        "groups_ptr": "*i32",
        "rows_ptr": "*i32",
        "best_ptr": "*u8",
    }
    launch = segments.plan_launch(layout, 16, 100_000)
    return _compile(sweep_segments, pointers, launch, device, of_loop=HALF_MAXIMUM)


def _compile(
    kernel: Any,
    pointers: dict[str, str],
    launch: Launch,
    device: Device,
    of_loop: re.Pattern[str] = TENSOR_CORE,
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
    major, minor = device.capability
    compiled = triton.compile(
        source,
        target=GPUTarget("cuda", 10 * major + minor, 32),
        options=COMPILER_OPTIONS
        | {"num_warps": launch.num_warps, "num_stages": launch.num_stages},
    )
    usage, assembly = _disassemble(assemble(compiled.asm["ptx"]))
    blocks = (
        "LANES",
        "QUERIES",
        "PER_WORD",
        "BLOCK_QUERIES",
        "BLOCK_KEYS",
        "BLOCK_ROWS",
        "BLOCK_EDGES",
    )
    by_output = kernel.__name__ in ("update_edges", "project")
    blocks += ("BLOCK_OUTPUT",) if by_output else ("BLOCK_HIDDEN",)
    return MachineCode(
        kernel=kernel.__name__,
        num_registers=max(map(int, re.findall(r"REG:(\d+)", usage))),
        num_spills=len(SPILL.findall(assembly)),
        shared_bytes=compiled.metadata.shared,
        num_tensor_core=len(TENSOR_CORE.findall(assembly)),
        num_loop=min(loop_lengths(assembly, of_loop), default=0),
        tile=tuple(constants[name] for name in blocks if name in constants),
        num_warps=launch.num_warps,
        num_stages=launch.num_stages,
    )


def assemble(ptx: str) -> bytes:
    """Machine code, from the release of the assembler that XLA uses."""
    found = re.search(r"\.target (\w+)", ptx)
    if found is None:
        raise ValueError("the PTX names no target")
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx)
        command = [_TOOLS / "ptxas", f"--gpu-name={found[1]}", "-o", cubin, source]
        subprocess.run(command, capture_output=True, check=True)
        return cubin.read_bytes()


def loop_lengths(assembly: str, marked_by: re.Pattern[str] = TENSOR_CORE) -> list[int]:
    """Instructions in each innermost loop with a mark: that it multiplies matrices."""
    lines = assembly.splitlines()
    labels = {found[1]: i for i, x in enumerate(lines) if (found := _LABEL.match(x))}
    loops = []
    for end, line in enumerate(lines):
        found = _BRANCH.search(line)
        start = labels.get(found[1]) if found else None
        if start is not None and start < end:
            body = [x for x in lines[start : end + 1] if _COMMAND.match(x)]
            if any(map(marked_by.search, body)):
                loops.append((start, end, len(body)))
    return [
        length
        for start, end, length in loops
        if not any(
            start <= s and e <= end and (s, e) != (start, end) for s, e, _ in loops
        )
    ]


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


def specs(capability: tuple[int, int]) -> dict[str, Spec]:
    """Every operation in which a prediction of 1,024 tokens launches our kernels."""
    device = Device("cuda", capability)
    found: dict[str, Spec] = {
        f"{shape.name} {shape.dtype}": spec_for(shape, device)
        for shape in af3_shapes(1024)
    }
    exact = found["diffusion float32"]._replace(products="float32")
    found["diffusion float32, three products"] = exact
    for name, channels in (("pair", 128), ("MSA", 64)):
        found[f"{name} transition bfloat16"] = TransitionSpec(
            1024**2, channels, 4 * channels, channels, "bfloat16", device, has_norm=True
        )
    diffusion = TransitionSpec(
        5 * 1024, 768, 1536, 768, "float32", device, products="tf32"
    )
    found["diffusion transition float32"] = diffusion
    found["diffusion transition float32, three products"] = diffusion._replace(
        products="float32"
    )
    found["atom transition float32"] = diffusion._replace(
        num_rows=768 * 32, num_channels=128, num_hidden=256, num_outputs=128
    )
    found["single transition bfloat16"] = TransitionSpec(
        1024, 384, 1536, 384, "bfloat16", device, has_norm=True
    )
    for name, channels in (("pair", 128), ("template", 64)):
        found[f"{name} triangle multiplication bfloat16"] = TriangleSpec(
            (), 1024, channels, channels, 1024, True, "bfloat16", device
        )
    wide = ProjectionSpec(
        (1024, 1024), 128, 512, "rows", True, False, "bfloat16", device
    )
    found["starting projection bfloat16"] = wide
    found["ending projection bfloat16"] = wide._replace(order="columns")
    found["bias projection bfloat16"] = wide._replace(num_outputs=4, order="channels")
    found["output projection bfloat16"] = wide._replace(
        num_outputs=128, order="columns", has_norm=False, has_residual=True
    )
    return found


def compile_spec(spec: Spec) -> tuple[MachineCode, ...]:
    """The kernels that run `spec`."""
    if isinstance(spec, AttentionSpec):
        return (compile_attention(spec),)
    if isinstance(spec, ProjectionSpec):
        return (compile_projection(spec),)
    if isinstance(spec, TransitionSpec):
        return (compile_transition(spec),)
    return compile_triangle(spec)


def table(capabilities: tuple[tuple[int, int], ...] = CAPABILITIES) -> list[str]:
    """A Markdown table of every kernel on every card."""
    lines = [
        "| card | operation | kernel | tile | warps | stages | registers | spills"
        " | shared memory (bytes) | of | tensor-core instructions | in the loop |",
        "| --- | --- | --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for capability in capabilities:
        card = card_of(Device("cuda", capability))
        for name, spec in specs(capability).items():
            for code in compile_spec(spec):
                tile = " × ".join(map(str, code.tile))
                lines.append(
                    f"| {capability[0]}.{capability[1]} ({card.example}) | {name}"
                    f" | {code.kernel} | {tile} | {code.num_warps} | {code.num_stages}"
                    f" | {code.num_registers} | {code.num_spills}"
                    f" | {code.shared_bytes:,} | {card.shared_memory_kib * 1024:,}"
                    f" | {code.num_tensor_core} | {code.num_loop} |"
                )
    return lines
