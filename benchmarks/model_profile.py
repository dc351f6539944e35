"""Where the network's time goes on a CPU, by module and by kind of computation.

    python -m benchmarks.bench_model --profile --checkpoint af3.bin.zst
        [--tokens 128 256 512] [--dtypes float32 bfloat16]

XLA notes every thunk that it runs (jax.profiler); the compiled program says which
module of the network each was made for, and what it does. One pass through the trunk
and two steps of five samples are run; what a prediction of 1 recycle and 20 steps
spends is computed from them. Results go to benchmarks/results/model_cpu_profile.md.
"""

import multiprocessing
import re
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from af3_core.model.batch import spare_windows
from af3_core.model.checkpoint import load_checkpoint
from af3_core.model.config import Runtime
from af3_core.model.model import compile_predict
from tests.parity.adapter import batch_from_features

STEPS, NUM_LONGEST = 2, 12
_PASSES, _STEPS = 2, 20
"""Of the prediction whose shares are shown."""
KINDS = "product", "kernel", "copy", "elementwise", "other"

_PARTS = (
    ("confidence", r"/confidence/"),
    ("distogram", r"/distogram"),
    ("input embedding", r"/input_embedder/"),
    ("diffusion: conditioning", r"/diffusion_|->\.*khnm"),
    ("diffusion: transformer, attention", r"/diffusion/transformer/.*attention"),
    ("diffusion: transformer, transition", r"/diffusion/transformer/.*transition"),
    ("diffusion: transformer, rest", r"/diffusion/transformer"),
    ("diffusion: atom encoder", r"/diffusion/atom_encoder"),
    ("diffusion: atom decoder", r"/diffusion/atom_decoder"),
    ("diffusion: rest", r"/diffusion/"),
    ("templates", r"/template_embedder"),
    ("MSA module: pair", r"/msa_module/.*pair/"),
    ("MSA module: rest", r"/msa_module"),
    ("pairformer: triangle multiplication", r"/pairformer/.*triangle_multiplication"),
    ("pairformer: triangle attention", r"/pairformer/.*triangle_attention"),
    ("pairformer: pair transition", r"/pairformer/.*/pair/.*transition"),
    ("pairformer: single attention", r"/pairformer/.*single_attention"),
    ("pairformer: single transition", r"/pairformer/.*single_transition"),
    ("pairformer: rest", r"/pairformer"),
    (
        "pair initialisation, bonds",
        r"pair_initialisation|bond_embedding|recycle_|single_",
    ),
)
"""Parts of the network, by what their operations are called; the first that fits."""
_ONCE = ("confidence", "distogram", "input embedding", "diffusion: conditioning")
_REST = "random numbers, steps and all else"

_INSTRUCTION = re.compile(
    r"\s+(?:ROOT )?%?(?P<name>[\w.-]+) = (?P<type>.*?[\])}]) (?P<opcode>[a-z][\w-]*)\("
)
_COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.-]+) \(.*\{$")
_CALLED = re.compile(r"(?:calls|to_apply)=%?([\w.-]+)")
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_KERNEL = "kernel"
"""In place of the opcode of a call of one of ours."""
_CONTROL = {"while", "conditional", "call"}
_MOVES = {
    *("bitcast", "broadcast", "concatenate", "constant", "convert", "copy"),
    *("dynamic-slice", "dynamic-update-slice", "gather", "get-tuple-element", "iota"),
    *("pad", "parameter", "reshape", "reverse", "slice", "transpose", "tuple"),
}


@dataclass(frozen=True)
class Instruction:
    """One of a compiled program."""

    opcode: str
    shape: str
    op_name: str
    """The operation of the network that it was made for; empty if XLA gives none."""
    called: str
    """The computation that it runs, such as that of a fusion; or empty."""


@dataclass(frozen=True)
class Program:
    """What a compiled program's text says of it."""

    instructions: Mapping[str, Instruction]
    computations: Mapping[str, Sequence[str]]
    """The instructions in each."""

    def inside(self, name: str) -> Iterator[Instruction]:
        """An instruction and all that it runs, except for what a loop repeats."""
        instruction = self.instructions[name]
        yield instruction
        if instruction.opcode not in _CONTROL:
            for other in self.computations.get(instruction.called, ()):
                yield from self.inside(other)

    def kind(self, name: str) -> str:
        """One of `KINDS`: a product wherever there is one, a copy if nothing but
        numbers' places or types change. Arithmetic on single numbers does not count."""
        opcodes = {
            i.opcode for i in self.inside(name) if not re.search(r"\w\[\]", i.shape)
        } - {"fusion"}
        if opcodes & {"dot", "convolution"}:
            return "product"
        if _KERNEL in opcodes:
            return "kernel"
        if opcodes & {"custom-call", "sort", "rng-bit-generator", "scatter"}:
            return "other"
        return "copy" if opcodes <= _MOVES else "elementwise"

    def part(self, name: str) -> str:
        """The part of the network that an instruction belongs to: of a fusion, the one
        that most of its operations belong to; of what XLA gives no name, as of many
        copies, the one of most instructions beside it."""
        for group in (self.inside(name), self.beside(name)):
            names = {i.op_name for i in group if "/" in i.op_name}
            if names:
                return Counter(map(part_of, sorted(names))).most_common(1)[0][0]
        return _REST

    def beside(self, name: str) -> list[Instruction]:
        """All instructions of the computation that an instruction stands in."""
        return next(
            [self.instructions[other] for other in others]
            for others in self.computations.values()
            if name in others
        )


def part_of(op_name: str) -> str:
    """The part of the network that an operation belongs to."""
    return next((part for part, text in _PARTS if re.search(text, op_name)), _REST)


def read_program(text: str) -> Program:
    """Reads XLA's text of a compiled program."""
    instructions: dict[str, Instruction] = {}
    computations: dict[str, list[str]] = {}
    here: list[str] = []
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            here = computations.setdefault(found[1], [])
        elif found := _INSTRUCTION.match(line):
            op_name, called = _OP_NAME.search(line), _CALLED.search(line)
            here.append(found["name"])
            is_ours = 'custom_call_target="foldmill_' in line
            instructions[found["name"]] = Instruction(
                *(_KERNEL if is_ours else found["opcode"], found["type"]),
                *(x[1] if x else "" for x in (op_name, called)),
            )
    return Program(instructions, computations)


@dataclass(frozen=True)
class Event:
    """What a thread was busy with, ns."""

    name: str
    start: float
    duration: float


def own_times(events: Sequence[Event]) -> Iterator[tuple[str, float]]:
    """Seconds of every event of a thread without those of the events within it."""
    open_events: list[tuple[Event, list[float]]] = []
    for event in sorted(events, key=lambda e: (e.start, -e.duration)):
        while open_events and event.start >= _end(open_events[-1][0]):
            yield _own(*open_events.pop())
        if open_events:
            open_events[-1][1].append(event.duration)
        open_events.append((event, []))
    while open_events:
        yield _own(*open_events.pop())


def _end(event: Event) -> float:
    return event.start + event.duration


def _own(event: Event, within: Sequence[float]) -> tuple[str, float]:
    return event.name, max(0.0, event.duration - sum(within)) / 1e9


@dataclass(frozen=True)
class Line:
    """An instruction that takes long."""

    seconds: float
    calls: int
    kind: str
    part: str
    shape: str
    name: str


@dataclass(frozen=True)
class Profile:
    """One run of the network."""

    wall: float
    """s"""
    busy: float
    """Processor time of all threads, s."""
    parts: Mapping[str, Mapping[str, float]]
    """Seconds of threads by part and kind."""
    longest: Sequence[Line]


def summarise(
    threads: Sequence[Sequence[Event]], program: Program, wall: float, busy: float
) -> Profile:
    """Joins what threads did to what the program says of it."""
    seconds: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for events in threads:
        for name, own in own_times(events):
            if program.instructions[name].opcode not in _CONTROL:
                seconds[name] += own
                calls[name] += 1
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    lines = []
    for name, taken in seconds.most_common():
        kind, part = program.kind(name), program.part(name)
        parts[part][kind] += taken
        shape = program.instructions[name].shape
        lines.append(Line(taken, calls[name], kind, part, shape, name))
    return Profile(wall, busy, parts, lines[:NUM_LONGEST])


def profile(task: Mapping[str, Any]) -> Profile:
    """Runs one task of `one_network` under the profiler, in this process."""
    checkpoint = load_checkpoint(Path(task["checkpoint"]), dtype=task["dtype"])
    sampler = replace(checkpoint.config.sampler, num_steps=STEPS)
    config = replace(checkpoint.config, num_recycles=0, sampler=sampler)
    with np.load(task["features"]) as arrays:
        batch = spare_windows(batch_from_features(dict(arrays)))
    drawn, key = np.int32(len(batch.tokens.mask)), jax.random.PRNGKey(1)
    given = checkpoint.params, batch, key, drawn
    network: Any = compile_predict(config, Runtime(dtype=task["dtype"]))
    run = network.lower(*given).compile()
    jax.block_until_ready(run(*given))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            wall, busy = time.perf_counter(), time.process_time()
            jax.block_until_ready(run(*given))
            wall, busy = time.perf_counter() - wall, time.process_time() - busy
        (path,) = Path(folder).rglob("*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(path))
    program = read_program(run.as_text())
    threads = [
        [
            Event(event.name, event.start_ns, event.duration_ns)
            for event in line.events
            if event.name in program.instructions
        ]
        for plane in data.planes
        for line in plane.lines
        if line.name != "python"
    ]
    return summarise(threads, program, wall, busy)


def times_of(part: str) -> int:
    """How often a part is computed in the prediction whose shares are shown, for once
    that it was profiled."""
    if part in _ONCE or part == _REST:
        return 1
    return _STEPS // STEPS if part.startswith("diffusion") else _PASSES


def tables(found: Profile) -> list[str]:
    """Markdown: parts by kind, and the instructions that take longest."""
    order = [part for part, _ in _PARTS] + [_REST]
    shares = {
        part: times_of(part) * sum(found.parts[part].values())
        for part in order
        if part in found.parts
    }
    whole = sum(shares.values())
    every = sum(sum(kinds.values()) for kinds in found.parts.values())
    lines = [
        f"| part | s | {' | '.join(KINDS)} | of a prediction |",
        "| --- |" + " --: |" * (len(KINDS) + 2),
    ]
    for part, share in shares.items():
        kinds = found.parts[part]
        total = sum(kinds.values())
        ratios = " | ".join(f"{kinds.get(k, 0.0) / total:.0%}" for k in KINDS)
        lines.append(f"| {part} | {total:.2f} | {ratios} | {share / whole:.1%} |")
    ratios = " | ".join(
        f"{sum(k.get(kind, 0.0) for k in found.parts.values()) / every:.0%}"
        for kind in KINDS
    )
    lines += [
        f"| all | {every:.2f} | {ratios} | 100% |",
        "",
        f"| s | of the run | calls | kind | part | shape | the {NUM_LONGEST} that take"
        " longest |",
        "| --: | --: | --: | --- | --- | --- | --- |",
    ]
    for line in found.longest:
        lines.append(
            f"| {line.seconds:.2f} | {line.seconds / every:.1%} | {line.calls:,}"
            f" | {line.kind} | {line.part} | `{line.shape}` | `{line.name}` |"
        )
    return lines


def profiles(
    checkpoint: Path, features: Mapping[int, Path], dtypes: Sequence[str]
) -> Iterator[str]:
    """Sections of the page: every size in every type, each in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    for num_tokens, path in features.items():
        for dtype in dtypes:
            task = {
                "checkpoint": str(checkpoint),
                "features": str(path),
                "dtype": dtype,
            }
            with spawn.Pool(1) as pool:
                found = pool.apply(profile, (task,))
            yield from (
                "",
                f"## {num_tokens} tokens, {dtype}",
                "",
                f"{found.wall:.1f} s, in which the processor was busy for"
                f" {found.busy:.1f} s.",
                "",
                *tables(found),
            )


def page(machine: str) -> list[str]:
    """How the page begins."""
    return [
        "# Where the network's time goes on a CPU",
        "",
        "`python -m benchmarks.bench_model --profile --checkpoint af3.bin.zst` on"
        f" {machine}. The network of full size makes one pass through the trunk and"
        f" {STEPS} steps of five samples, compiled before. Seconds are those in which a"
        " thread ran an instruction of XLA's, all threads together; a product that"
        " several threads share counts once. Of a fusion, the kind is product if it has"
        " one, copy if it only moves or converts numbers; its part is that of most of"
        " its operations. Kernels are ours, `kernels/*_cpu.py`, products and all else"
        f" in one. The last column: {_PASSES} passes and {_STEPS} steps.",
    ]
