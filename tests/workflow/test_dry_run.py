"""A dry run shows the jobs of every stage and what they ask for; nothing changes."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.workflow.campaigns import NEVER_RUN, job, make_campaign, protein
from tests.workflow.finished import finish, settings_here, write_inputs
from workflow.campaign import Campaign
from workflow.cli import main
from workflow.dry_run import describe_made_again, print_dry_run, read_dry_jobs
from workflow.launch import Launched, run_snakemake
from workflow.settings import read_settings


def dry_run(folder: Path, *options: str) -> Launched:
    config = folder / "config.yaml"
    ended = run_snakemake(Campaign(folder), config, ["-n", *options], None)
    assert ended.status == 0, ended.text
    return ended


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two jobs of very different size, never run."""
    jobs = {
        "small.json": job("small", protein("GSHMKNVTWY")),
        "large.json": job("large", protein("GSHMKNVTWY" * 200)),
    }
    monkeypatch.chdir(make_campaign(tmp_path / "c", jobs, network=NEVER_RUN))
    return tmp_path / "c"


def test_jobs_are_those_that_snakemake_counts(campaign: Path) -> None:
    ended = dry_run(campaign)
    jobs = read_dry_jobs(ended.text)
    stats = ended.text.partition("Job stats:\n")[2].partition("\n\n")[0]
    counted = dict(line.split() for line in stats.splitlines()[2:])
    assert int(counted["total"]) == len(jobs) + 1, "all but the rule `all`"
    assert int(counted["predict"]) == len([j for j in jobs if j.rule == "predict"]) == 2


def test_predictions_ask_for_a_gpu_in_its_partition_and_nothing_else_does(
    campaign: Path,
) -> None:
    jobs = read_dry_jobs(dry_run(campaign, "--profile", "slurm").text)
    of_gpu = {job.rule for job in jobs if job.device}
    assert of_gpu == {"predict"}
    for one in jobs:
        is_local = one.rule in ("plan", "collect", "report", "verdict", "make_room")
        wanted = {"predict": "gpu"}.get(one.rule, "cpu")
        assert is_local or one.resources["slurm_partition"] == wanted
    memory = [job.memory_gb for job in jobs if job.rule == "predict"]
    assert max(memory) > min(memory), "a large batch asks for more"


def test_the_table_names_every_stage_with_what_it_asks_for(campaign: Path) -> None:
    text = dry_run(campaign, "--profile", "slurm").text
    out = io.StringIO()
    settings = read_settings(Path("config.yaml"))
    print_dry_run(text, Campaign(), settings, Console(file=out, width=100))
    (predict,) = (line for line in out.getvalue().splitlines() if "predict" in line)
    assert predict.split()[1:3] == ["2", "gpu"]
    assert "gpu:1" in predict
    assert not (campaign / "results").exists()


def test_run_n_shows_it_and_runs_nothing(campaign: Path, capsys) -> None:
    # An empty file is no checkpoint, which is told first.
    assert main(["run", "-n"]) == 2
    assert "checkpoint" in capsys.readouterr().err
    assert not (campaign / "results").exists()


def test_what_is_made_again_is_said_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inputs(tmp_path / "c")
    monkeypatch.chdir(tmp_path / "c")
    finish()
    assert list(describe_made_again(Campaign(), settings_here())) == []
    changed = settings_here(relax={"samples": "all"})
    said = list(describe_made_again(Campaign(), changed))
    assert "Made again: relax, 4 batches: what it depends on has changed" in said
    assert not [line for line in said if "predict" in line]
