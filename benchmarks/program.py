"""What an optimised program of XLA moves and launches, read from its text.

XLA's own cost analysis counts the body of a loop once, and an array of which a slice
is read as if all of it were. Here a loop counts as often as it runs, a slice as what
it is, and every kernel reads its operands and writes its result once: what it reads
again is taken to come from a cache.
"""

import functools
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

_BYTES = {"pred": 1, "bf16": 2, "token": 0}
_ARRAY = re.compile(r"\b([a-z]+(\d*)\w*)\[([\d,]*)\]")
_HEADER = re.compile(r"^(?:ENTRY )?%(\S+) .*\{$")
_INSTRUCTION = re.compile(
    r"^ +(ROOT )?%(\S+) = (.+?) ([a-z][a-z0-9-]*)\(([^)]*)\)(.*)$"
)
_NAME = re.compile(r"%([\w.-]+)")
_CALLED = re.compile(r"\b(?:calls|body|true_computation|false_computation)=%([\w.-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_OPAQUE = re.compile(r'opaque = "((?:[^"\\]|\\.)*)"')
_ENTRY = re.compile(rb"\.entry (\w+)\(")
# From the first directive to the last brace of text; what follows is binary.
_PTX = re.compile(rb"\.version [\t\n\r -~]*\}")

# Names for values, and ends of what has been counted at its start.
_FREE = {
    "after-all",
    "async-done",
    "bitcast",
    "constant",
    "copy-done",
    "fusion-done",
    "get-tuple-element",
    "parameter",
    "partition-id",
    "replica-id",
    "tuple",
}
_SLICES = {"slice", "dynamic-slice", "gather"}


class Traffic(NamedTuple):
    """What a program, or a part of it, costs."""

    memory_bytes: float = 0.0
    launches: int = 0
    kernels: Counter[str] = Counter()
    """Calls of our own kernels, by name."""

    def __add__(self, other: "Traffic") -> "Traffic":  # pyright: ignore
        return Traffic(
            self.memory_bytes + other.memory_bytes,
            self.launches + other.launches,
            self.kernels + other.kernels,
        )

    def times(self, count: int) -> "Traffic":
        """The same, `count` times."""
        kernels = Counter({name: n * count for name, n in self.kernels.items()})
        return Traffic(self.memory_bytes * count, self.launches * count, kernels)


class Instruction(NamedTuple):
    """One line of a computation."""

    name: str
    type: str
    op: str
    operands: tuple[str, ...]
    attributes: str
    is_root: bool


Computation = dict[str, Instruction]


class Program:
    """An optimised program, as `Compiled.as_text` writes it."""

    def __init__(self, text: str) -> None:
        self.computations: dict[str, Computation] = {}
        self.entry = ""
        self._traffic: dict[str, Traffic] = {}
        current: Computation = {}
        for line in text.splitlines():
            if header := _HEADER.match(line):
                current = self.computations.setdefault(header[1], {})
                if line.startswith("ENTRY"):
                    self.entry = header[1]
            elif found := _INSTRUCTION.match(line):
                root, name, type_, op, operands, attributes = found.groups()
                names = tuple(_NAME.findall(operands))
                current[name] = Instruction(
                    name, type_, op, names, attributes, root is not None
                )

    def traffic(self) -> Traffic:
        """Everything that one run of the program moves and launches."""
        return self._computation(self.entry)

    def _computation(self, name: str) -> Traffic:
        if name not in self._traffic:
            computation = self.computations[name]
            parts = (self._instruction(x, computation) for x in computation.values())
            self._traffic[name] = sum(parts, Traffic())
        return self._traffic[name]

    def _instruction(self, x: Instruction, around: Computation) -> Traffic:
        if x.op in _FREE:
            return Traffic()
        called = _CALLED.findall(x.attributes)
        if x.op == "while":
            trips = _TRIPS.search(x.attributes)
            if trips is None:
                raise ValueError(f"loop {x.name} does not say how often it runs")
            return self._computation(called[0]).times(int(trips[1]))
        if x.op == "conditional":
            for names in _BRANCHES.findall(x.attributes):
                called += _NAME.findall(names)
            return max(map(self._computation, called))
        if x.op in ("call", "async-start"):
            return self._computation(called[0])
        if x.op in ("fusion", "fusion-start"):
            fused = self.computations[called[0]]
            moved = _bytes_written(fused) + _bytes_read(fused)
            return Traffic(moved, 1, Counter(kernels_of(fused.values())))
        operands = [around[name].type for name in x.operands]
        return Traffic(_moved_by(x, operands), 1, Counter(kernels_of([x])))


def _size_read(x: Instruction, position: int, types: Sequence[str]) -> float:
    """Bytes of one operand that an instruction reads, given the types of all.

    Our attention is given a stack of biases, with the number of the one that it reads
    after it.
    """
    size = size_of(types[position])
    is_stack = types[position + 1 : position + 2] == ["s32[1]{0}"]
    if is_stack and "flash_attention" in kernels_of([x]):
        found = _ARRAY.search(types[position])
        assert found is not None, "a stack is an array"
        return size / int(found[3].split(",")[0])
    return size


def _moved_by(x: Instruction, operands: list[str]) -> float:
    """Bytes of an instruction that is a kernel of its own."""
    if x.op in _SLICES:
        return 2 * size_of(x.type)
    if x.op == "dynamic-update-slice":
        return 2 * size_of(operands[1])
    # Of one array given several times, one is read.
    by_name = {name: _size_read(x, i, operands) for i, name in enumerate(x.operands)}
    return sum(by_name.values()) + _result_bytes(x)


def _result_bytes(x: Instruction) -> int:
    """Bytes of a result; the workspace of a library is not one."""
    workspace = r", s8\[\d+\](\{0\})?\)$" if x.op == "custom-call" else r"$^"
    return size_of(re.sub(workspace, ")", x.type))


def _root(computation: Computation) -> Instruction:
    return next(x for x in computation.values() if x.is_root)


def _bytes_written(fused: Computation) -> int:
    root = _root(fused)
    results = [fused[name] for name in root.operands] if root.op == "tuple" else [root]
    return sum(_written_by(x, fused) for x in results)


def _written_by(x: Instruction, fused: Computation) -> int:
    while x.op == "bitcast":
        x = fused[x.operands[0]]
    if x.op == "dynamic-update-slice":
        return size_of(fused[x.operands[1]].type)
    if x.op == "parameter":
        return 0
    return _result_bytes(x)


def _bytes_read(fused: Computation) -> float:
    """Bytes of its parameters that a fused computation reads.

    The part of every value that is needed is found from the result backwards.
    """
    needed = dict.fromkeys(fused, 0.0)
    needed[_root(fused).name] = 1.0
    is_result = {_root(fused).name}
    total = 0.0
    for x in reversed(fused.values()):
        part = needed[x.name]
        if x.op == "parameter":
            total += part * size_of(x.type)
        if x.name in is_result and x.op in ("tuple", "bitcast"):
            is_result |= set(x.operands)
        for position, name in enumerate(x.operands):
            share = part
            if x.op in _SLICES and position == 0:
                share *= size_of(x.type) / max(size_of(fused[name].type), 1)
            elif x.op == "dynamic-update-slice" and x.name in is_result:
                share = float(position != 0)  # written in place
            elif x.op in ("broadcast", "reduce", "dynamic-slice", "gather"):
                share = float(part > 0)
            elif x.op == "custom-call":
                types = [fused[y].type for y in x.operands]
                whole = max(size_of(types[position]), 1)
                share = _size_read(x, position, types) / whole
            needed[name] = min(1.0, needed[name] + share)
    return total


@functools.cache
def size_of(type_: str) -> int:
    """Bytes of an array's type, or of all in a tuple."""
    total = 0
    for dtype, bits, dims in _ARRAY.findall(type_):
        size = _BYTES[dtype] if dtype in _BYTES else int(bits) // 8
        for dim in filter(None, dims.split(",")):
            size *= int(dim)
        total += size
    return total


def kernels_of(instructions: Iterable[Instruction]) -> list[str]:
    """Names of the Triton kernels that are called."""
    return [
        kernel_of(call)
        for x in instructions
        if "triton_kernel_call_ffi" in x.attributes
        for call in triton_calls(x.attributes)
    ]


def kernel_of(call: bytes) -> str:
    """The kernel's name in one of `triton_calls`."""
    entry = _ENTRY.search(call)
    if entry is None:
        raise ValueError("a call of Triton without an entry in its PTX")
    return entry[1].decode()


def triton_calls(program: str) -> Iterator[bytes]:
    """What jax-triton hands to XLA for each kernel: its PTX and how to launch it."""
    for literal in _OPAQUE.findall(program):
        yield zlib.decompress(_bytes_of(literal))


def ptx_of(program: str) -> list[str]:
    """The PTX of each Triton kernel called in a program."""
    return [ptx[0].decode() for c in triton_calls(program) if (ptx := _PTX.search(c))]


def _bytes_of(literal: str) -> bytes:
    """The bytes of an MLIR string, in which a backslash escapes itself or a byte."""

    def unescape(match: re.Match[bytes]) -> bytes:
        return match[1] if match[1] == b"\\" else bytes.fromhex(match[1].decode())

    return re.sub(rb"\\(\\|[0-9A-F]{2})", unescape, literal.encode("latin-1"))
