"""What Snakemake's own tools expect of a workflow."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow.campaigns import (
    ENVIRONMENT,
    NEVER_RUN,
    ROOT,
    job,
    make_campaign,
    protein,
)
from workflow.init import Answers, init_campaign


def test_snakemakes_linter_finds_nothing(tmp_path) -> None:
    inputs = {"one.json": job("one", protein("GSHMKNVTWY"))}
    folder = make_campaign(tmp_path / "c", inputs, network=NEVER_RUN)
    linted = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--lint"),
            *("--configfile", str(folder / "config.yaml")),
            *("--directory", str(folder), "--snakefile", str(ROOT / "Snakefile")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert "good condition" in linted.stdout + linted.stderr


def test_the_catalogue_finds_what_it_asks_for() -> None:
    text = (ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8")
    usage = yaml.safe_load(text)["usage"]
    assert usage.keys() == {*("mandatory-flags", "software-stack-deployment", "report")}
    assert usage["mandatory-flags"].keys() == {"desc", "flags"}
    assert usage["software-stack-deployment"]["conda"] is True
    assert usage["report"] is True


def test_the_catalogue_takes_the_workflow_for_one_of_standard_usage() -> None:
    """By the rules in the catalogue's README, and as its program looks."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    assert "snakemake" in readme and "workflow" in readme
    assert (ROOT / "workflow/Snakefile").is_file()
    assert (ROOT / "config/README.md").is_file()
    assert list((ROOT / "rules").glob("*.smk"))
    formatted = subprocess.run(
        [
            *(Path(sys.executable).parent / "snakefmt", "--check"),
            *(ROOT / "workflow/Snakefile", ROOT / "Snakefile"),
        ],
        capture_output=True,
        text=True,
    )
    assert formatted.returncode == 0, formatted.stderr


MODULE = """\
from snakemake.utils import min_version


min_version("6.10.0")


configfile: "config/config.yaml"


module foldmill:
    snakefile:
        "{snakefile}"
    config:
        config


use rule * from foldmill
"""
"""What snakedeploy writes, but for the address of the repository."""


@pytest.mark.parametrize("made_by", ["snakedeploy", "hand", "init"])
def test_a_folder_s_snakefile_runs_the_installed_package(tmp_path, made_by) -> None:
    inputs = {"one.json": job("one", protein("GSHMKNVTWY"))}
    folder = make_campaign(tmp_path / "c", inputs, network=NEVER_RUN)
    installed = ROOT / "workflow/Snakefile"
    if made_by == "init":
        init_campaign(tmp_path / "made", Answers())
        shutil.copy(tmp_path / "made/Snakefile", folder)
    else:
        (folder / "config").mkdir()
        shutil.move(folder / "config.yaml", folder / "config/config.yaml")
        (folder / "workflow").mkdir()
        text = installed.read_text(encoding="utf-8")
        if made_by == "snakedeploy":
            text = MODULE.format(snakefile=installed)
        (folder / "workflow/Snakefile").write_text(text, encoding="utf-8")
    listed = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "-n"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
    )
    said = listed.stdout + listed.stderr
    assert listed.returncode == 0, said
    rules = set(re.findall(r"^(?:local)?rule (\w+):", said, re.MULTILINE))
    assert {"plan", "featurise", "predict", "score", "report", "all"} <= rules


def test_every_captioned_output_has_its_caption() -> None:
    captions = ROOT / "rules/captions"
    text = (ROOT / "rules/report.smk").read_text(encoding="utf-8")
    named = {
        line.split('"')[1].removeprefix("captions/")
        for line in text.splitlines()
        if "caption=" in line
    }
    assert named == {path.name for path in captions.iterdir()} and len(named) == 5
