"""What a store should have and has not is searched again, where it is needed."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from af3_core.contracts import OUTCOMES
from tests.workflow.campaigns import (
    TINY,
    job,
    make_campaign,
    protein,
    run_campaign,
)
from workflow.tables import read_rows

pytestmark = pytest.mark.slow

CRAMBIN = "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN"
INPUTS = {
    "searched.fasta": f">searched\n{CRAMBIN}\n",
    "other.json": job("other", protein("GSHMKNVTWY")),
}


def featurise(folder: Path) -> dict[str, str | None]:
    """Runs the campaign as far as its features; the cause of what failed."""
    done = run_campaign(folder, "--until", "featurise")
    assert done.returncode == 0, done.stdout + done.stderr
    (outcomes,) = (folder / "results/featurise").glob("*.parquet")
    return {str(row.item): row.cause for row in read_rows(outcomes, OUTCOMES)}


def features_in(folder: Path) -> dict[str, list[dict[str, object]]]:
    paths = (folder / "results/features").glob("*.parquet")
    return {path.name: pq.read_table(path).to_pylist() for path in paths}


def test_a_purged_store_is_filled_again_by_the_features_that_need_it(
    tmp_path: Path,
) -> None:
    folder = make_campaign(tmp_path / "c", INPUTS, network=TINY)
    causes = featurise(folder)
    assert set(causes.values()) == {None} and len(causes) == 2
    before = features_in(folder)
    for made in ("store", "results/features", "results/featurise"):
        shutil.rmtree(folder / made)
    assert featurise(folder) == causes
    assert features_in(folder) == before
    (log,) = (folder / "logs/featurise").glob("*.log")
    assert "searched again: the store" in log.read_text("utf-8")
    assert list((folder / "store").glob("*/*/*.parquet"))
