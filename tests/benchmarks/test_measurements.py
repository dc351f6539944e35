"""Predictions against AlphaFold 3's layout, and relaxation's table; takes 15 s."""

import pytest

from af3_core.chemistry.dictionary import Components
from af3_core.structures.structure import Chemistry
from benchmarks.bench_relax import measure as measure_relaxation
from benchmarks.bench_relax import table as relaxation_table
from benchmarks.bench_sizes import NUM_SAMPLES, measure, protein_job, table
from tests.af3_core.features.feature_examples import case, read_job


@pytest.mark.parametrize(
    "job", [protein_job(60), read_job(case("villin_gb1"))], ids=lambda job: job.name
)
def test_predictions_take_a_fraction_of_what_alphafold3_writes(job) -> None:
    found = measure(job)
    assert found.ours < 0.25 * found.af3
    assert found.ours < 0.75 * found.af3_compressed
    assert (found.ours_files, found.af3_files) == (2, 3 * (NUM_SAMPLES + 1) + 3)
    assert table([found])[-1].startswith(f"| {job.name} | {found.tokens} |")


def test_the_table_of_relaxation_has_the_worst_of_its_seeds() -> None:
    case = measure_relaxation(
        "1ejg", 0.1, [1, 2], Chemistry(Components.load()), threads=1
    )
    line = relaxation_table([case])[-1]
    assert "| 0, 0, 0, 0 |" in line and line.endswith("| relaxed |")
    worst = max(found.before.bonds for found in case.found)
    assert f", {worst}, " in line
