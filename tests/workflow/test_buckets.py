"""Padded sizes: the dynamic programme against trying everything."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow.buckets import CostModel, bucket_for, candidate_sizes, choose_buckets


def total_cost(counts: list[int], buckets: tuple[int, ...], costs: CostModel) -> float:
    used = sorted(buckets)
    items = sum(costs.seconds(bucket_for(count, used)) for count in counts)
    return items + costs.compile * len(buckets)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=12))
@settings(deadline=None, max_examples=40)
def test_no_other_set_of_sizes_costs_less(counts: list[int]) -> None:
    costs = CostModel(constant=0.1, quadratic=1e-3, cubic=0.0, compile=3.0)
    sizes = candidate_sizes(max(counts))
    chosen = choose_buckets(counts, costs)
    best = min(
        total_cost(counts, subset, costs)
        for k in (1, 2, 3)
        for subset in itertools.combinations(sizes, k)
        if subset[-1] >= max(counts)
    )
    assert total_cost(counts, chosen, costs) <= best + 1e-9


def test_a_size_that_is_compiled_anyway_is_used_again() -> None:
    costs = CostModel(compile=1e9)
    assert choose_buckets([100], costs, existing=[112]) == (112,)


def test_the_smallest_bucket_that_fits_is_taken() -> None:
    assert bucket_for(257, [256, 512]) == 512


def test_a_job_larger_than_every_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match="600 tokens exceed the largest bucket 512"):
        bucket_for(600, [256, 512])


def test_the_published_times_are_met_within_two_percent() -> None:
    published = {1024: 62, 2048: 275, 3072: 703, 4096: 1434, 5120: 2547}
    costs = CostModel()
    for tokens, seconds in published.items():
        assert costs.seconds(tokens) == pytest.approx(seconds, rel=0.02)
