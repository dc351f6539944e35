"""Networks that were compiled before: found, reported, and the same to the last bit."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from af3_core.contracts import PREDICTIONS, TIMINGS
from tests.workflow.campaigns import job, make_campaign, protein, run_campaign
from workflow.tables import concatenate

pytestmark = pytest.mark.slow

INPUTS = {
    "one.json": job("one", protein("GSHMKNVTWYCDSEELLKS"), modelSeeds=[1, 2]),
    "two.json": job("two", protein("GSHMKNVTWYCDS")),
}


def predict(folder: Path) -> tuple[list[dict[str, object]], set[tuple[bool, bool]]]:
    """Predictions, and how the network was made ready where it had to be."""
    result = run_campaign(folder, "--until", "predict")
    assert result.returncode == 0, result.stdout + result.stderr
    predictions = concatenate(
        sorted(folder.glob("results/predictions/*.parquet")), PREDICTIONS
    )
    timings = concatenate(sorted(folder.glob("results/timings/*.parquet")), TIMINGS)
    ready = {
        (row["compiled"], row["from_cache"])
        for row in timings.to_pylist()
        if row["compiled"]
    }
    # NaN is not equal to itself, text is.
    return [{k: str(v) for k, v in r.items()} for r in predictions.to_pylist()], ready


def test_a_cold_and_a_warm_cache_give_the_same_bits(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", INPUTS)
    cold, compiled = predict(folder)
    assert len(cold) == 6 and compiled == {(True, False)}
    kept = list((folder / "store/compiled").glob("*/jit_predict*"))
    assert len(kept) == len(list(folder.glob("results/timings/*.parquet")))
    for path in folder.glob("results/predict*/*"):
        path.unlink()
    warm, found = predict(folder)
    assert found == {(True, True)}
    assert warm == cold
    log = next(folder.glob("logs/predict/*.log")).read_text(encoding="utf-8")
    assert "tokens found" in log
    assert pq.read_metadata(next(folder.glob("results/predictions/*"))).num_rows == 2
