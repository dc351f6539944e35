"""Batches of predictions with a real network: compiled once, and never waiting."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from af3_core.contracts import PREDICTIONS, TIMINGS
from tests.workflow.campaigns import ROOT, job, make_campaign, protein, run_campaign
from workflow.tables import concatenate

pytestmark = pytest.mark.slow

SEEDS = list(range(1, 13))
INPUTS = {
    "one.json": job("one", protein("GSHMKNVTWYCDSEELLKS"), modelSeeds=SEEDS),
    "two.json": job("two", protein("GSHMKNVTWYCDS")),
}


@pytest.fixture(scope="module")
def featurised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign of two jobs, ready to be predicted."""
    folder = make_campaign(tmp_path_factory.mktemp("predict") / "c", INPUTS)
    result = run_campaign(folder, "--until", "featurise")
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


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


def test_a_cold_and_a_warm_cache_give_the_same_bits(
    featurised: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(featurised, tmp_path / "c"))
    cold, compiled = predict(folder)
    assert len(cold) == 2 * (len(SEEDS) + 1) and compiled == {(True, False)}
    kept = set(folder.glob("store/compiled/*/jit_predict*"))
    assert kept
    for path in (*folder.glob("results/predict*/*"), *folder.glob("results/timings/*")):
        path.unlink()
    warm, found = predict(folder)
    assert found == {(True, True)}
    assert warm == cold
    assert set(folder.glob("store/compiled/*/jit_predict*")) == kept
    log = next(folder.glob("logs/predict/*.log")).read_text(encoding="utf-8")
    assert "tokens found" in log


@pytest.mark.timed
def test_the_device_hardly_waits_for_features_as_slow_as_itself(
    featurised: Path, tmp_path: Path
) -> None:
    # In a process of its own, without conftest's switches, as a cluster job runs.
    folder = Path(shutil.copytree(featurised, tmp_path / "c"))
    result = subprocess.run(
        [sys.executable, "-m", "tests.workflow.slow_features"],
        cwd=folder,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 0.1
