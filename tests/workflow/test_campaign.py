"""Whole campaigns, as a user runs them: every stage, nothing replaced."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from af3_core.contracts import OUTCOMES, PREDICTIONS, PROVENANCE, SCORES
from tests.workflow.campaigns import (
    QUICK_COMPILE,
    TINY,
    job,
    kill_when,
    make_campaign,
    protein,
    run_campaign,
)
from tests.workflow.kill_campaign import committed_in, repeats_in, tables_of
from workflow.campaign import Campaign
from workflow.status import read_status
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
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the campaigns of this module keep compiled networks."""
    return tmp_path_factory.mktemp("compiled")


def new_campaign(folder: Path, compiled: Path) -> Path:
    predict = {"buckets": [48], "compilation_cache": str(compiled)}
    return make_campaign(folder, INPUTS, network=TINY, predict=predict)


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, compiled: Path
) -> tuple[Path, int, str]:
    """A campaign of seven good and three broken inputs, run once."""
    folder = new_campaign(tmp_path_factory.mktemp("campaign") / "c", compiled)
    result = run_campaign(folder, environment=QUICK_COMPILE)
    return folder, result.returncode, result.stdout + result.stderr


def last_log(folder: Path) -> str:
    """What Snakemake said in the latest run."""
    logs = folder.glob("logs/foldmill/run.*.log")
    return max(logs, key=lambda path: path.stat().st_mtime_ns).read_text("utf-8")


def prediction_times(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("results/predictions/*")}


def test_every_good_input_has_ranked_results(finished: tuple[Path, int, str]) -> None:
    scores = read_rows(finished[0] / "results/tables/scores.parquet", SCORES)
    assert {row.name for row in scores} == GOOD
    assert {row.rank for row in scores if row.name == "one"} == {1, 2}


def test_broken_inputs_are_rows_with_file_cause_and_remedy(
    finished: tuple[Path, int, str],
) -> None:
    rows = read_rows(finished[0] / "results/tables/failures.parquet", OUTCOMES)
    assert {row.item.split("#")[0] for row in rows} == {
        "inputs/no_json.json",
        "inputs/bad_code.json",
        "inputs/bad_letter.json",
    }
    assert all(row.cause == "input" and row.remedy for row in rows)


def test_the_exit_status_and_one_line_say_that_some_failed(
    finished: tuple[Path, int, str],
) -> None:
    _, status, output = finished
    assert status != 0
    assert "7 of 10 jobs have results; 3 failed" in output


def test_the_status_says_what_is_done_and_what_failed(
    finished: tuple[Path, int, str],
) -> None:
    status = read_status(Campaign(finished[0]))
    assert status is not None and status.is_over
    predict = status.stages["predict"]
    assert (predict.done, predict.failed) == (predict.total, 0)
    assert predict.total == len(GOOD)
    assert len(status.failures) == 3
    assert status.hours_used > 0


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
    assert {row.rung for row in rows} == {"planned"}
    assert any("jackhmmer" in row.search_engines for row in rows)
    predictions = finished[0].glob("results/predictions/*.parquet")
    facts = json.loads(read_rows(next(predictions), PREDICTIONS)[0].provenance)
    assert facts.keys() >= {
        *("weights", "foldmill", "source", "backends", "device", "driver", "jax"),
        *("jaxlib", "precision", "bucket", "seed", "features", "canary", "rung"),
        *("search_profile", "search"),
    }
    assert facts["num_recycles"] == facts["max_recycles"] == 0
    assert facts["recycle_tolerance"] is None


def test_a_second_run_computes_nothing(
    finished: tuple[Path, int, str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished[0], tmp_path / "c"))
    run_campaign(folder, environment=QUICK_COMPILE)
    log = last_log(folder)
    assert prediction_times(folder) == prediction_times(finished[0])
    assert "rule predict" not in log and "rule search" not in log


@pytest.fixture(scope="module")
def changed(
    finished: tuple[Path, int, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The finished campaign, run again after a prediction was deleted, the relaxed
    structures were torn and a protein was added; and the name of the prediction."""
    folder = tmp_path_factory.mktemp("changed") / "c"
    shutil.copytree(finished[0], folder)  # keeps times of change
    victim = sorted(prediction_times(folder))[0]
    (folder / "results/predictions" / victim).unlink()
    (relaxed,) = folder.glob("results/relaxed/*.parquet")
    relaxed.write_bytes(relaxed.read_bytes()[:-1])
    fasta = folder / "inputs/searched.fasta"
    fasta.write_text(fasta.read_text() + ">new\nMQIFVKTLTGKTITLEVEPSD\n")
    run_campaign(folder, environment=QUICK_COMPILE)
    return folder, victim


def test_a_deleted_prediction_alone_is_made_again(
    finished: tuple[Path, int, str], changed: tuple[Path, str]
) -> None:
    folder, victim = changed
    before, after = prediction_times(finished[0]), prediction_times(folder)
    assert {name for name in before if after[name] != before[name]} == {victim}
    original, again = (
        read_rows(campaign / "results/predictions" / victim, PREDICTIONS)
        for campaign in (finished[0], folder)
    )
    # As text, because NaN is not equal to itself.
    assert str(again) == str(original)


def test_torn_relaxed_structures_are_made_again(
    finished: tuple[Path, int, str], changed: tuple[Path, str]
) -> None:
    (name,) = (p.name for p in finished[0].glob("results/relaxed/*"))
    original, again = (
        tables_of(folder)[f"results/relaxed/{name}"]
        for folder in (finished[0], changed[0])
    )
    assert again == original and len(again) == len(GOOD)


def test_an_added_protein_runs_alone(
    finished: tuple[Path, int, str], changed: tuple[Path, str]
) -> None:
    before, after = prediction_times(finished[0]), prediction_times(changed[0])
    assert len(after) == len(before) + 1
    log = last_log(changed[0])
    # Once for it, and once for the prediction that was deleted.
    assert log.count("rule predict:") == 2
    assert log.count("rule featurise:") == 1


def test_changed_settings_take_effect_in_the_next_run(
    finished: tuple[Path, int, str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished[0], tmp_path / "c"))
    config = folder / "config.yaml"
    settings = yaml.safe_load(config.read_text()) | {"relax": {"samples": "none"}}
    config.write_text(yaml.safe_dump(settings))
    run_campaign(folder, environment=QUICK_COMPILE)
    (relaxed,) = folder.glob("results/relaxed/*.parquet")
    assert pq.read_metadata(relaxed).num_rows == 0
    statuses = pq.read_table(folder / "results/tables/scores.parquet")["relax_status"]
    assert statuses.null_count == len(statuses) > 0
    assert prediction_times(folder) == prediction_times(finished[0])


KILLED_AT = (
    "logs/search/*.progress",
    "results/features/*",
    "results/predictions/*",
    "logs/relax/*.progress",
)


def test_a_campaign_killed_at_four_stages_ends_as_if_undisturbed(
    finished: tuple[Path, int, str], compiled: Path, tmp_path: Path
) -> None:
    """The short version of `python -m tests.workflow.kill_campaign`."""
    folder = new_campaign(tmp_path / "c", compiled)
    for pattern in KILLED_AT:
        kill_when(folder, pattern, environment=QUICK_COMPILE)
    run_campaign(folder, environment=QUICK_COMPILE)
    assert tables_of(folder) == tables_of(finished[0])
    assert repeats_in(folder) == []
    assert {name.split()[0] for name in committed_in(folder)} >= {"predict", "relax"}
