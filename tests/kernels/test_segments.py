"""Best ungapped segments: definition, the processor's code, Triton's interpreter."""

import jax
import numpy as np
import pytest

from kernels import Device, SegmentsSpec, best_segments, explain, lowering_for
from kernels.segments import PackedSequences, Profiles, pack_sequences
from kernels.segments_cpu import group_profiles, segment_scores, stripe
from kernels.segments_naive import segment_scores as segment_scores_naive
from kernels.segments_triton import (
    LAYOUTS,
    choose_layout,
    kernel_arrays,
    make_tables,
    pack_words,
    plan_launch,
)
from tests.kernels.examples import A100, Interpret

AWKWARD = [0, 1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 127, 200]


def random_sequences(rng: np.random.Generator, lengths: list[int]) -> PackedSequences:
    return pack_sequences([rng.integers(0, 29, n).astype(np.uint8) for n in lengths])


def random_profile(
    rng: np.random.Generator, columns: int, lowest: int = -20
) -> np.ndarray:
    return rng.integers(lowest, 25, (29, columns)).astype(np.int8)


def naive(profiles: Profiles, targets: PackedSequences) -> np.ndarray:
    return np.asarray(best_segments(profiles, targets, backend="naive"))


def interpreted(
    interpret: Interpret, profiles: Profiles, targets: PackedSequences
) -> np.ndarray:
    """The kernel as a GPU would be given it, run by Triton's interpreter."""
    words, starts = pack_words(targets)
    shape = len(profiles), len(starts) - 1
    best = np.zeros(shape, np.uint8)
    for tables in make_tables(profiles):
        launch = plan_launch(tables.layout, len(tables.groups), shape[1])
        found = interpret(
            "kernels.sweep",
            "sweep_segments",
            launch.grid,
            {k: np.asarray(x) for k, x in kernel_arrays(tables, words, starts).items()},
            {"best_ptr": np.zeros(shape, np.uint8)},
            launch.scalars | launch.constants,
        )["best_ptr"]
        rows = tables.rows[tables.rows >= 0]
        best[rows] = found[rows]
    return best[:, : len(targets.starts) - 1]


@pytest.mark.parametrize("columns", [1, 2, 63, 64, 65, 130])
def test_the_kernel_agrees_with_the_definition(columns: int) -> None:
    rng = np.random.default_rng(columns)
    costs = rng.integers(-20, 25, (29, columns)).astype(np.int8)
    sequences = random_sequences(rng, [0, 1, 2, 62, 63, 64, 65, 127, 128, 200])
    expected = segment_scores_naive(costs, sequences)
    assert segment_scores(costs, sequences).tolist() == expected.tolist()


@pytest.mark.parametrize("columns", [1_728, 1_729, 2_100])
def test_a_profile_too_long_for_the_lanes_goes_on_in_a_second_pass(
    columns: int,
) -> None:
    """Its only segments begin before the middle and end behind it."""
    rng = np.random.default_rng(columns)
    costs = rng.integers(3, 25, (29, columns)).astype(np.int8)
    sequence = rng.integers(0, 29, 500).astype(np.uint8)
    first = columns // 2 - 200
    costs[sequence[50:450], first + np.arange(400)] = rng.integers(-2, 2, 400)
    sequences = pack_sequences([sequence[:300], sequence, sequence[60:]])
    expected = segment_scores_naive(costs, sequences)
    assert segment_scores(costs, sequences).tolist() == expected.tolist()
    assert expected.max() > 50


@pytest.mark.parametrize(
    "columns", [[1] * 64, [63, 64, 65], [700, 200, 64, 3], [130, 1, 500]]
)
def test_profiles_side_by_side_score_as_each_alone(columns: list[int]) -> None:
    """Saturated ones too, which are next to others."""
    rng = np.random.default_rng(len(columns))
    profiles = [rng.integers(-9, 25, (29, m)).astype(np.int8) for m in columns]
    profiles[0][:] = -100
    sequences = random_sequences(rng, AWKWARD)
    found = stripe(profiles).scores(sequences)
    assert found.tolist() == naive(profiles, sequences).tolist()


@pytest.mark.parametrize(
    "columns", [[1], [2], [64], [65], [129], [40, 65, 30], [1_600]]
)
def test_bounds_are_above_the_scores_and_near_them(columns: list[int]) -> None:
    rng = np.random.default_rng(columns[0])
    profiles = [rng.integers(-9, 30, (29, m)).astype(np.int8) for m in columns]
    sequences = random_sequences(rng, [0, 1, 2, 3, 62, 63, 64, 65, 128, 201])
    bounds = stripe(profiles, 6).scores(sequences).astype(int)
    lowered = [np.minimum(costs, 6).astype(np.int8) for costs in profiles]
    assert (bounds >= naive(profiles, sequences)).all()
    assert (bounds <= naive(lowered, sequences).astype(int) + 6).all()
    profiles[0][:] = -100
    saturated = np.minimum(100 * min(columns[0], 201), 255)
    assert stripe(profiles, 6).scores(sequences)[0, -1] == min(saturated + 6, 255)


def test_a_segment_is_seen_wherever_it_ends() -> None:
    """All ends of sequence, profile and lane, with the highest cost behind it."""
    for columns in (5, 64, 70, 130, 200):
        for end in range(1, columns + 1):
            costs = np.full((2, columns), 6, np.int8)
            costs[0, max(0, end - 3) : end] = -50
            alone = np.zeros(min(end, 3), np.uint8)
            followed = np.array([*alone, 1, 1], np.uint8)
            sequences = pack_sequences([alone, followed])
            expected = segment_scores_naive(costs, sequences)
            bounds = stripe([costs], 6).scores(sequences)[0]
            assert (bounds >= expected).all()


def test_groups_hold_every_profile_once_and_fill_the_lanes() -> None:
    rng = np.random.default_rng(0)
    lengths = [*rng.integers(1, 900, 60).tolist(), 5_000, 1_024]
    groups = group_profiles(lengths)
    assert sorted(row for rows in groups for row in rows) == list(range(62))
    filled = [sum(lengths[row] for row in rows) for rows in groups]
    assert sorted(filled)[-2:] == [1_024, 5_000]
    assert np.mean(sorted(filled)[:-1]) > 900
    for rows in groups:
        stripe([np.zeros((2, lengths[row]), np.int8) for row in rows])


def test_profiles_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="no room for profiles"):
        stripe([np.zeros((2, 1_000), np.int8)] * 2)


def test_some_sequences_score_as_they_do_among_all() -> None:
    rng = np.random.default_rng(3)
    costs = rng.integers(-20, 25, (29, 70)).astype(np.int8)
    sequences = random_sequences(rng, [40, 0, 90, 7])
    some = np.array([2, 1])
    expected = segment_scores(costs, sequences)[some].tolist()
    assert segment_scores(costs, sequences.take(some)).tolist() == expected
    assert stripe([costs]).scores(sequences, some)[0].tolist() == expected


def test_scores_saturate_instead_of_overflowing() -> None:
    costs = np.full((29, 90), -100, np.int8)
    sequences = random_sequences(np.random.default_rng(0), [90, 3, 2, 1])
    assert segment_scores(costs, sequences).tolist() == [255, 255, 200, 100]


def test_no_sequences_have_no_scores() -> None:
    costs = np.zeros((29, 5), np.int8)
    assert segment_scores(costs, pack_sequences([])).tolist() == []


def test_a_residue_class_beyond_the_profile_is_refused() -> None:
    sequences = pack_sequences([np.array([3, 29], np.uint8)])
    with pytest.raises(ValueError, match="below 29"):
        segment_scores(np.zeros((29, 5), np.int8), sequences)


def test_the_kernel_of_a_gpu_agrees_with_the_definition(interpret) -> None:
    rng = np.random.default_rng(5)
    profiles = [random_profile(rng, m) for m in (1, 2, 31, 32, 63, 64, 7, 9, 40)]
    targets = random_sequences(rng, AWKWARD)
    found = interpreted(interpret, profiles, targets)
    assert found.tolist() == naive(profiles, targets).tolist()
    assert len(np.unique(found)) > 20


def test_so_it_does_with_fewer_queries_side_by_side(interpret) -> None:
    rng = np.random.default_rng(6)
    profiles = [random_profile(rng, m) for m in (352, 5, 400)]
    targets = random_sequences(rng, [40, 0, 9])
    assert [tables.layout.queries for tables in make_tables(profiles)] == [4, 8]
    found = interpreted(interpret, profiles, targets)
    assert found.tolist() == naive(profiles, targets).tolist()


@pytest.mark.parametrize("cost", [-128, -127, -100, -3], ids=str)
def test_its_scores_saturate_far_beyond_what_float16_counts(cost, interpret) -> None:
    """Sums reach infinity in float16 where the definition stays at 255."""
    costs = np.full((29, 40), cost, np.int8)
    targets = random_sequences(np.random.default_rng(0), [700, 90, 3, 2, 1])
    found = interpreted(interpret, [costs], targets)
    assert found.tolist() == naive([costs], targets).tolist()
    assert found[0, 0] == (255 if cost < -6 else 120)


def test_a_segment_ends_where_the_profile_does(interpret) -> None:
    """Diagonals walk round and round; what they have gained does not go with them."""
    costs = np.full((29, 32), -7, np.int8)
    costs[:, :31] = 3
    targets = random_sequences(np.random.default_rng(0), [100])
    assert interpreted(interpret, [costs], targets).tolist() == [[7]]


@pytest.mark.parametrize("num_columns", [1, 300, 351, 352, 703, 704, 5000, 40_000])
def test_every_column_has_its_place_and_a_separator_follows(num_columns) -> None:
    costs = np.zeros((29, num_columns), np.int8)
    (tables,) = make_tables([costs])
    layout, (begin, periods) = tables.layout, tables.groups[0]
    columns = int(periods) * layout.lanes
    assert num_columns < columns <= num_columns + layout.lanes
    size = 32 * (columns + layout.lanes) * layout.queries
    table = tables.scores[int(begin) * layout.lanes * layout.queries :][:size]
    table = table.reshape(32, columns + layout.lanes, layout.queries)
    assert not table[:29, :num_columns, 0].any()
    assert (table[:, num_columns:columns] == -65504).all()
    assert (table[31] == -65504).all()
    assert (table[:, columns:] == table[:, : layout.lanes]).all()


def test_layouts_follow_the_length_of_the_query() -> None:
    widths = [choose_layout(m).queries for m in (1, 351, 352, 10_000)]
    assert widths == [8, 8, 4, 4]
    assert {layout.queries * layout.lanes for layout in LAYOUTS} == {256}


def test_all_backends_of_the_host_give_one_array() -> None:
    rng = np.random.default_rng(2)
    profiles = [random_profile(rng, m) for m in (30, 80)]
    targets = random_sequences(rng, AWKWARD)
    found = best_segments(profiles, targets)
    assert found.tolist() == naive(profiles, targets).tolist()


def test_no_profiles_have_no_scores() -> None:
    targets = random_sequences(np.random.default_rng(2), [3, 4])
    assert best_segments([], targets).shape == (0, 2)


def test_profiles_of_different_classes_are_refused() -> None:
    profiles = [np.zeros((29, 5), np.int8), np.zeros((28, 5), np.int8)]
    with pytest.raises(ValueError, match="profile 1 has 28 classes, the first has 29"):
        best_segments(profiles, pack_sequences([]))


SPEC = SegmentsSpec(8, 400, 29, 1000, 300_000, A100)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    (
        (SPEC, None),
        (SPEC._replace(device=Device("cpu")), "NVIDIA GPUs, not on cpu"),
        (SPEC._replace(device=Device("cuda", (7, 5))), "8.0 to 12.1; this card has"),
        (SPEC._replace(num_classes=32), "knows 31 residue classes; this has 32"),
        (SPEC._replace(num_targets=2**28), "fewer than 2,147,483,648 pairs at once"),
    ),
    ids=("fits", "cpu", "turing", "classes", "pairs"),
)
def test_the_kernel_says_what_it_cannot(spec, sentence) -> None:
    reasons = explain(spec)
    assert reasons["cpu"] is None and reasons["naive"] is None
    reason = reasons["triton"]
    assert reason is None if sentence is None else reason and sentence in reason


def test_a_backend_that_is_named_runs_or_says_why_not() -> None:
    rng = np.random.default_rng(2)
    profiles, targets = [random_profile(rng, 9)], random_sequences(rng, [3])
    with lowering_for(Device("cpu")), pytest.raises(ValueError, match="NVIDIA GPUs"):
        best_segments(profiles, targets, backend="triton")


def test_it_traces_for_a_card_that_is_not_here() -> None:
    rng = np.random.default_rng(2)
    profiles = [random_profile(rng, m) for m in (30, 400, 80, 1000)]
    targets = random_sequences(rng, AWKWARD)
    with lowering_for(A100):
        shape = jax.eval_shape(
            lambda: best_segments(profiles, targets, backend="triton")
        )
    assert (shape.shape, shape.dtype) == ((4, len(AWKWARD)), np.uint8)
