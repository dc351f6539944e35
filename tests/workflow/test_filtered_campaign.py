"""A campaign whose databases are filtered ahead, by processors in the GPU's place."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.workflow.campaigns import TINY, make_campaign, run_campaign
from workflow.results.features_file import read_search_facts

pytestmark = pytest.mark.slow

CRAMBIN = "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN"
GB1 = "MTYKLILNGKTLKGETTTEAVDAATAEKVFKQYANDNGVDGEWTYDDATKTFTVTE"
INPUTS = {"two.fasta": f">crambin\n{CRAMBIN}\n>gb1\n{GB1}\n"}


def run(folder: Path, filter_by: str) -> Path:
    """Runs a new campaign as far as its features."""
    made = make_campaign(folder, INPUTS, network=TINY, search={"filter": filter_by})
    run_again(made)
    return made


def run_again(folder: Path) -> None:
    done = run_campaign(folder, "--until", "featurise")
    assert done.returncode == 0, done.stdout + done.stderr


def hits(folder: Path) -> dict[str, list[dict[str, object]]]:
    paths = (folder / "store/msa_hits").glob("*/*.parquet")
    return {path.name: pq.read_table(path).to_pylist() for path in paths}


def facts(folder: Path) -> list[dict[str, str]]:
    paths = (folder / "results/features").glob("*.parquet")
    return [read_search_facts(path)["filter"] for path in paths]


def test_it_finds_the_same_rows_under_the_same_keys_and_says_what_filtered(
    tmp_path: Path,
) -> None:
    plain, ahead = run(tmp_path / "plain", "search"), run(tmp_path / "ahead", "cpu")
    assert hits(ahead) == hits(plain) and any(hits(plain).values())
    assert not (plain / "results/filter").exists()
    batches = {path.name for path in (plain / "results/search").glob("*.parquet")}
    filtered = {path.name for path in (ahead / "results/filter").glob("*.parquet")}
    assert filtered == batches and len(batches) > 2
    for path in (ahead / "logs/search").glob("*.log"):
        assert "2 of 2 sequences were filtered before" in path.read_text("utf-8")
    for fact in facts(plain):
        assert len(fact) > 2 and set(fact.values()) == {"cpu"}
    for fact in facts(ahead):
        assert len(fact) > 2 and set(fact.values()) == {"cpu ahead"}
    # What was left for the searches is gone with them.
    assert not list((ahead / "store/survivors").glob("*/*.parquet"))
    before = hits(ahead)
    for made in ("results/search", "results/features", "results/featurise"):
        shutil.rmtree(ahead / made)
    shutil.rmtree(ahead / "store/msa_hits")
    run_again(ahead)
    assert hits(ahead) == before
