"""`best_segments` on a GPU: when it can run, how queries are grouped, the launch."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float16, Int32, Int64, UInt8, UInt32
from numpy import ndarray

from kernels.devices import Device
from kernels.launch import Launch, call_triton, why_no_triton
from kernels.segments import PackedSequences, Profiles
from kernels.spec import SegmentsSpec

PER_WORD = 4
"""Residues that are read at once."""
CLASSES = 32
"""Rows of a table of scores; the last is that of the padding."""
_SEPARATOR = np.float16(-65504.0)
"""The score that ends any segment: the lowest finite number of float16."""
_CELLS_PER_THREAD, _THREADS = 8, 32
_MOST_ENTRIES = 2**31


class Layout(NamedTuple):
    """How many queries lie side by side, and diagonals of each in one program."""

    queries: int
    lanes: int


# The scores of 20 common classes are to fit the 128 KiB of L1 that the smallest cards
# have: of 8 queries up to 351 columns, of 4 up to 703. Two would cost more
# instructions a cell than the second cache costs longer ones.
LAYOUTS = tuple(Layout(n, _CELLS_PER_THREAD * _THREADS // n) for n in (8, 4))
_L1_BYTES, _COMMON_CLASSES = 128 << 10, 20


class Tables(NamedTuple):
    """Profiles as the kernel reads them, all those of one layout."""

    layout: Layout
    scores: Float16[ndarray, "entries"]
    """Of each group: [classes, columns + lanes, queries]."""
    groups: Int32[ndarray, "groups 2"]
    """Of each group: where its scores begin and how many columns it has, both in
    units of `layout.lanes` columns."""
    rows: Int32[ndarray, "groups_queries"]
    """Which query each is; −1 for one that only fills its group."""


def unsupported(spec: SegmentsSpec) -> str | None:
    """Why the kernel cannot run `spec`; None when it can."""
    refusal = why_no_triton(spec.device, "float16")
    if refusal is not None:
        return refusal
    if spec.num_classes >= CLASSES:
        return (
            f"the kernel knows {CLASSES - 1} residue classes; this has"
            f" {spec.num_classes}"
        )
    if spec.num_queries * spec.num_targets >= _MOST_ENTRIES:
        return (
            f"the kernel takes fewer than {_MOST_ENTRIES:,} pairs at once; this has"
            f" {spec.num_queries * spec.num_targets:,}"
        )
    return None


def run(
    profiles: Profiles, targets: PackedSequences, *, spec: SegmentsSpec
) -> UInt8[Array, "q s"]:
    """The best segment of each query with each target, computed as JAX computes: the
    call returns before the device is done."""
    words, starts = pack_words(targets)
    parts, order = [], []
    for tables in make_tables(profiles):
        arrays = kernel_arrays(tables, words, starts)
        # Rows of this layout only, one after the other.
        is_query = tables.rows >= 0
        rows = np.where(is_query, np.cumsum(is_query) - 1, -1).astype(np.int32)
        arrays["rows_ptr"] = jnp.asarray(rows)
        num_rows = int(is_query.sum())
        parts.append(sweep(arrays, tables.layout, num_rows, spec.device))
        order.append(tables.rows[is_query])
    inverse = np.argsort(np.concatenate(order))
    return jnp.concatenate(parts)[inverse, : spec.num_targets]


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def sweep(
    arrays: dict[str, Array], layout: Layout, num_rows: int, device: Device
) -> UInt8[Array, "rows s"]:
    """The scores of all rows with all targets, padding included."""
    # Imported here: a machine without Triton imports this module to be told so.
    from kernels.sweep import sweep_segments

    num_targets = arrays["starts_ptr"].shape[0] - 1
    num_groups = arrays["groups_ptr"].shape[0]
    return call_triton(
        sweep_segments,
        plan_launch(layout, num_groups, num_targets),
        arrays,
        jax.ShapeDtypeStruct((num_rows, num_targets), jnp.uint8),
        device,
    )


def plan_launch(layout: Layout, num_groups: int, num_targets: int) -> Launch:
    """Grid and compile-time constants of the kernel."""
    constants = {
        "LANES": layout.lanes,
        "QUERIES": layout.queries,
        "CLASSES": CLASSES,
        "PER_WORD": PER_WORD,
    }
    scalars: dict[str, int | float | tuple[int, ...]] = {"num_targets": num_targets}
    return Launch((num_groups * num_targets,), scalars, constants, 1, 1)


def kernel_arrays(
    tables: Tables, words: UInt32[Array, "w"], starts: Int32[ndarray, "bounds"]
) -> dict[str, Array]:
    """The arguments under the kernel's names for them."""
    return {
        "scores_ptr": jnp.asarray(tables.scores),
        "letters_ptr": words,
        "starts_ptr": jnp.asarray(starts),
        "groups_ptr": jnp.asarray(tables.groups),
        "rows_ptr": jnp.asarray(tables.rows),
    }


class WordPlan(NamedTuple):
    """Where the residues of targets go that each begin with a new word.

    All is as long as one of few sizes, so that few programs are compiled: behind the
    last target follow empty ones.
    """

    starts: Int32[ndarray, "bounds"]
    """The word with which each begins."""
    shifts: Int32[ndarray, "bounds"]
    """By how many places its residues move."""
    repeats: Int32[ndarray, "bounds"]
    """How many they are."""
    num_places: int
    num_residues: int


def plan_words(lengths: Int64[ndarray, "s"]) -> WordPlan:
    """The plan for targets of these lengths, one after the other."""
    count, total = len(lengths), int(lengths.sum())
    ends = np.cumsum(-(-lengths // PER_WORD))
    num_words = int(ends[-1]) if count else 0
    starts = np.full(_round_up(count) + 1, num_words, np.int32)
    starts[1 : count + 1] = ends
    starts[0] = 0
    num_places, num_residues = _round_up(num_words) * PER_WORD, _round_up(total)
    # What follows the last residue goes beyond the last place, and is dropped.
    shifts = np.full(len(starts), num_places, np.int32)
    begins = np.cumsum(lengths) - lengths
    shifts[:count] = starts[:count] * PER_WORD - begins
    repeats = np.zeros(len(starts), np.int32)
    repeats[:count], repeats[-1] = lengths, num_residues - total
    return WordPlan(starts, shifts, repeats, num_places, num_residues)


def pack_words(
    targets: PackedSequences,
) -> tuple[UInt32[Array, "w"], Int32[ndarray, "bounds"]]:
    """Targets in whole words of residues, and the word with which each begins.

    Residues are spread by the device, which has a hundred times the host's bandwidth.
    """
    first, last = int(targets.starts[0]), int(targets.starts[-1])
    plan = plan_words(targets.lengths)
    residues = np.zeros(plan.num_residues, np.uint8)
    residues[: last - first] = targets.residues[first:last]
    return spread(residues, plan.shifts, plan.repeats, plan.num_places), plan.starts


@functools.partial(jax.jit, static_argnums=3)
def spread(
    residues: UInt8[Array | ndarray, "n"],
    shifts: Int32[Array | ndarray, "bounds"],
    repeats: Int32[Array | ndarray, "bounds"],
    num_places: int,
) -> UInt32[Array, "w"]:
    """Words of residues, by a `WordPlan`."""
    shift = jnp.repeat(shifts, repeats, total_repeat_length=residues.shape[0])
    places = jnp.arange(residues.shape[0], dtype=jnp.int32) + shift
    empty = jnp.full(num_places, CLASSES - 1, jnp.uint8)
    letters = empty.at[places].set(residues, mode="drop", unique_indices=True)
    return jax.lax.bitcast_convert_type(letters.reshape(-1, PER_WORD), jnp.uint32)


def make_tables(profiles: Profiles) -> Iterator[Tables]:
    """The profiles in groups of about equal length, by layout."""
    by_layout: dict[Layout, list[int]] = {}
    for row in np.argsort([-costs.shape[1] for costs in profiles], kind="stable"):
        layout = choose_layout(profiles[row].shape[1])
        by_layout.setdefault(layout, []).append(int(row))
    for layout, rows in by_layout.items():
        yield fill_tables(profiles, rows, layout)


def choose_layout(num_columns: int) -> Layout:
    """The layout with most queries side by side whose scores fit the first cache."""
    for layout in LAYOUTS:
        columns = num_periods(num_columns, layout) * layout.lanes + layout.lanes
        if 2 * columns * layout.queries * _COMMON_CLASSES <= _L1_BYTES:
            return layout
    return LAYOUTS[-1]


def num_periods(num_columns: int, layout: Layout) -> int:
    """Columns and at least one that ends every segment, in units of lanes."""
    return num_columns // layout.lanes + 1


def fill_tables(profiles: Profiles, rows: Sequence[int], layout: Layout) -> Tables:
    """Some of the profiles in one layout, side by side in this order."""
    width, lanes = layout.queries, layout.lanes
    groups, parts, begin = [], [], 0
    for first in range(0, len(rows), width):
        members = rows[first : first + width]
        longest = max(profiles[row].shape[1] for row in members)
        periods = num_periods(longest, layout)
        table = np.full((CLASSES, periods * lanes, width), _SEPARATOR, np.float16)
        for place, row in enumerate(members):
            costs = profiles[row]
            table[: len(costs), : costs.shape[1], place] = -costs.astype(np.float16)
        # A window that begins with the last columns goes on with the first.
        parts.append(np.concatenate([table, table[:, :lanes]], axis=1))
        groups.append((begin, periods))
        begin += CLASSES * (periods + 1)
    scores = np.zeros(_round_up(begin) * lanes * width, np.float16)
    filled = np.concatenate([part.ravel() for part in parts])
    scores[: len(filled)] = filled
    padding = -len(rows) % width
    ids = np.array([*rows, *[-1] * padding], np.int32)
    return Tables(layout, scores, np.array(groups, np.int32), ids)


def _round_up(size: int) -> int:
    """The next of eight sizes an octave."""
    unit = 1 << max(0, size.bit_length() - 4)
    return -(-max(size, 1) // unit) * unit
