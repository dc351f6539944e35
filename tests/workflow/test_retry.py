"""Which failures are asked to be tried again, and what is left as it is."""

from pathlib import Path

import pytest

from workflow.batches import Batch, Plan
from workflow.campaign import Campaign
from workflow.engine.failures import failure
from workflow.engine.items import commit_outcomes, outcome
from workflow.engine.journal import read_lines
from workflow.retry import ask_for_retry

HERE = Campaign()
"""The campaign in the current folder."""

BATCHES = Plan(jobs={"good": Batch(("a.1",)), "bad": Batch(("b.1",))})
STAGES = ("featurise", "predict", "relax", "score", "export")


@pytest.fixture(autouse=True)
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches that are through all stages."""
    monkeypatch.chdir(tmp_path)
    for stage in STAGES:
        for batch, item in (("good", "a.1"), ("bad", "b.1")):
            commit_outcomes(HERE, stage, batch, [outcome(stage, batch, item)])


def fail(stage: str, cause: str) -> None:
    """The bad batch's item fails in a stage, and is skipped by those after."""
    why = failure(cause, "seen")
    for later in STAGES[STAGES.index(stage) :]:
        status = None if later == stage else "skipped"
        row = outcome(later, "bad", "b.1", failure=why, status=status)
        commit_outcomes(HERE, later, "bad", [row])


def there(batch: str) -> list[str]:
    return [stage for stage in STAGES if HERE.outcomes(stage, batch).is_file()]


def test_the_stage_that_failed_is_tried_again_and_nothing_is_removed() -> None:
    fail("predict", "gpu_memory")
    assert ask_for_retry(HERE, BATCHES) == 1
    assert there("bad") == there("good") == list(STAGES)
    (line,) = read_lines(HERE.journal("predict", "bad"))
    assert line.event == "reset"
    assert not HERE.journal("predict", "good").exists()


def test_a_wrong_input_is_not_tried_again() -> None:
    fail("featurise", "input")
    assert ask_for_retry(HERE, BATCHES) == 0
    assert not HERE.journal("featurise", "bad").exists()


def test_only_the_causes_asked_for_are_tried_again() -> None:
    fail("predict", "conformer")
    assert ask_for_retry(HERE, BATCHES, ["disk"]) == 0
    assert ask_for_retry(HERE, BATCHES, ["conformer"]) == 1
