import numpy as np
import pytest

from af3_core.search.segments import (
    PackedSequences,
    pack_sequences,
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
