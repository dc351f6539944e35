"""What Snakemake's own tools expect of a workflow."""

import subprocess
import sys

import yaml

from tests.workflow.campaigns import NEVER_RUN, ROOT, job, make_campaign, protein


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
    assert (ROOT / "config/README.md").is_file()


def test_every_captioned_output_has_its_caption() -> None:
    captions = ROOT / "rules/captions"
    text = (ROOT / "rules/report.smk").read_text(encoding="utf-8")
    named = {
        line.split('"')[1].removeprefix("captions/")
        for line in text.splitlines()
        if "caption=" in line
    }
    assert named == {path.name for path in captions.iterdir()} and len(named) == 5
