"""Writes the table of refusals into README.md: `python -m kernels.refusal_table`."""

import itertools
from collections.abc import Iterator
from pathlib import Path

from kernels.devices import CARDS, Device
from kernels.dispatch import choose_backend, explain
from kernels.hazards import HAZARDS
from kernels.launch import NEWEST_CAPABILITY, UNASSEMBLED
from kernels.spec import AttentionSpec, SegmentsSpec
from kernels.vector_code import PROCESSORS

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- refusals: begin -->", "<!-- refusals: end -->"

_TRIANGLE = AttentionSpec(
    batch=(512,),
    num_queries=512,
    num_keys=512,
    num_heads=4,
    num_key_heads=4,
    num_channels=32,
    dtype="bfloat16",
    device=Device("cuda", (8, 0)),
    bias=(1, 4, 512, 512),
    bias_dtype="bfloat16",
    key_mask=(512, 512),
    has_gate=True,
)


def table() -> str:
    """Markdown tables: by device, hazards, and by what is asked of an A100."""
    return "\n".join(
        [
            "Triangle attention of 512 tokens, by device:",
            "",
            *_device_rows(),
            "",
            "Devices that need other software (`require_safe` stops before the first"
            " computation):",
            "",
            *_hazard_rows(),
            "",
            "On an A100, by what is asked:",
            "",
            *_rows(_requests(), "attention"),
            "",
            "Best segments of 8 queries, by device:",
            "",
            *_rows(_searches(), "device"),
        ]
    )


def _devices() -> Iterator[tuple[str, AttentionSpec]]:
    for vectors in (*PROCESSORS, None):
        device = Device("cpu", vectors=vectors)
        yield str(device), _TRIANGLE._replace(device=device)
    for platform in ("tpu", "rocm", "mps"):
        yield platform, _TRIANGLE._replace(device=Device(platform))
    for capability, card in CARDS.items():
        device = Device("cuda", capability)
        yield f"{device} ({card.example})", _TRIANGLE._replace(device=device)
    newest = Device("cuda", (13, 0))
    yield f"{newest} (not yet known)", _TRIANGLE._replace(device=newest)
    bare = Device("cuda", (9, 0), packages=())
    yield f"{bare} without Triton", _TRIANGLE._replace(device=bare)


def _device_rows() -> Iterator[str]:
    yield "| device | auto takes | because | known from |"
    yield "| --- | --- | --- | --- |"
    for name, spec in _devices():
        row = f"| {name} | {choose_backend(spec)} | {_reasons(spec)} |"
        yield f"{row} {_source(spec.device)} |"


def _source(device: Device) -> str:
    """What says so."""
    capability = device.compute_capability
    if device.vectors is not None:
        return "run here: `tests/kernels/test_host_code.py`"
    if capability is None:
        return "what the others are written for; `xla` is JAX's own"
    if not device.packages:
        return "what is installed"
    if capability < (8, 0):
        return (
            "CUDA C++ Programming Guide, arithmetic instructions; unverified here, the"
            " canary decides"
        )
    if capability in UNASSEMBLED:
        return "`ptxas` 12.9: value 'sm_110a' is not defined; unverified here"
    if capability > NEWEST_CAPABILITY:
        return "Triton 3.9.0; cuDNN 9.28 takes 8.0 and newer; unverified here"
    return "compiled and assembled here: `tests/kernels/test_machine_code.py`"


def _hazard_rows() -> Iterator[str]:
    yield "| compute capability | what goes wrong | remedy | known from |"
    yield "| --- | --- | --- | --- |"
    for hazard in HAZARDS:
        names = ", ".join(f"{major}.{minor}" for major, minor in hazard.capabilities)
        yield f"| {names} | {hazard.sentence} | {hazard.remedy} | {hazard.source} |"


def _reasons(spec: AttentionSpec | SegmentsSpec) -> str:
    """Of the backends that would have been taken first."""
    refusals = itertools.takewhile(lambda row: row[1], explain(spec).items())
    return "; ".join(f"{name}: {why}" for name, why in refusals) or "–"


def _requests() -> Iterator[tuple[str, AttentionSpec]]:
    segments = {"query_segments": (1, 512), "key_segments": (1, 512)}
    changes = {
        "triangle attention": {},
        "the same in float32": {"dtype": "float32", "bias_dtype": "float32"},
        "20 channels a head": {"num_channels": 20},
        "128 channels a head": {"num_channels": 128},
        "192 channels a head": {"num_channels": 192},
        "segments with a bias": segments,
        "segments without a bias": segments | {"bias": None, "bias_dtype": None},
        "causal": {"is_causal": True},
        "a mask for each row of the batch": {"dense_mask": (512, 1, 512, 512)},
    }
    for name, change in changes.items():
        yield name, _TRIANGLE._replace(**change)


def _searches() -> Iterator[tuple[str, SegmentsSpec]]:
    spec = SegmentsSpec(8, 400, 29, 100_000, 35_000_000, Device("cpu"))
    yield "cpu", spec
    for capability in ((7, 5), (8, 0), (8, 9), (9, 0), (11, 0), (12, 0)):
        device = Device("cuda", capability)
        yield f"{device} ({CARDS[capability].example})", spec._replace(device=device)


def _rows(
    specs: Iterator[tuple[str, AttentionSpec | SegmentsSpec]], heading: str
) -> Iterator[str]:
    yield f"| {heading} | auto takes | because |"
    yield "| --- | --- | --- |"
    for name, spec in specs:
        yield f"| {name} | {choose_backend(spec)} | {_reasons(spec)} |"


def with_table(text: str) -> str:
    """`text` with the table between its two marks."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
