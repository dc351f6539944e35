"""`best_segments` on the host's processor, by machine code that LLVM makes for it.

64 diagonals at a time, each in one lane of a vector, a saturating subtraction and a
maximum per residue. Both instructions want the same unit of the processor, so
`segment_bounds` takes the maximum at every other residue only: what it misses is at
most the score of one residue. Needs no JAX.
"""

import ctypes
from functools import cache
from string import Template
from typing import TYPE_CHECKING, Any

import llvmlite.binding as llvm
import numpy as np
from jaxtyping import Int8, UInt8
from numpy import ndarray

from kernels.segments import HIGHEST, PackedSequences, Profiles, check_classes

if TYPE_CHECKING:
    from kernels.spec import SegmentsSpec

_LANES = 64
_PAD = _LANES - 1
_FORBIDDEN = 127

# LLVM's own text, because what is easier to read is slower or does not come along.
# In one run on an EPYC with AVX-512, with profiles of 120 to 900 columns: C with that
# processor's intrinsics takes 0.93 to 1.01 of its time, but wants a compiler where the
# package is installed, and a source for every kind of vector; numba takes 6.5 times as
# long, for it keeps the lanes in memory.
#
# Lane i of a group that begins at offset `first` holds the diagonal on which residue j
# of the sequence meets column j - first - 63 + i of the profile; so one step along the
# sequence is one contiguous load from the costs of the residue there.
_ASSEMBLY = Template("""
declare <64 x i8> @llvm.ssub.sat.v64i8(<64 x i8>, <64 x i8>)
declare <64 x i8> @llvm.smax.v64i8(<64 x i8>, <64 x i8>)
declare i8 @llvm.vector.reduce.smax.v64i8(<64 x i8>)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)

define void @$name(
    ptr noalias %costs, i64 %stride, i64 %columns, ptr noalias %residues,
    ptr noalias %starts, i64 %count, ptr noalias %scores) {
entry:
  %span = add i64 %columns, 63
  %leftmost = sub i64 1, %columns
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %sequence, label %return
sequence:
  %s = phi i64 [0, %entry], [%s.next, %write]
  %start.at = getelementptr i64, ptr %starts, i64 %s
  %stop.at = getelementptr i64, ptr %start.at, i64 1
  %start = load i64, ptr %start.at
  %stop = load i64, ptr %stop.at
  %length = sub i64 %stop, %start
  %letters = getelementptr i8, ptr %residues, i64 %start
  %has.residues = icmp sgt i64 %length, 0
  br i1 %has.residues, label %group, label %write
group:
  %first = phi i64 [%leftmost, %sequence], [%first.next, %group.end]
  %best = phi <64 x i8> [splat (i8 -128), %sequence], [%best.step, %group.end]
  %from = call i64 @llvm.smax.i64(i64 %first, i64 0)
  %end = add i64 %first, %span
  %to = call i64 @llvm.smin.i64(i64 %end, i64 %length)
  %shift = sub i64 0, %first
  %shifted = getelementptr i8, ptr %costs, i64 %shift
  br label %step
step:
  %j = phi i64 [%from, %group], [%j.next, %step]
  %value.0 = phi <64 x i8> [splat (i8 -128), %group], [%value.$pace, %step]
  %best.now = phi <64 x i8> [%best, %group], [%best.step, %step]
  $residues
  %best.step = call <64 x i8> @llvm.smax.v64i8(
      <64 x i8> %best.now, <64 x i8> %value.$pace)
  %j.next = add i64 %j, $pace
  %more = icmp slt i64 %j.next, %to
  br i1 %more, label %step, label %group.end
group.end:
  %first.next = add i64 %first, 64
  %again = icmp slt i64 %first.next, %length
  br i1 %again, label %group, label %reduce
reduce:
  %highest = call i8 @llvm.vector.reduce.smax.v64i8(<64 x i8> %best.step)
  %unsigned = xor i8 %highest, -128
  br label %write
write:
  %score = phi i8 [0, %sequence], [%unsigned, %reduce]
  %score.at = getelementptr i8, ptr %scores, i64 %s
  store i8 %score, ptr %score.at
  %s.next = add i64 %s, 1
  %next = icmp slt i64 %s.next, %count
  br i1 %next, label %sequence, label %return
return:
  ret void
}
""")

_RESIDUE = Template("""
  %j.$k = add i64 %j, $k
  %letter.at.$k = getelementptr i8, ptr %letters, i64 %j.$k
  %letter.$k = load i8, ptr %letter.at.$k
  %class.$k = zext i8 %letter.$k to i64
  %row.offset.$k = mul i64 %class.$k, %stride
  %row.$k = getelementptr i8, ptr %shifted, i64 %row.offset.$k
  %cost.at.$k = getelementptr i8, ptr %row.$k, i64 %j.$k
  %cost.$k = load <64 x i8>, ptr %cost.at.$k, align 1
  %value.$next = call <64 x i8> @llvm.ssub.sat.v64i8(
      <64 x i8> %value.$k, <64 x i8> %cost.$k)
""")


def unsupported(spec: "SegmentsSpec") -> str | None:
    """Never refuses: every machine has a processor."""
    return None


def run(
    profiles: Profiles, targets: PackedSequences, *, spec: "SegmentsSpec"
) -> UInt8[ndarray, "q s"]:
    """The best segment of each query with each target."""
    return np.stack([segment_scores(costs, targets) for costs in profiles])


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
    return _run(1, costs, sequences)


def segment_bounds(
    costs: Int8[ndarray, "classes m"], sequences: PackedSequences
) -> UInt8[ndarray, "s"]:
    """Bounds from above on `segment_scores`, in three quarters of its time.

    With the highest score of one residue, they are at most twice that too high.
    """
    highest = max(0, -int(costs.min(initial=0)))
    scores = _run(2, costs, sequences).astype(np.int64)
    return np.minimum(scores + highest, HIGHEST).astype(np.uint8)


def _run(
    pace: int, costs: Int8[ndarray, "classes m"], sequences: PackedSequences
) -> UInt8[ndarray, "s"]:
    """Runs the kernel that takes the maximum after every `pace` residues."""
    check_classes(len(costs), sequences)
    pads = ((0, 0), (_PAD, _LANES))
    padded = np.pad(costs, pads, constant_values=np.int8(_FORBIDDEN))
    # The last stride may reach beyond the last sequence: there is a spare residue.
    residues = np.ascontiguousarray(sequences.residues)
    starts = np.ascontiguousarray(sequences.starts)
    scores = np.empty(len(starts) - 1, np.uint8)
    _compiled(pace)(
        padded.ctypes.data,
        padded.shape[1],
        costs.shape[1],
        residues.ctypes.data,
        starts.ctypes.data,
        len(scores),
        scores.ctypes.data,
    )
    return scores


@cache
def _compiled(pace: int) -> "ctypes._FuncPointer":
    name = f"segment_scores_{pace}"
    steps = "".join(_RESIDUE.substitute(k=k, next=k + 1) for k in range(pace))
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(
        _ASSEMBLY.substitute(name=name, pace=pace, residues=steps)
    )
    module.verify()
    # LLVM shuns the widest vectors on processors that slow down for them; this
    # kernel is little else, and gains.
    features = f"{llvm.get_host_cpu_features().flatten()},-prefer-256-bit"
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features.removeprefix(","), opt=3
    )
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    signature = ctypes.CFUNCTYPE(
        None,
        *(ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64),
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p),
    )
    function: Any = signature(engine.get_function_address(name))
    function.engine = engine  # keeps the code in memory as long as the function
    return function
