"""What no job owns goes when asked for."""

from pathlib import Path

import pytest

from af3_core.contracts import JOBS
from tests.workflow.synthetic_campaign import filled
from workflow.batches import Batch, Plan, write_plan_file
from workflow.campaign import Campaign
from workflow.clean import describe, find_unowned, remove_unowned
from workflow.cli import main
from workflow.tables import write_table

KEPT, GONE = "a" * 16, "b" * 16
BATCH, OLD_BATCH = "0" * 12, "1" * 12
PLAN = Plan(jobs={BATCH: Batch((f"{KEPT}.1",))})


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    """One job that is planned and one that was."""
    found = Campaign(tmp_path)
    for job_id, batch in ((KEPT, BATCH), (GONE, OLD_BATCH)):
        for path in (
            found.features(job_id),
            found.prediction(f"{job_id}.1"),
            found.trunk_file("embeddings", f"{job_id}.1"),
            found.relaxed(batch),
            found.scores(batch),
            found.interfaces(batch),
            found.outcomes("predict", batch),
            found.provenance(batch),
            found.timings(batch),
            found.journal("predict", batch),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"some bytes")
    for name in ("kept", "gone"):
        (found.folders / name).mkdir(parents=True)
        (found.folders / name / f"{name}_model.cif").write_text("data_")
    (found.results / "predictions" / "notes.txt").write_text("somebody's own")
    rows = [{"job_id": KEPT, "name": "kept"}]
    write_table(found.plan / "jobs.parquet", JOBS, filled(JOBS, rows))
    write_plan_file(found, PLAN)
    return found


def tree(campaign: Campaign) -> set[str]:
    """All files, relative to the campaign."""
    files = (path for path in campaign.root.rglob("*") if path.is_file())
    return {str(path.relative_to(campaign.root)) for path in files}


def test_what_no_job_owns_is_found_and_nothing_else(campaign: Campaign) -> None:
    before = tree(campaign)
    found = find_unowned(campaign, PLAN)
    assert found.exports == ("gone",)
    remove_unowned(campaign, found)
    removed = before - tree(campaign)
    assert removed == {
        path
        for path in before
        if (GONE in path or OLD_BATCH in path or "gone" in path)
        and not path.startswith("results/timings")
    }
    assert len(removed) == 10
    assert find_unowned(campaign, PLAN).files == ()


def test_what_would_go_is_said_with_its_size(campaign: Campaign) -> None:
    lines = list(describe(find_unowned(campaign, PLAN)))
    assert "exports of 1 jobs: gone" in lines
    assert lines[-1] == "together 0.0 MB"
    assert any(line.startswith("1 files in ") for line in lines)


def test_the_command_asks_before_it_removes(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr("typer.confirm", lambda question: False)
    before = tree(campaign)
    assert main(["clean", "--directory", str(campaign.root)]) == 1
    assert tree(campaign) == before
    assert main(["clean", "--yes", "--directory", str(campaign.root)]) == 0
    assert len(tree(campaign)) < len(before)
    assert main(["clean", "--directory", str(campaign.root)]) == 0
    assert "Nothing to remove." in capsys.readouterr().out
