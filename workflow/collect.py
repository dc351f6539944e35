"""Gathers the tables of all batches into the campaign's, best jobs first.

    python -m workflow.collect

writes `results/tables/`: `scores`, `interfaces`, `screen` (pairs of screens, over all
jobs), `provenance`, `outcomes` (every item of every stage) and `failures` (the outcomes
that are not done, each once, where it began).
"""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from af3_core.contracts import (
    INTERFACES,
    OUTCOMES,
    PROVENANCE,
    SAMPLE_SCORES,
    SCORES,
    SCREEN,
    SCREEN_CHAINS,
)
from workflow.batches import Plan
from workflow.campaign import Campaign
from workflow.results.ranking import rank_rows
from workflow.results.screen import screen_table
from workflow.stages import STAGES
from workflow.step import read_plan, read_planned_settings, run_step
from workflow.tables import concatenate, read_table, write_table


def main(argv: list[str] | None = None) -> int:
    """Gathers all tables."""
    argparse.ArgumentParser(prog="workflow.collect", description=__doc__).parse_args(
        argv
    )
    return run_step(lambda: collect_tables(Campaign()))


def collect_tables(campaign: Campaign) -> None:
    """Writes the campaign's tables from the batches of the plan."""
    plan, settings = read_plan(campaign), read_planned_settings(campaign)
    files = [campaign.scores(name) for name in plan.jobs]
    rows = SAMPLE_SCORES.rows(concatenate(files, SAMPLE_SCORES))
    scores = SCORES.table(rank_rows(rows, settings.score.rank_by))
    order = [
        ("ranking_score", "descending"),
        ("name", "ascending"),
        ("rank", "ascending"),
    ]
    write_table(campaign.tables / "scores.parquet", SCORES, scores.sort_by(order))
    files = [campaign.interfaces(name) for name in plan.jobs]
    interfaces = concatenate(files, INTERFACES)
    write_table(campaign.tables / "interfaces.parquet", INTERFACES, interfaces)
    chains = read_table(campaign.plan / "screen_chains.parquet", SCREEN_CHAINS)
    screen = screen_table(chains, scores, interfaces)
    write_table(campaign.tables / "screen.parquet", SCREEN, screen)
    files = [campaign.provenance(name) for name in plan.jobs]
    provenance = concatenate([f for f in files if f.is_file()], PROVENANCE)
    write_table(campaign.tables / "provenance.parquet", PROVENANCE, provenance)
    outcomes = concatenate(outcome_files(campaign, plan), OUTCOMES)
    write_table(campaign.tables / "outcomes.parquet", OUTCOMES, outcomes)
    # A search that failed is tried again with each job that needs it, so that the
    # job's own row tells what came of it.
    is_search = pc.field("stage").isin(["search", "templates"])
    is_failed = (pc.field("status") == "failed") & ~is_search
    failures = _without_repeats(outcomes.filter(is_failed))
    write_table(campaign.tables / "failures.parquet", OUTCOMES, failures)


def outcome_files(campaign: Campaign, plan: Plan) -> list[Path]:
    """Outcomes of every stage, in the order of the stages."""
    files = [campaign.outcomes("plan", "outcomes")]
    for stage in STAGES:
        batches = plan.of_kind(stage.kind)
        files += [campaign.outcomes(stage.name, name) for name in batches]
    return [file for file in files if file.is_file()]


def _without_repeats(outcomes: pa.Table) -> pa.Table:
    """One row per stage and item: two batches may have made one job's features."""
    seen: set[tuple[str, str]] = set()
    keep = []
    for stage, item in zip(
        outcomes["stage"].to_pylist(), outcomes["item"].to_pylist(), strict=True
    ):
        keep.append((stage, item) not in seen)
        seen.add((stage, item))
    return outcomes.filter(pa.array(keep, pa.bool_()))


if __name__ == "__main__":
    raise SystemExit(main())
