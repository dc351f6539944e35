"""Requests of cluster jobs: grown by retries, held by what a partition allows."""

from types import SimpleNamespace

import pytest
from snakemake.cli import parse_set_resources
from snakemake.resources import Resources

from af3_core.job import InputError
from workflow import resources
from workflow.batches import Batch
from workflow.resources import Limits, read_limits

BATCH = Batch(items=("a.1", "b.1"), bucket=512, longest=400)
AMOUNTS = [
    resources.search_mem_mb,
    resources.search_minutes,
    resources.featurise_mem_mb,
    resources.featurise_minutes,
    resources.predict_mem_mb,
    resources.predict_minutes,
    resources.relax_mem_mb,
    resources.relax_minutes,
]


def limits_of(defaults: list[str], of_rules: list[str]) -> Limits:
    """Limits as Snakemake hands them on from a profile or the command line."""
    return read_limits(
        SimpleNamespace(
            default_resources=Resources.parse(defaults, allow_expressions=True),
            overwrite_resources=parse_set_resources(of_rules),
        )
    )


@pytest.mark.parametrize("amount", AMOUNTS, ids=lambda amount: amount.__name__)
def test_a_retry_asks_for_half_as_much_again(amount) -> None:
    first, second, third = (amount(BATCH, attempt) for attempt in (1, 2, 3))
    assert second == pytest.approx(1.5 * first, abs=3)
    assert third == pytest.approx(2.25 * first, abs=3)


def test_a_rule_has_its_own_limit_and_the_others_that_of_all() -> None:
    limits = limits_of(["max_mem_mb=4000"], ["predict:max_mem_mb=9000"])
    assert limits.mem_mb("predict", 20_000) == 9000
    assert limits.mem_mb("search", 20_000) == 4000


def test_memory_and_run_time_are_limited_apart() -> None:
    limits = limits_of(["max_mem_mb=4000", "max_runtime=60"], [])
    assert limits.mem_mb("search", 5000) == 4000
    assert limits.runtime("search", 5000) == 60


def test_requests_below_the_limit_are_as_they_were() -> None:
    limits = limits_of(["max_mem_mb=4000"], ["predict:slurm_partition=gpu"])
    assert limits.mem_mb("predict", 3999) == 3999


def test_nothing_is_limited_without_a_profile() -> None:
    profile = SimpleNamespace(default_resources=None, overwrite_resources={})
    assert read_limits(profile).runtime("predict", 10**9) == 10**9


@pytest.mark.parametrize("value", ["'4 GB'", "4000*2", "0"])
def test_a_limit_that_is_no_positive_integer_is_refused(value: str) -> None:
    with pytest.raises(InputError, match="set-resources.predict.max_mem_mb"):
        limits_of([], [f"predict:max_mem_mb={value}"])
