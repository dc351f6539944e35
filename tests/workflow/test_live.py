"""A campaign may be looked at while it runs: what is finished is in every answer."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from af3_core.contracts import INTERFACES, SAMPLE_SCORES, SCORES
from af3_core.job import InputError
from tests.workflow.campaigns import (
    ENVIRONMENT,
    QUICK_COMPILE,
    ROOT,
    TINY,
    job,
    make_campaign,
    protein,
)
from workflow.campaign import Campaign
from workflow.report.jobs import read_job_list
from workflow.results.batch_files import BatchFiles
from workflow.so_far import describe_so_far, with_tables
from workflow.status import read_status
from workflow.step import read_plan
from workflow.tables import read_rows

pytestmark = pytest.mark.slow

INPUTS = {
    "quick.json": job("quick", protein("GSHMKNVTWY", "A", "B")),
    "long.json": job(
        "long", protein("GSHMKNVTWY" * 10), modelSeeds=list(range(1, 300))
    ),
    "broken.json": "{",
}


def foldmill(folder: Path, *arguments: str) -> str:
    """What a command says of a campaign, from another terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "workflow.cli", *arguments],
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def under_way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A campaign of two batches that runs: one is scored, one takes long."""
    folder = make_campaign(
        tmp_path_factory.mktemp("live") / "kinases",
        INPUTS,
        network=TINY,
        predict={"buckets": [24, 128]},
    )
    command = [sys.executable, "-m", "workflow.cli", "run", "--directory", str(folder)]
    process = subprocess.Popen(
        [*command, "--cores", "4"],
        cwd=ROOT,
        env={**ENVIRONMENT, **QUICK_COMPILE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 600
    while not any(folder.glob("results/score/*.scores.parquet")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    yield folder
    assert process.poll() is None, "it has run all the time"
    process.terminate()
    process.wait(timeout=60)


def test_status_counts_by_stage_and_names_what_failed(under_way: Path) -> None:
    shown = foldmill(under_way, "status")
    assert "predicting structures" in shown
    assert "broken.json" in shown
    found = read_status(Campaign(under_way))
    assert found is not None and not found.is_over
    predict = found.stages["predict"]
    assert 1 <= predict.done < predict.total == 300
    assert found.stages["featurise"].total == 2


def test_results_list_the_jobs_that_are_done(under_way: Path) -> None:
    shown = foldmill(under_way, "results")
    assert "quick" in shown
    assert "long" not in shown
    assert "So far: 1 of 2 jobs have results." in shown
    assert "The network is untrained" in shown


def test_questions_are_answered_from_what_is_finished(under_way: Path) -> None:
    shown = foldmill(under_way, "query", "SELECT name, count(*) FROM scores GROUP BY 1")
    assert "quick" in shown and "long" not in shown
    told = foldmill(under_way, "query", "SELECT cause FROM failures")
    assert "input" in told


def test_the_report_shows_what_is_finished_and_says_what_waits(under_way: Path) -> None:
    shown = foldmill(under_way, "report")
    page = under_way / "results/report_so_far.html"
    assert str(page) in shown
    html = page.read_text(encoding="utf-8")
    assert "<h1>kinases</h1>" in html
    assert "So far: 1 of 2 jobs have results." in html
    with with_tables(Campaign(under_way)) as campaign:
        jobs = read_job_list(campaign.results, campaign.tables).rows
        states = {row.name: row.status for row in jobs}
    assert states == {
        "quick": "done",
        "long": "waiting",
        "inputs/broken.json": "failed",
    }


def test_looking_makes_nothing_that_the_run_would_make(under_way: Path) -> None:
    assert not (under_way / "results/tables").exists()
    assert not (under_way / "results/report.html").exists()


def take_apart(campaign: Campaign) -> list[str]:
    """Gives every item of the only batch its own files of scores again; names them."""
    ((name, batch),) = read_plan(campaign).jobs.items()
    BatchFiles(SAMPLE_SCORES, campaign.scores).part(name)
    BatchFiles(INTERFACES, campaign.interfaces).part(name)
    return list(batch.items)


def test_items_of_a_batch_at_work_count_when_they_are_current(tmp_path: Path) -> None:
    folder = make_campaign(
        tmp_path / "c",
        {"one.json": job("one", protein("GSHMKNVTWY"), modelSeeds=[1, 2])},
        network=TINY,
        predict={"buckets": [24]},
    )
    command = [sys.executable, "-m", "workflow.cli", "run", "--directory", str(folder)]
    environment = {**ENVIRONMENT, **QUICK_COMPILE}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    campaign = Campaign(folder)
    whole = read_rows(campaign.tables / "scores.parquet", SCORES)
    # A single chain has no ipTM: NaN, which equals nothing.
    # As a job that is killed within a batch leaves it: its items have their own files.
    for name in ("scores", "outcomes"):
        (campaign.tables / f"{name}.parquet").unlink()
    first, _ = take_apart(campaign)
    with with_tables(campaign) as so_far:
        found = read_rows(so_far.tables / "scores.parquet", SCORES)
        assert repr(found) == repr(whole)
    campaign.scores(first).unlink()
    with with_tables(campaign) as so_far:
        rows = read_rows(so_far.tables / "scores.parquet", SCORES)
        assert {row.seed for row in rows} < {row.seed for row in whole}
        assert describe_so_far(so_far) == "So far: 1 of 1 jobs have results."


def test_a_campaign_that_is_not_planned_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="plan"):
        with with_tables(Campaign(tmp_path)):
            pass
