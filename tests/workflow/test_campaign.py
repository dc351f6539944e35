"""Whole campaigns, as a user runs them: every stage, nothing replaced."""

import json
import shutil
from pathlib import Path

import pytest

from af3_core.contracts import OUTCOMES, PREDICTIONS, PROVENANCE, SCORES
from tests.workflow.campaigns import (
    job,
    kill_when,
    make_campaign,
    protein,
    run_campaign,
)
from tests.workflow.kill_campaign import committed_in, repeats_in, tables_of
from workflow.tables import read_rows

pytestmark = pytest.mark.slow

INPUTS = {
    "one.json": job("one", protein("GSHMKNVTWYCDSEELLKS")),
    "two.json": job("two", protein("MKTAYIAKQR", "A", "B")),
    "ligand.json": job(
        "ligand", protein("GSHMKNVTWY"), {"ligand": {"id": "B", "ccdCodes": ["ATP"]}}
    ),
    "smiles.json": job(
        "smiles", protein("GSHMKNVTWY"), {"ligand": {"id": "B", "smiles": "CCO"}}
    ),
    "ion.json": job(
        "ion", protein("GSHMKNVTWY"), {"ligand": {"id": "B", "ccdCodes": ["MG"]}}
    ),
    "searched.fasta": ">crambin\nTTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN\n"
    ">peptide\nGSHMK\n",
    "no_json.json": "{",
    "bad_code.json": job(
        "bad_code", protein("GSHMK"), {"ligand": {"id": "B", "ccdCodes": ["NOSUCH"]}}
    ),
    "bad_letter.json": job("bad_letter", protein("GSH1MK")),
}
GOOD = {"one", "two", "ligand", "smiles", "ion", "crambin", "peptide"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """A campaign of seven good and three broken inputs, run once."""
    folder = make_campaign(tmp_path_factory.mktemp("campaign") / "c", INPUTS)
    result = run_campaign(folder)
    return folder, result.returncode, result.stdout + result.stderr


@pytest.fixture
def campaign(finished: tuple[Path, int, str], tmp_path: Path) -> Path:
    """A copy of the finished campaign, times of change kept."""
    return Path(shutil.copytree(finished[0], tmp_path / "c"))


def prediction_times(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("results/predictions/*")}


def test_every_good_input_has_ranked_results(finished: tuple[Path, int, str]) -> None:
    scores = read_rows(finished[0] / "results/tables/scores.parquet", SCORES)
    assert {row["name"] for row in scores} == GOOD
    assert {row["rank"] for row in scores if row["name"] == "one"} == {1, 2}


def test_broken_inputs_are_rows_with_file_cause_and_remedy(
    finished: tuple[Path, int, str],
) -> None:
    rows = read_rows(finished[0] / "results/tables/failures.parquet", OUTCOMES)
    assert {row["item"].split("#")[0] for row in rows} == {
        "inputs/no_json.json",
        "inputs/bad_code.json",
        "inputs/bad_letter.json",
    }
    assert all(row["cause"] == "input" and row["remedy"] for row in rows)


def test_the_exit_status_and_one_line_say_that_some_failed(
    finished: tuple[Path, int, str],
) -> None:
    _, status, output = finished
    assert status != 0
    assert "7 of 10 jobs have results; 3 failed" in output


def test_the_best_sample_is_exported_and_the_report_is_there(
    finished: tuple[Path, int, str],
) -> None:
    folder = finished[0]
    assert (folder / "results/alphafold3/two/two_model.cif").is_file()
    assert (folder / "results/report.html").stat().st_size > 10_000


def test_every_prediction_says_what_made_it(finished: tuple[Path, int, str]) -> None:
    path = finished[0] / "results/tables/provenance.parquet"
    rows = read_rows(path, PROVENANCE)
    assert len(rows) == len(GOOD)
    assert {row["rung"] for row in rows} == {"planned"}
    assert any("jackhmmer" in row["search_engines"] for row in rows)
    predictions = finished[0].glob("results/predictions/*.parquet")
    facts = json.loads(read_rows(next(predictions), PREDICTIONS)[0]["provenance"])
    assert facts.keys() >= {
        *("weights", "foldmill", "source", "backends", "device", "driver", "jax"),
        *("jaxlib", "precision", "bucket", "seed", "features", "canary", "rung"),
        *("search_profile", "search"),
    }


def test_a_second_run_computes_nothing(campaign: Path) -> None:
    before = prediction_times(campaign)
    run_campaign(campaign)
    log = (campaign / "logs/snakemake.log").read_text()
    assert prediction_times(campaign) == before
    assert "rule predict" not in log and "rule search" not in log


def test_a_deleted_prediction_alone_is_made_again(campaign: Path) -> None:
    before = prediction_times(campaign)
    victim = sorted(before)[0]
    original = read_rows(campaign / "results/predictions" / victim, PREDICTIONS)
    (campaign / "results/predictions" / victim).unlink()
    run_campaign(campaign)
    after = prediction_times(campaign)
    assert {n for n in after if after[n] != before[n]} == {victim}
    again = read_rows(campaign / "results/predictions" / victim, PREDICTIONS)
    # As text, because NaN is not equal to itself.
    assert str(again) == str(original)


def test_an_added_protein_runs_alone(campaign: Path) -> None:
    before = prediction_times(campaign)
    fasta = campaign / "inputs/searched.fasta"
    fasta.write_text(fasta.read_text() + ">new\nMQIFVKTLTGKTITLEVEPSD\n")
    run_campaign(campaign)
    after = prediction_times(campaign)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1
    log = (campaign / "logs/snakemake.log").read_text()
    assert log.count("rule predict:") == 1 and log.count("rule featurise:") == 1


KILLED_AT = (
    "logs/search/*.progress",
    "results/features/*",
    "results/predictions/*",
    "logs/relax/*.progress",
)


def test_a_campaign_killed_at_four_stages_ends_as_if_undisturbed(
    finished: tuple[Path, int, str], tmp_path: Path
) -> None:
    """The short version of `python -m tests.workflow.kill_campaign`."""
    folder = make_campaign(tmp_path / "c", INPUTS)
    for pattern in KILLED_AT:
        kill_when(folder, pattern)
    run_campaign(folder)
    assert tables_of(folder) == tables_of(finished[0])
    assert repeats_in(folder) == []
    assert {name.split()[0] for name in committed_in(folder)} >= {"predict", "relax"}
