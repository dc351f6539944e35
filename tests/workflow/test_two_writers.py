"""Two processes at work on one batch at once, as after a driver was killed."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workflow.campaigns import (
    ENVIRONMENT,
    QUICK_COMPILE,
    ROOT,
    TINY,
    job,
    make_campaign,
    protein,
    run_campaign,
)
from tests.workflow.kill_campaign import tables_of
from workflow.engine.journal import read_lines

pytestmark = pytest.mark.slow

NUM_SEEDS = 12


def predict(folder: Path, batch: str) -> subprocess.Popen[bytes]:
    """The first submission of a batch, as a cluster job runs it."""
    step = [sys.executable, "-m", "workflow.engine.supervise", "predict"]
    return subprocess.Popen(
        [*step, "--batch", batch, "--attempt", "1"],
        cwd=folder,
        env={**ENVIRONMENT, **QUICK_COMPILE, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )


def test_both_end_well_and_leave_what_one_would_have_left(tmp_path: Path) -> None:
    text = job("one", protein("GSHMKNVTWY"), modelSeeds=list(range(1, NUM_SEEDS + 1)))
    one = make_campaign(
        tmp_path / "one", {"one.json": text}, network=TINY, predict={"buckets": [32]}
    )
    made = run_campaign(one, "--until", "featurise", environment=QUICK_COMPILE)
    assert made.returncode == 0, made.stdout + made.stderr
    two = tmp_path / "two"
    shutil.copytree(one, two)
    (outcomes,) = one.glob("results/featurise/*.parquet")
    assert predict(one, outcomes.stem).wait(600) == 0
    first = predict(two, outcomes.stem)
    journal = two / f"logs/predict/{outcomes.stem}.journal"
    # In step from the beginning, both would compute every item.
    while not any(line.event == "done" for line in read_lines(journal)):
        assert first.poll() is None
        time.sleep(0.05)
    second = predict(two, outcomes.stem)
    assert [first.wait(600), second.wait(600)] == [0, 0]
    expected, found = tables_of(one), tables_of(two)
    assert len([name for name in found if "predictions" in name]) == NUM_SEEDS
    assert found == expected
    lines = read_lines(journal)
    assert not {line.event for line in lines} & {"failed", "died", "postponed"}
    committed = [line.item for line in lines if line.event == "done"]
    assert NUM_SEEDS <= len(committed) < 2 * NUM_SEEDS
