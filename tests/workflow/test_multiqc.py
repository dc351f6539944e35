"""What MultiQC makes of a campaign."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from af3_core.contracts import OUTCOMES, SCORES
from tests.workflow.campaigns import ROOT
from tests.workflow.synthetic_campaign import THREE_JOBS, outcome, write_campaign
from workflow.campaign import Campaign
from workflow.cli import main
from workflow.tables import read_rows


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multiqc")
    failed = outcome("plan", "x.json", "failed", cause="input", remedy="Mend it.")
    write_campaign(folder / "results", THREE_JOBS, [failed])
    return folder


@pytest.fixture(scope="module")
def exported(campaign: Path) -> Path:
    out = campaign / "multiqc"
    assert main(["export", "multiqc", str(out), "--directory", str(campaign)]) == 0
    return out


def test_the_table_has_every_best_sample_and_no_other(
    campaign: Path, exported: Path
) -> None:
    shown = json.loads((exported / "foldmill_scores_mqc.json").read_bytes())
    scores = read_rows(Campaign(campaign).tables / "scores.parquet", SCORES)
    best = {row.name: row for row in scores if row.rank == 1}
    assert shown["data"].keys() == best.keys()
    for name, cells in shown["data"].items():
        assert cells["mean_plddt"] == pytest.approx(best[name].mean_plddt)
        assert ("iptm" in cells) == (best[name].iptm is not None)
        assert cells.keys() <= shown["headers"].keys()


def test_the_bars_count_every_outcome(campaign: Path, exported: Path) -> None:
    shown = json.loads((exported / "foldmill_outcomes_mqc.json").read_bytes())
    outcomes = read_rows(Campaign(campaign).tables / "outcomes.parquet", OUTCOMES)
    counted = sum(sum(of_stage.values()) for of_stage in shown["data"].values())
    assert counted == len(outcomes)
    assert shown["data"]["plan"]["failed"] == 1


@pytest.mark.long
def test_multiqc_itself_shows_both(exported: Path, tmp_path: Path) -> None:
    uv = shutil.which("uv") or str(ROOT / ".uv/bin/uv")
    command = [uv, "tool", "run", "--quiet", "--python", sys.executable]
    ran = subprocess.run(
        [*command, "multiqc==1.35", "--outdir", tmp_path, exported],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    html = (tmp_path / "multiqc_report.html").read_text(encoding="utf-8")
    for section in ("foldmill_scores", "foldmill_outcomes"):
        assert f'id="{section}' in html
