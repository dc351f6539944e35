"""Padded sizes: the dynamic programme against trying everything."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from af3_core.features.buckets import AF3_BUCKETS
from benchmarks.proteome import draw_lengths
from workflow.planning.buckets import (
    CostModel,
    bucket_for,
    candidate_sizes,
    choose_buckets,
    padding_waste,
)
from workflow.planning.costs import read_costs

COSTS = CostModel(constant=0.1, quadratic=1e-3, cubic=0.0, compile=3.0, start=2.0)
BATCH_SECONDS = 30.0


def total_cost(counts: list[int], buckets: tuple[int, ...], costs: CostModel) -> float:
    items = Counter(bucket_for(count, buckets) for count in counts)
    return sum(costs.bucket_seconds(b, items[b], BATCH_SECONDS) for b in buckets)


@given(st.lists(st.integers(1, 150), min_size=1, max_size=15))
@settings(deadline=None, max_examples=40)
def test_no_other_set_of_sizes_costs_less(counts: list[int]) -> None:
    sizes = candidate_sizes(max(counts))
    chosen = choose_buckets(counts, COSTS, batch_seconds=BATCH_SECONDS)
    best = min(
        total_cost(counts, subset, COSTS)
        for k in range(1, len(sizes) + 1)
        for subset in itertools.combinations(sizes, k)
        if subset[-1] >= max(counts)
    )
    assert total_cost(counts, chosen, COSTS) == pytest.approx(best)


def test_a_size_that_is_compiled_anyway_is_used_again() -> None:
    costs = replace(COSTS, compile=1e9)
    assert choose_buckets([100], costs, existing=[112]) == (112,)


def test_what_is_wasted_is_padding_compilation_and_starts() -> None:
    costs = CostModel(constant=0, quadratic=0, cubic=1e-6, compile=1.0, start=0.5)
    # Two items of 1 s and 1 s of padding, compiled once, in two batches of one.
    counts, spent = [100, 50], 1.0 + 1.0 + 1.0 + 2 * 0.5
    waste = padding_waste(counts, [100], costs, batch_seconds=2.5)
    assert waste == pytest.approx(1 - 1.125 / spent)


def cubic_alone(costs: CostModel) -> CostModel:
    """The same at 5,120 tokens, as if time grew with the cube from the first token."""
    cubic = costs.seconds(5120) / 5120**3
    return replace(costs, constant=0, quadratic=0, cubic=cubic, start=0)


def test_a_human_proteome_wastes_less_than_8_percent_by_either_measure() -> None:
    default, models = read_costs()
    costs = models[default]
    lengths = [n for n in draw_lengths(20_000) if n <= 5120]
    ours = choose_buckets(lengths, costs, batch_seconds=3600)
    for measure in (costs, cubic_alone(costs)):
        waste, theirs = (
            padding_waste(lengths, buckets, measure, batch_seconds=3600)
            for buckets in (ours, AF3_BUCKETS)
        )
        assert waste < 0.08 < 0.2 < theirs


def test_the_smallest_bucket_that_fits_is_taken() -> None:
    assert bucket_for(257, [256, 512]) == 512


def test_a_job_larger_than_every_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match="600 tokens exceed the largest bucket 512"):
        bucket_for(600, [256, 512])


PUBLISHED = {
    "NVIDIA A100-SXM4-80GB": {1024: 62, 2048: 275, 3072: 703, 4096: 1434, 5120: 2547},
    "NVIDIA H100 80GB HBM3": {1024: 34, 2048: 144, 3072: 367, 4096: 774, 5120: 1416},
}


@pytest.mark.parametrize("device", PUBLISHED)
def test_the_published_times_are_met_within_three_percent(device: str) -> None:
    _, models = read_costs()
    for tokens, seconds in PUBLISHED[device].items():
        assert models[device].seconds(tokens) == pytest.approx(seconds, rel=0.03)
