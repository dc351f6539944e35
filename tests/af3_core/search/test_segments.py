import numpy as np
import pytest

from af3_core.search.segments import (
    PackedSequences,
    pack_sequences,
    segment_bounds,
    segment_scores,
    segment_scores_naive,
)


def random_sequences(rng: np.random.Generator, lengths: list[int]) -> PackedSequences:
    return pack_sequences([rng.integers(0, 29, n).astype(np.uint8) for n in lengths])


@pytest.mark.parametrize("columns", [1, 2, 63, 64, 65, 130])
def test_the_kernel_agrees_with_the_definition(columns: int) -> None:
    rng = np.random.default_rng(columns)
    costs = rng.integers(-20, 25, (29, columns)).astype(np.int8)
    sequences = random_sequences(rng, [0, 1, 2, 62, 63, 64, 65, 127, 128, 200])
    expected = segment_scores_naive(costs, sequences)
    assert segment_scores(costs, sequences).tolist() == expected.tolist()


@pytest.mark.parametrize("columns", [1, 2, 63, 64, 65, 130])
def test_bounds_are_above_the_scores_by_at_most_two_residues(columns: int) -> None:
    rng = np.random.default_rng(columns)
    costs = rng.integers(-9, 25, (29, columns)).astype(np.int8)
    sequences = random_sequences(rng, [0, 1, 2, 3, 62, 63, 64, 65, 128, 201])
    scores = segment_scores_naive(costs, sequences).astype(int)
    bounds = segment_bounds(costs, sequences).astype(int)
    assert (scores <= bounds).all() and (bounds <= scores + 18).all()


def test_some_sequences_score_as_they_do_among_all() -> None:
    rng = np.random.default_rng(3)
    costs = rng.integers(-20, 25, (29, 70)).astype(np.int8)
    sequences = random_sequences(rng, [40, 0, 90, 7])
    some = np.array([2, 1])
    expected = segment_scores(costs, sequences)[some].tolist()
    assert segment_scores(costs, sequences.take(some)).tolist() == expected


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
