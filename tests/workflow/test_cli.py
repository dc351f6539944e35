"""The command line: plans are shown, mistakes are told in one line."""

import json
from pathlib import Path

import pytest
import yaml

from tests.workflow.campaigns import DATABASES, job, protein
from workflow import alignments, figures, query, timeline
from workflow.campaign import Campaign
from workflow.cli import main
from workflow.report import __main__ as report

HERE = Campaign()
"""The campaign in the current folder."""


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A campaign of one good and one broken input, never run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inputs").mkdir()
    (tmp_path / "af3.bin").touch()
    (tmp_path / "inputs/good.json").write_text(job("good", protein("MKV" * 20)))
    (tmp_path / "inputs/bad.json").write_text("{")
    return tmp_path


def configure(folder: Path, databases: Path) -> None:
    settings = {
        "inputs": ["inputs"],
        "search": {"databases": str(databases)},
        "model": {"checkpoint": "af3.bin"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def test_a_plan_says_what_will_run_and_what_will_not(campaign: Path, capsys) -> None:
    configure(campaign, DATABASES)
    assert main(["plan", "--directory", str(campaign)]) == 0
    shown = capsys.readouterr().out
    for part in (
        "Jobs: 1, with seeds 1",
        "hours of NVIDIA A100-SXM4-80GB (published, not measured here)",
        "with AlphaFold 3's default buckets",
        "Refused inputs: 1 (1 unreadable or wrong)",
        "refused: InputError: inputs/bad.json",
    ):
        assert part in shown
    assert json.loads((HERE.plan / "forecast.json").read_text())["num_jobs"] == 1


def test_a_wrong_path_is_told_in_one_line(campaign: Path, capsys) -> None:
    configure(campaign, campaign / "nowhere.tsv")
    assert main(["plan", "--directory", str(campaign)]) != 0
    shown = capsys.readouterr().out
    assert "nowhere.tsv: databases:" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (alignments, ["a3m", "folder"]),
        (figures, ["--out", "figures"]),
        (report, []),
        (timeline, []),
        (query, ["SELECT max(ptm) FROM scores"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_where_no_campaign_is_a_program_says_so(
    program, arguments, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert program.main(arguments) == 2
    told = capsys.readouterr().err
    assert "allowed: " in told or "Campaigns with results have: scores" in told
