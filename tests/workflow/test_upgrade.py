"""A campaign that the release before has made, under this one.

`tests/data/release_0_1_0` is what 0.1.0 left of a small campaign that it ran to its end
with its own code; `tests/data/README.md` says how it was made.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow.campaigns import (
    DATABASES,
    QUICK_COMPILE,
    ROOT,
    TINY,
    run_campaign,
    toy_checkpoint,
)
from workflow.batches import load_plan, plan_path
from workflow.campaign import Campaign
from workflow.cli import main
from workflow.tables import write_json

BEFORE = ROOT / "tests/data/release_0_1_0"
SENTENCE = (
    "results: release: got 'results of 0.1.0'; allowed: those of a later release;"
)
COMMANDS = (
    *("plan", "check", "status", "results", "report", "timeline", "clean"),
    *("run", "run -n", "retry", "export a3m alignments", "export figures"),
)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The campaign as 0.1.0 left it; only the databases lie elsewhere now."""
    folder = tmp_path_factory.mktemp("upgrade") / "campaign"
    shutil.copytree(BEFORE, folder)
    for name, data in toy_checkpoint(TINY).items():
        (folder / name).write_bytes(data)
    config = folder / "config.yaml"
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["search"]["databases"] = str(DATABASES)
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Digests of all files of a folder but logs."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and "logs" not in path.parts
        and ".snakemake" not in path.parts
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_to_do_and_changes_nothing(
    campaign: Path, command: str, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.chdir(campaign)
    before = contents(campaign)
    assert main(command.split()) == 2
    said = capsys.readouterr()
    lines = (said.out + said.err).strip().splitlines()
    assert len(lines) == 1 and SENTENCE in lines[0]
    assert contents(campaign) == before


def test_a_query_says_it_too(
    campaign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["query", "SELECT * FROM scores", str(campaign)]) == 2
    assert SENTENCE in capsys.readouterr().err


def test_snakemake_itself_stops_with_the_sentence(campaign: Path) -> None:
    before = contents(campaign)
    stopped = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--cores", "1"),
            *("--snakefile", str(ROOT / "Snakefile"), "--directory", str(campaign)),
            *("--configfile", str(campaign / "config.yaml")),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert stopped.returncode != 0
    assert SENTENCE in stopped.stdout + stopped.stderr
    assert contents(campaign) == before


@pytest.mark.slow
def test_what_it_says_is_enough_and_nothing_is_searched_again(
    campaign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "campaign"
    shutil.copytree(campaign, folder)
    assert main(["run", "--directory", str(folder)]) == 2
    (remedy,) = re.findall(r"\((mv [^)]+)\)", capsys.readouterr().err)
    subprocess.run(remedy.split(), cwd=folder, check=True)
    kept = contents(folder)
    found = {p: p.stat() for p in (folder / "store").rglob("*.parquet")}

    ended = run_campaign(folder, environment=QUICK_COMPILE)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "All 2 jobs have results." in ended.stdout
    # What 0.1.0 left is there to the last byte, and its searches were enough.
    after = contents(folder)
    assert {name: after.get(name) for name in kept} == kept
    entries = {p: p.stat() for p in (folder / "store").rglob("*.parquet")}
    assert len(found) >= 5
    assert {p: (s.st_ino, s.st_mtime_ns) for p, s in entries.items()} == {
        p: (s.st_ino, s.st_mtime_ns) for p, s in found.items()
    }


def test_the_plan_of_a_later_release_is_left_alone(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    campaign.plan.mkdir(parents=True)
    write_json(plan_path(campaign), {"version": 1_000})
    before = plan_path(campaign).read_bytes()
    with pytest.raises(ValueError, match="a later release's plan"):
        load_plan(campaign)
    assert plan_path(campaign).read_bytes() == before


def test_the_documentation_says_the_same_sentence() -> None:
    page = (ROOT / "docs/upgrading.md").read_text(encoding="utf-8")
    shown = " ".join(page.split("```text\n")[1].split("```")[0].split())
    assert shown.startswith(SENTENCE)
    assert "(mv results results-0.1.0)" in shown


def test_the_old_campaign_is_the_old_release_s() -> None:
    """So that these tests are of what 0.1.0 wrote, not of what we think it did."""
    manifest = json.loads((BEFORE / "results/plan/manifest.json").read_bytes())
    assert manifest["jobs"] and manifest["search"]
    assert not plan_path(Campaign(BEFORE)).exists()
