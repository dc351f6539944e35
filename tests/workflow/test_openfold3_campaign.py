"""A campaign with OpenFold3's network, small, then with another one. Takes minutes."""

import json
import shutil
from pathlib import Path

import gemmi
import numpy as np
import pytest

from af3_core.contracts import PREDICTIONS, SCORES, PredictionRow
from af3_core.model.checkpoint import write_checkpoint
from tests.af3_core.model.tiny import TINY, random_params
from tests.workflow.campaigns import (
    QUICK_COMPILE,
    job,
    make_campaign,
    protein,
    run_campaign,
)
from workflow.campaign import Campaign
from workflow.pooling import mixtures
from workflow.tables import read_rows

pytestmark = pytest.mark.slow

DNA = {"dna": {"id": "B", "sequence": "GANTC"}}
SUGAR = {"ligand": {"id": "C", "ccdCodes": ["NAG"]}}
MODIFIED = {"modifications": [{"ptmType": "SEP", "ptmPosition": 3}]}
INPUTS = {"one.json": job("one", protein("GSSKWVL", "A", **MODIFIED), DNA, SUGAR)}


def run(folder: Path) -> None:
    result = run_campaign(folder, environment=QUICK_COMPILE)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_campaign(
        tmp_path_factory.mktemp("openfold3") / "c",
        INPUTS,
        network="tests.workflow.openfold3_checkpoint",
        predict={"buckets": [48], "compilation_cache": None},
        relax={"samples": "none"},
    )
    run(folder)
    return folder


def predictions(folder: Path) -> list[PredictionRow]:
    (path,) = (folder / "results/predictions").glob("*")
    return read_rows(path, PREDICTIONS)


def exported(folder: Path) -> Path:
    return folder / "results/alphafold3/one"


def test_predictions_say_whose_weights_made_them(campaign) -> None:
    for row in predictions(campaign):
        facts = json.loads(row.provenance)
        assert facts["weights_origin"] == "openfold3"
        assert facts["weights_licence"] == "Apache-2.0"
        assert np.isfinite(row.positions).all()


def test_every_sample_has_scores(campaign) -> None:
    scores = read_rows(campaign / "results/tables/scores.parquet", SCORES)
    assert len(scores) == len(predictions(campaign))


def test_what_is_exported_is_free_for_any_use(campaign) -> None:
    terms = (exported(campaign) / "TERMS_OF_USE.md").read_text("utf-8")
    text = (exported(campaign) / "one_model.cif").read_text("utf-8")
    for stated in (terms, text):
        assert "Apache License" in stated
        assert "non-commercial" not in stated
    block = gemmi.cif.read_string(text).sole_block()
    assert "OpenFold3" in block.find_values("_software.name")
    assert block.find_values("_citation.title")[0].strip("'\"") == "OpenFold3"


def test_terminal_atoms_that_are_not_predicted_are_built(campaign) -> None:
    model = gemmi.read_structure(str(exported(campaign) / "one_model.cif"))[0]
    last = model["A"][-1]
    length = (last["C"][0].pos - last["OXT"][0].pos).length()
    assert length == pytest.approx(1.25, abs=0.01)  # Å


def test_the_report_names_the_licence(campaign) -> None:
    report = (campaign / "results/report.html").read_text("utf-8")
    assert "Apache License" in report


def test_another_network_in_the_same_store_predicts_anew_and_is_told_apart(
    campaign, tmp_path
) -> None:
    second = tmp_path / "second"
    shutil.copytree(campaign, second, symlinks=True)
    shutil.rmtree(second / "results")
    for path in second.glob("toy.*"):
        path.unlink()
    write_checkpoint(
        second / "toy.bin.zst",
        random_params(),
        TINY,
        b"a release" * 7 + b"!",
    )
    run(second)
    facts = json.loads(predictions(second)[0].provenance)
    assert facts["weights_origin"] == "alphafold3"
    assert "non-commercial" in (exported(second) / "TERMS_OF_USE.md").read_text("utf-8")
    warnings = mixtures(Campaign(campaign), Campaign(second))
    assert any("different weights" in sentence for sentence in warnings)
