"""How far a campaign is: every stage counts what it works on."""

from pathlib import Path

from workflow.batches import Batch, Plan
from workflow.campaign import Campaign
from workflow.progress import stage_counts

PLAN = Plan(
    search={},
    templates={},
    jobs={"b": Batch(items=("one.1", "one.2", "two.1"), bucket=32, longest=20)},
)
"""Two jobs, one of them with two seeds."""


def test_features_and_exports_are_of_jobs_all_else_of_seeds(tmp_path: Path) -> None:
    counts = stage_counts(Campaign(tmp_path), PLAN)
    assert counts == {
        "featurise": (0, 2),
        "predict": (0, 3),
        "relax": (0, 3),
        "score": (0, 3),
        "export": (0, 2),
    }


def test_a_batch_at_work_counts_what_it_has_finished(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    progress = campaign.progress("featurise", "b")
    progress.parent.mkdir(parents=True)
    progress.write_text("1 2\n")
    assert stage_counts(campaign, PLAN)["featurise"] == (1, 2)


def test_a_finished_batch_counts_whole(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    for stage in ("featurise", "predict"):
        path = campaign.outcomes(stage, "b")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    counts = stage_counts(campaign, PLAN)
    assert counts["featurise"] == (2, 2) and counts["predict"] == (3, 3)
