"""`best_segments` on the host's processor, by machine code that LLVM makes for it.

The columns of one or several profiles lie in 64 lanes, as many next to one another in
each: stripe k is the k-th column of every lane. A residue moves every diagonal on by
one column, so from each stripe to the next, which are vectors that stay in registers;
only the last stripe's values go on in the next lane. That is a saturating subtraction
and a maximum for 64 cells, and every load is aligned. A bound from above needs half of
the maxima. Needs no JAX.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from jaxtyping import Int8, Int64, UInt8, UInt64
from llvmlite import ir
from numpy import ndarray

from kernels.host_machine import load, parse
from kernels.segments import HIGHEST, PackedSequences, Profiles, check_classes

if TYPE_CHECKING:
    from kernels.spec import SegmentsSpec

_LANES = 64
_STRIPES, _MOST_STRIPES = 16, 27
"""Of a group of profiles, whose rows of 20 residues then fit a first cache of 32 KiB;
and of one that is longer, which with all else are as many registers as there are."""
_FORBIDDEN = 127
_LOWEST = -128  # a byte that stands for the score 0


def unsupported(spec: "SegmentsSpec") -> str | None:
    """Never refuses: every machine has a processor."""
    return None


def run(
    profiles: Profiles, targets: PackedSequences, *, spec: "SegmentsSpec"
) -> UInt8[ndarray, "q s"]:
    """The best segment of each query with each target."""
    scores = np.empty((len(profiles), len(targets.lengths)), np.uint8)
    for rows in group_profiles([costs.shape[1] for costs in profiles]):
        scores[rows] = stripe([profiles[row] for row in rows]).scores(targets)
    return scores


def segment_scores(
    costs: Int8[ndarray, "classes m"], sequences: PackedSequences
) -> UInt8[ndarray, "s"]:
    """The highest sum of negated costs over ungapped segments, for each sequence.

    A segment pairs consecutive residues with consecutive columns of the profile. The
    empty one has score 0; sums saturate at 255, and a cost of 127 forbids.

    Args:
        costs: what a residue of each class costs in each column; negative is a score.
        sequences: residue classes must be below `classes`.
    """
    return stripe([costs]).scores(sequences)[0]


def group_profiles(lengths: Sequence[int]) -> list[list[int]]:
    """Which profiles to lay side by side: full lanes, and a table that stays cached.

    Args:
        lengths: columns of each.

    Returns:
        Their indices, group by group; the first that has room takes the next.
    """
    groups: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        lanes = _divide_up(lengths[index], _STRIPES)
        found = next((g for g, left in enumerate(room) if left >= lanes), None)
        if found is None:
            found = len(groups)
            groups.append([])
            room.append(_LANES)
        groups[found].append(index)
        room[found] -= lanes
    return groups


class _Part(NamedTuple):
    """Columns that one pass over the sequences takes."""

    table: Int8[ndarray, "classes stripes 64"]
    continues: int
    """Bits of the lanes whose columns follow those of the lane before."""


@dataclass(frozen=True)
class Striped:
    """One or several profiles side by side in lanes; made by `stripe`."""

    parts: tuple[_Part, ...]
    """More than one only if a profile is too long: it goes on in the next."""
    lanes: UInt64[ndarray, "q"]
    """Bits of the lanes of each profile."""
    highest_cost: int | None
    """Higher ones were lowered to it, for bounds instead of scores."""

    def scores(
        self, sequences: PackedSequences, chosen: Int64[ndarray, "s"] | None = None
    ) -> UInt8[ndarray, "q s"]:
        """The best segment of each profile with each sequence, or with those chosen;
        or bounds on it from above."""
        check_classes(len(self.parts[0].table), sequences)
        residues = np.ascontiguousarray(sequences.residues)
        starts = np.ascontiguousarray(sequences.starts)
        if chosen is None:
            chosen = np.arange(len(starts) - 1)
        shape = len(self.lanes), len(chosen)
        scores = np.zeros(shape, np.uint8)
        # What comes out of a part's last lane at each residue.
        linked = len(self.parts) > 1
        size = len(residues) if linked else 0
        incoming, outgoing = np.full((2, size), _LOWEST, np.int8)
        for table, continues in self.parts:
            found = np.empty(shape, np.uint8)
            _compiled(table.shape[1], linked, self.highest_cost is not None)(
                table.ctypes.data,
                continues,
                residues.ctypes.data,
                starts.ctypes.data,
                chosen.ctypes.data,
                shape[1],
                self.lanes.ctypes.data,
                shape[0],
                found.ctypes.data,
                incoming.ctypes.data,
                outgoing.ctypes.data,
            )
            np.maximum(scores, found, out=scores)
            incoming, outgoing = outgoing, incoming
        if self.highest_cost is None:
            return scores
        # Where a segment's end was not looked at, the next residue's column was.
        slack = np.uint8(self.highest_cost)
        return np.minimum(scores, np.uint8(HIGHEST) - slack) + slack


def stripe(profiles: Profiles, highest_cost: int | None = None) -> Striped:
    """Lays profiles side by side, with as few stripes as they need.

    Args:
        profiles: of the same classes.
        highest_cost: for bounds on the scores, in nine tenths of the time, which are
            too high by at most this and by what costs beyond it would have taken off.

    Raises:
        ValueError: more than one that together need more lanes than there are.
    """
    lengths = [costs.shape[1] for costs in profiles]
    if len(profiles) == 1 and lengths[0] > _LANES * _MOST_STRIPES:
        (costs,) = profiles
        count = _divide_up(lengths[0], _LANES * _STRIPES)
        # Whole parts: the next one's first column has to follow the last lane's.
        stripes = _divide_up(lengths[0], _LANES * count)
        width = stripes * _LANES
        cut = [costs[:, at : at + width] for at in range(0, lengths[0], width)]
        tables = (_table([part], stripes, highest_cost) for part in cut)
        return Striped(
            tuple(_Part(table, (1 << _LANES) - 2) for table in tables),
            np.array([(1 << _LANES) - 1], np.uint64),
            highest_cost,
        )
    stripes = next(
        (
            count
            for count in range(1, _MOST_STRIPES + 1)
            if sum(_divide_up(length, count) for length in lengths) <= _LANES
        ),
        None,
    )
    if stripes is None:
        raise ValueError(f"no room for profiles of {lengths} columns")
    widths = [max(1, _divide_up(length, stripes)) for length in lengths]
    begins = [sum(widths[:row]) for row in range(len(widths))]
    lanes = [((1 << w) - 1) << b for w, b in zip(widths, begins, strict=True)]
    continues = (1 << _LANES) - 1 - sum(1 << begin for begin in begins)
    part = _Part(_table(profiles, stripes, highest_cost), continues)
    return Striped((part,), np.array(lanes, np.uint64), highest_cost)


def _divide_up(number: int, by: int) -> int:
    return -(-number // by)


def _table(
    profiles: Profiles, stripes: int, highest_cost: int | None
) -> Int8[ndarray, "classes stripes 64"]:
    """Costs by class, stripe and lane; each profile begins with a new lane."""
    classes = len(profiles[0])
    size = classes * stripes * _LANES
    memory = np.empty(size + _LANES, np.int8)
    first = -memory.ctypes.data % _LANES
    table = memory[first : first + size].reshape(classes, stripes, _LANES)
    table[:] = _FORBIDDEN
    lane = 0
    for costs in profiles:
        width = max(1, _divide_up(costs.shape[1], stripes))
        padded = np.full((classes, width * stripes), _FORBIDDEN, np.int8)
        padded[:, : costs.shape[1]] = costs
        lanes = padded.reshape(classes, width, stripes)
        table[:, :, lane : lane + width] = lanes.transpose(0, 2, 1)
        lane += width
    if highest_cost is not None:
        np.minimum(table, np.int8(highest_cost), out=table)
    return table


# LLVM's instructions, written by llvmlite's builder: what else is easy to read is
# slower or does not come along. In one run on an EPYC with AVX-512, C with that
# processor's intrinsics took 0.99 to 1.02 of its time, but wants a compiler where the
# package is installed, and a source for every kind of vector and number of stripes;
# numba took 6 times as long for 1,000 columns and 10 times for 400, for it keeps the
# lanes in memory.
_BYTE, _INTEGER, _POINTER = ir.IntType(8), ir.IntType(64), ir.PointerType()
_VECTOR = ir.VectorType(_BYTE, _LANES)
_CHOICE = ir.VectorType(ir.IntType(1), _LANES)
_PLACES = ir.VectorType(ir.IntType(32), _LANES)
_NOTHING = ir.Constant(_VECTOR, [_LOWEST] * _LANES)
_ARGUMENTS = {
    "table": _POINTER,
    "continues": _INTEGER,
    "residues": _POINTER,
    "starts": _POINTER,
    "chosen": _POINTER,
    "num_chosen": _INTEGER,
    "lanes": _POINTER,
    "num_profiles": _INTEGER,
    "scores": _POINTER,
    "incoming": _POINTER,
    "outgoing": _POINTER,
}
_C_TYPES = {_POINTER: ctypes.c_void_p, _INTEGER: ctypes.c_uint64}


class _Kernel:
    """Writes the kernel for so many stripes."""

    def __init__(self, stripes: int, *, linked: bool, bounds: bool) -> None:
        self.stripes, self.linked = stripes, linked
        # The last one always is: the values go on in another lane, or not at all.
        step = 2 if bounds else 1
        self.looked_at = range((stripes - 1) % step, stripes, step)
        self.module = ir.Module()
        signature = ir.FunctionType(ir.VoidType(), list(_ARGUMENTS.values()))
        self.function = ir.Function(self.module, signature, "segments")
        self.arguments = dict(zip(_ARGUMENTS, self.function.args, strict=True))
        pair = ir.FunctionType(_VECTOR, [_VECTOR, _VECTOR])
        reduction = ir.FunctionType(_BYTE, [_VECTOR])
        name = f"v{_LANES}i8"
        self.subtract = ir.Function(self.module, pair, f"llvm.ssub.sat.{name}")
        self.maximum = ir.Function(self.module, pair, f"llvm.smax.{name}")
        self.highest = ir.Function(
            self.module, reduction, f"llvm.vector.reduce.smax.{name}"
        )
        self.builder = ir.IRBuilder(self.function.append_basic_block())
        # Variables, which LLVM turns into registers.
        self.values = [self.builder.alloca(_VECTOR) for _ in range(stripes)]
        # Two, or each maximum would wait for the one before.
        self.best = [self.builder.alloca(_VECTOR) for _ in range(2)]
        self.write()

    def write(self) -> None:
        """For each sequence: all residues, then the best of each profile's lanes."""
        builder, given = self.builder, self.arguments
        nothing, one = ir.Constant(_INTEGER, 0), ir.Constant(_INTEGER, 1)
        with self.loop(nothing, given["num_chosen"]) as index:
            for variable in (*self.values, *self.best):
                builder.store(_NOTHING, variable)
            sequence = self.load(given["chosen"], index, _INTEGER)
            start = self.load(given["starts"], sequence, _INTEGER)
            stop = self.load(given["starts"], builder.add(sequence, one), _INTEGER)
            with self.loop(start, stop) as place:
                self.take_residue(place)
            # Segments that end with the sequence have no next residue.
            for stripe in set(range(self.stripes)) - set(self.looked_at):
                self.look_at(stripe)
            best = builder.call(self.maximum, [builder.load(b) for b in self.best])
            with self.loop(nothing, given["num_profiles"]) as profile:
                lanes = self.load(given["lanes"], profile, _INTEGER)
                own = builder.select(builder.bitcast(lanes, _CHOICE), best, _NOTHING)
                highest = builder.call(self.highest, [own])
                row = builder.mul(profile, given["num_chosen"])
                score = self.at(given["scores"], builder.add(row, index), _BYTE)
                shifted = builder.sub(highest, ir.Constant(_BYTE, _LOWEST))
                builder.store(shifted, score)
        builder.ret_void()

    def take_residue(self, place: ir.Value) -> None:
        """Every diagonal goes on by a column."""
        builder, given = self.builder, self.arguments
        residue = builder.zext(self.load(given["residues"], place, _BYTE), _INTEGER)
        first = builder.mul(residue, ir.Constant(_INTEGER, self.stripes))
        last = builder.load(self.values[-1])
        turn = ir.Constant(_PLACES, [(lane - 1) % _LANES for lane in range(_LANES)])
        turned = builder.shuffle_vector(last, last, turn)
        begins = _NOTHING
        if self.linked:
            first_lane = ir.Constant(ir.IntType(32), 0)
            last_value = builder.extract_element(turned, first_lane)
            builder.store(last_value, self.at(given["outgoing"], place, _BYTE))
            came = self.load(given["incoming"], place, _BYTE)
            begins = builder.insert_element(_NOTHING, came, first_lane)
            begins = builder.shuffle_vector(begins, begins, ir.Constant(_PLACES, None))
        continues = builder.bitcast(given["continues"], _CHOICE)
        befores = [builder.select(continues, turned, begins)]
        befores += [builder.load(value) for value in self.values[:-1]]
        for stripe, before in enumerate(befores):
            index = builder.add(first, ir.Constant(_INTEGER, stripe))
            costs = self.load(given["table"], index, _VECTOR)
            value = builder.call(self.subtract, [before, costs])
            builder.store(value, self.values[stripe])
        for stripe in self.looked_at:
            self.look_at(stripe)

    def look_at(self, stripe: int) -> None:
        """The best so far, if a stripe has a better one."""
        builder, best = self.builder, self.best[stripe // 2 % len(self.best)]
        values = [builder.load(best), builder.load(self.values[stripe])]
        builder.store(builder.call(self.maximum, values), best)

    def at(self, pointer: ir.Value, index: Any, kind: ir.Type) -> ir.Value:
        """The address of an element."""
        return self.builder.gep(pointer, [index], source_etype=kind)

    def load(self, pointer: ir.Value, index: Any, kind: ir.Type) -> ir.Value:
        """An element of an array."""
        return self.builder.load(self.at(pointer, index, kind), typ=kind)

    @contextmanager
    def loop(self, start: ir.Value, stop: ir.Value) -> Iterator[ir.Value]:
        """Writes what is in the `with` block as the body of a loop."""
        builder = self.builder
        entry = builder.block
        head, body, end = (self.function.append_basic_block() for _ in range(3))
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(_INTEGER)
        index.add_incoming(start, entry)
        builder.cbranch(builder.icmp_signed("<", index, stop), body, end)
        builder.position_at_end(body)
        yield index
        index.add_incoming(builder.add(index, ir.Constant(_INTEGER, 1)), builder.block)
        builder.branch(head)
        builder.position_at_end(end)


@cache
def _compiled(stripes: int, linked: bool, bounds: bool) -> Callable[..., None]:
    kernel = _Kernel(stripes, linked=linked, bounds=bounds)
    module, machine = parse(kernel.module)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_loop_rotate_pass()
    options = llvm.create_pipeline_tuning_options()
    passes.run(module, llvm.create_pass_builder(machine, options))
    types = [_C_TYPES[kind] for kind in _ARGUMENTS.values()]
    return load(machine.emit_object(module), "segments", types)
