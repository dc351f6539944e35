"""A tenth of a proteome: what a user waits for stays short, what is made stays few."""

import pytest

from benchmarks.plan_proteome import Measurement, make_proteome, measure
from benchmarks.proteome import draw_lengths

NUM_JOBS = 2000

pytestmark = [pytest.mark.slow, pytest.mark.timed]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    folder = tmp_path_factory.mktemp("proteome")
    make_proteome(folder, NUM_JOBS)
    return measure(folder)


def test_planning_is_quick(measured: Measurement, slowness: float) -> None:
    # Its memory is the benchmark's to measure: Linux counts what a process was forked
    # from, and that is all of this one.
    assert measured.plan.seconds < 30 * slowness


def test_a_dry_run_is_quick(measured: Measurement, slowness: float) -> None:
    assert measured.dry_run.seconds < 30 * slowness
    assert "rule predict" in measured.dry_run.output


def test_the_snakefile_is_read_in_no_time(
    measured: Measurement, slowness: float
) -> None:
    assert measured.parse_job < 2 * slowness
    assert measured.parse_main < 4 * slowness


def test_jobs_and_files_are_few(measured: Measurement) -> None:
    assert measured.forecast.cluster_jobs < 1500
    assert measured.forecast.files_at_rest < 5 * NUM_JOBS


def test_what_cannot_run_is_counted_by_what_is_wrong(measured: Measurement) -> None:
    too_large = sum(length > 5120 for length in draw_lengths(NUM_JOBS))
    assert measured.forecast.refused == {"too large": too_large, "names taken": 10}


def test_buckets_waste_far_less_than_alphafold_3s(measured: Measurement) -> None:
    assert measured.forecast.waste < 0.6 * measured.forecast.waste_af3


def test_the_proteome_is_as_long_as_the_human_one() -> None:
    lengths = sorted(draw_lengths(20_000))
    assert 375 <= lengths[10_000] <= 440
    assert 0.005 < sum(length > 2700 for length in lengths) / 20_000 < 0.01
