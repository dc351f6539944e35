"""Inputs that failed half-way elsewhere go from search to scores and export."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.workflow.campaigns import TINY, make_campaign, run_campaign
from workflow.needs import sequence_id

FOREIGN = Path(__file__).parents[1] / "data" / "foreign"
INPUTS = (
    *sorted(FOREIGN.glob("search_letters/mod_*.json")),
    FOREIGN / "search_letters" / "sel.fasta",
    *sorted(FOREIGN.glob("element_x/*.json")),
    *sorted(FOREIGN.glob("component_dates/*.json")),
    FOREIGN / "unclear" / "ccd_noideal.json",
)
QUERIES = (
    *("MKTAYIXKQRQISFVKSHFS", "XAYGKPLWESMKTAYIAK", "QAYGXPLWESMKTAYIAK"),
    *("EAYGKPLWESMKTAYIAK", "QXYGKPLWESMKTAYIAK", "QAYGKPLWESMKTAYIAK"),
)
"""Four records of U, B, X and O, then ACE, 2OP, PCA, a component of the user's and SEP
on an X, by the letters that the official pipeline searches with."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_foreign_inputs_run_from_search_to_scores(tmp_path: Path) -> None:
    inputs = {path.name: path.read_bytes() for path in INPUTS}
    folder = make_campaign(
        tmp_path / "campaign", inputs, network=TINY, relax={"samples": "none"}
    )
    done = run_campaign(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    tables = folder / "results" / "tables"
    num_jobs = len(INPUTS) + 3  # four records in one file
    assert len(set(pq.read_table(tables / "scores.parquet")["job_id"].to_pylist())) == (
        num_jobs
    )
    assert len(list((folder / "results" / "alphafold3").iterdir())) == num_jobs
    searched = pq.read_table(folder / "results" / "plan" / "chains.parquet")
    ids = set(searched["sequence_id"].to_pylist())
    assert {sequence_id("protein", query) for query in QUERIES} <= ids
