"""What searching proteins takes, by processors alone and with a card for the filter."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.workflow.planning.test_batching import COSTS, SETTINGS, TARGETS, planned
from tests.workflow.planning.test_forecast import DATABASES, cost_of
from workflow.planning.batching import plan_batches
from workflow.planning.forecast import protein_cost
from workflow.planning.forecast_view import describe
from workflow.planning.search_costs import main, search_cost

ROOT = Path(__file__).parents[3]


def test_the_page_quotes_what_the_command_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 0
    _, table = capsys.readouterr().out.split("\n\n")
    assert table in (ROOT / "docs/search.md").read_text("utf-8")


def test_the_slowest_of_cards_cores_and_disk_decides() -> None:
    cost = search_cost(400e4, 1e10, 3e7, passes=10)
    assert cost.hours_with_cards(1, 10_000) == cost.card_hours
    assert cost.hours_with_cards(1000, 1) == cost.aligning
    assert cost.hours_with_cards(1000, 10_000_000) == 2 * cost.reading
    assert cost.hours_by_cores(2) == (cost.filtering + cost.aligning) / 2
    twice = cost + cost
    assert twice.card_hours == 2 * cost.card_hours
    assert twice.reading == 2 * cost.reading


def test_a_plan_adds_up_its_proteins_and_every_pass_over_their_databases() -> None:
    jobs = [planned("one", "M" * 100), planned("two", "MK" * 50, "M" * 100)]
    plan = plan_batches(jobs, TARGETS, SETTINGS, COSTS)
    cost = protein_cost(plan, jobs, DATABASES)
    assert cost.cells == 200 * 1e9
    assert cost.bytes_read == 1e9 * len(plan.search) / 2  # two of three databases
    more = [planned(f"more{n}", "MR" * (50 + n)) for n in range(5)]
    passes = protein_cost(
        plan_batches(more, TARGETS, SETTINGS, COSTS), more, DATABASES
    ).bytes_read
    assert passes == 3e9  # five sequences, two in a batch


def test_a_plan_says_both_ways_where_they_take_hours() -> None:
    cost = cost_of([planned("one", "M" * 400)])
    assert not [line for line in describe(cost) if "cells" in line]
    large = search_cost(400, 2.7e11, 1.07e9, passes=1)
    lines = describe(replace(cost, of_proteins=large))
    start = next(i for i, line in enumerate(lines) if "1.1e+14 cells" in line)
    assert "by processors: 0.2 core hours" in lines[start + 1]
    assert "270.0 GB read, 0.0 hours at 3 GB/s" in lines[start + 1]
    assert "search.filter: triton" in lines[start + 2]
    assert "H100" in lines[start + 2] and "540.0 GB" in lines[start + 2]
