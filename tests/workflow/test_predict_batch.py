"""Batches of predictions with a real network: compiled once, and never waiting."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from af3_core.contracts import FEATURES, OUTCOMES, TIMINGS
from tests.workflow.campaigns import (
    QUICK_COMPILE,
    ROOT,
    TINY,
    job,
    kill_when,
    make_campaign,
    protein,
    run_campaign,
)
from tests.workflow.kill_campaign import repeats_in, tables_of
from workflow.engine.journal import read_lines
from workflow.tables import concatenate, read_made_from, read_rows, write_table

pytestmark = pytest.mark.slow

SMALL = {
    "one.json": job("one", protein("GSHMKNVTWYCDSEELLKS"), modelSeeds=[1, 2]),
    "two.json": job("two", protein("GSHMKNVTWYCDS")),
}
DEMO = {
    path.name: path.read_text(encoding="utf-8")
    for path in (ROOT / "config/demo/inputs").iterdir()
}
AS_IT_IS = dict.fromkeys(("num_recycles", "num_diffusion_steps", "num_samples"))


@pytest.mark.parametrize(
    ("inputs", "model", "options", "count"),
    [
        pytest.param(SMALL, {}, ("--until", "predict"), 3, id="small"),
        pytest.param(DEMO, AS_IT_IS, (), 13, id="demo", marks=pytest.mark.long),
    ],
)
def test_a_cold_and_a_warm_cache_give_the_same_bits(
    tmp_path: Path,
    inputs: dict[str, str],
    model: dict[str, None],
    options: tuple[str, ...],
    count: int,
) -> None:
    """Two campaigns that share compiled networks and nothing else."""
    kept = tmp_path / "compiled"

    def run(name: str) -> Path:
        cache = {"compilation_cache": str(kept)}
        folder = make_campaign(tmp_path / name, inputs, model=model, predict=cache)
        result = run_campaign(folder, *options)
        assert result.returncode == 0, result.stdout + result.stderr
        return folder

    cold = run("cold")
    networks = set(kept.glob("*/jit_predict*"))
    assert networks and (True, False) in networks_of(cold)
    warm = run("warm")
    assert networks_of(warm) == {(True, True)}
    assert set(kept.glob("*/jit_predict*")) == networks
    log = next(warm.glob("logs/predict/*.log")).read_text(encoding="utf-8")
    assert "tokens found" in log
    expected, found = tables_of(cold), tables_of(warm)
    assert sum("results/predictions/" in name for name in expected) == count
    assert found.keys() == expected.keys()
    differing = [name for name in expected if found[name] != expected[name]]
    print(f"{len(expected)} tables, of which differ: {len(differing)}", *differing)
    assert differing == []


def networks_of(folder: Path) -> set[tuple[bool, bool]]:
    """How networks were made ready: compiled, and found in the cache."""
    paths = sorted(folder.glob("results/timings/*.parquet"))
    rows = concatenate(paths, TIMINGS).to_pylist()
    return {(row["compiled"], row["from_cache"]) for row in rows if row["compiled"]}


def test_items_computed_at_once_have_the_numbers_of_items_computed_alone(
    tmp_path: Path,
) -> None:
    """Three items, two at a time: a free place is filled with a copy."""
    together, alone = (
        make_campaign(
            tmp_path / name,
            SMALL,
            network=TINY,
            predict={"items_at_once": size, "buckets": [32], "dtype": "float32"},
        )
        for name, size in (("together", 2), ("alone", 1))
    )
    for folder in (together, alone):
        result = run_campaign(folder, "--until", "predict", environment=QUICK_COMPILE)
        assert result.returncode == 0, result.stdout + result.stderr
    (path,) = together.glob("logs/predict/*.journal")
    began = [line for line in read_lines(path) if line.event == "began"]
    assert [line.together for line in began] == [2, 2, 2]
    expected, found = positions_in(alone), positions_in(together)
    assert found.keys() == expected.keys() and len(found) == 3
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-3)
    times = concatenate(sorted(together.glob("results/timings/*.parquet")), TIMINGS)
    computed = [row for row in times.to_pylist() if row["phase"] == "compute"]
    spans = sorted((row["start"], row["end"]) for row in computed)
    assert all(end <= start + 1e-6 for (_, end), (start, _) in pairwise(spans))


TWELVE = {
    f"job{i}.json": job(f"job{i}", protein("GSHMKNVTWYCDSEELLKS"[: 8 + i]))
    for i in range(12)
}


def test_twelve_items_four_at_a_time_survive_a_kill_and_one_that_is_poisoned(
    tmp_path: Path,
) -> None:
    """Killed while a group is computed, with an item that makes numbers NaN."""
    together, alone = (
        make_campaign(
            tmp_path / name,
            TWELVE,
            network=TINY,
            predict={"items_at_once": size, "buckets": [32], "dtype": "float32"},
        )
        for name, size in (("together", 4), ("alone", 1))
    )
    how = {"environment": QUICK_COMPILE}
    for folder, step in ((alone, "predict"), (together, "featurise")):
        result = run_campaign(folder, "--until", step, **how)
        assert result.returncode == 0, result.stdout + result.stderr
    poisoned = max(together.glob("results/features/*.parquet"))
    poison(poisoned)

    # Results are committed while the next group is on the device.
    kill_when(together, "results/predictions/*.parquet", **how)
    committed = set(positions_in(together))
    run_campaign(together, "--until", "predict", **how)
    (path,) = together.glob("logs/predict/*.journal")
    lines = read_lines(path)
    began = [line for line in lines if line.event == "began"]
    assert 1 <= len(committed) < 12
    assert {line.together for line in began if poisoned.stem not in line.item} == {4}
    assert repeats_in(together) == []
    expected, found = positions_in(alone), positions_in(together)
    assert expected.keys() - found.keys() == {f"{poisoned.stem}.1"}
    assert len(expected) == 12
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-3)
    outcomes = concatenate(sorted(together.glob("results/predict/*.parquet")), OUTCOMES)
    failed = [row for row in outcomes.to_pylist() if row["cause"]]
    assert [row["item"] for row in failed] == [f"{poisoned.stem}.1"]
    assert "finite" in failed[0]["evidence"]


def poison(features: Path) -> None:
    """Makes reference positions NaN, which the network hands on to all it predicts."""
    rows = [
        replace(row, data=np.full(row.shape, np.nan, "<f4").tobytes())
        if row.array.startswith("conformers.")
        else row
        for row in read_rows(features, FEATURES)
    ]
    made_from = read_made_from(features)
    write_table(features, FEATURES, FEATURES.table(rows), made_from=made_from)


def positions_in(folder: Path) -> dict[str, np.ndarray]:
    """Atom positions of all samples, Å, by item."""
    return {
        path.stem: np.array(pq.read_table(path)["positions"].to_pylist())
        for path in folder.glob("results/predictions/*.parquet")
    }


@pytest.mark.timed
def test_the_device_hardly_waits_for_features_as_slow_as_itself(
    tmp_path: Path,
) -> None:
    seeds = list(range(1, 13))
    one = job("one", protein("GSHMKNVTWYCDSEELLKS"), modelSeeds=seeds)
    folder = make_campaign(tmp_path / "c", {**SMALL, "one.json": one})
    made = run_campaign(folder, "--until", "featurise")
    assert made.returncode == 0, made.stdout + made.stderr
    # In a process of its own, without conftest's switches, as a cluster job runs.
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
