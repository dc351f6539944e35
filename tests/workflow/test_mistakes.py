"""The mistakes that people make are told before anything is computed."""

import os

import pytest

from tests.workflow.campaigns import ROOT
from tests.workflow.mistakes import MISTAKES, Mistake, Told, make, page


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """What was said of each, by its heading."""
    return {
        mistake.heading: make(mistake, tmp_path_factory.mktemp("mistake"))
        for mistake in MISTAKES
    }


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.heading)
def test_a_mistake_is_told_in_a_sentence_and_nothing_is_computed(
    mistake: Mistake, told: dict[str, Told]
) -> None:
    answer = told[mistake.heading]
    usage = [line for line in answer.lines if line.startswith(("Usage", "Try"))]
    assert len(answer.lines) - len(usage) == mistake.count
    assert not answer.has_results
    assert answer.status == (0 if mistake.is_warning else 2)
    assert not [line for line in answer.lines if "Traceback" in line]


@pytest.mark.skipif(os.getuid() != 0, reason="others may not write to the full disk")
def test_the_page_shows_what_is_said_today(told: dict[str, Told]) -> None:
    shown = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    assert shown == page(list(told.values()))
