"""Gathers the tables of all batches into the campaign's, best jobs first.

    python -m workflow.collect

writes `results/tables/`: `scores`, `interfaces`, `screen` (pairs of screens, over all
jobs), `provenance`, `outcomes` (every item of every stage) and `failures` (the outcomes
that are not done, each once, where it began).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from af3_core.columns import Contract
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
from workflow.keys import Keys, read_keys
from workflow.results.ranking import rank_rows
from workflow.results.screen import screen_table
from workflow.stages import STAGES
from workflow.step import run_step
from workflow.survey import gathered
from workflow.tables import concatenate, read_made_from, read_table, write_table


def main(argv: list[str] | None = None) -> int:
    """Gathers all tables."""
    argparse.ArgumentParser(prog="workflow.collect", description=__doc__).parse_args(
        argv
    )
    return run_step(lambda: collect_tables(Campaign()))


def collect_tables(campaign: Campaign) -> None:
    """Writes the campaign's tables from the batches of the plan, wanted jobs only.

    Tables so far are made of what is there, also of batches that are at work.
    """
    keys = read_keys(campaign)
    plan, batches = keys.plan, list(keys.plan.jobs)
    if campaign.tables_so_far is None:
        names = batches
    else:
        names = list(_finished_parts(campaign, keys))
    gathered_from = {"gathered": gathered(campaign, plan)}

    def write(name: str, contract: Contract, table: pa.Table) -> None:
        path = campaign.tables / f"{name}.parquet"
        write_table(path, contract, table, made_from=keys.tables, notes=gathered_from)

    wanted = pa.array([item for b in plan.jobs.values() for item in b.items])
    of_all = concatenate(map(campaign.scores, names), SAMPLE_SCORES)
    rows = SAMPLE_SCORES.rows(_of_items(of_all, wanted))
    ranked = rank_rows(rows, keys.settings.score.rank_by)
    order = [
        ("ranking_score", "descending"),
        ("name", "ascending"),
        ("rank", "ascending"),
    ]
    scores = SCORES.table(ranked).sort_by(order)
    write("scores", SCORES, scores)
    interfaces = _of_items(
        concatenate(map(campaign.interfaces, names), INTERFACES), wanted
    )
    write("interfaces", INTERFACES, interfaces)
    chains = read_table(campaign.plan / "screen_chains.parquet", SCREEN_CHAINS)
    write("screen", SCREEN, screen_table(chains, scores, interfaces))
    files = [campaign.provenance(name) for name in batches]
    provenance = concatenate([f for f in files if f.is_file()], PROVENANCE)
    write("provenance", PROVENANCE, _of_items(provenance, wanted))
    outcomes = _wanted_outcomes(
        keys, concatenate(outcome_files(campaign, plan), OUTCOMES)
    )
    # A search that failed is tried again with each job that needs it, so that the
    # job's own row tells what came of it.
    is_search = pc.field("stage").isin(["filter", "search", "templates"])
    is_failed = (pc.field("status") == "failed") & ~is_search
    failures = _without_repeats(outcomes.filter(is_failed))
    write("failures", OUTCOMES, failures)
    # The last, so that whoever finds scores and outcomes finds all tables.
    write("outcomes", OUTCOMES, outcomes)


def _finished_parts(campaign: Campaign, keys: Keys) -> Iterator[str]:
    """Batches that are scored, and the scored items of those that are not yet."""
    for name, batch in keys.plan.jobs.items():
        if campaign.scores(name).is_file() and campaign.interfaces(name).is_file():
            yield name
            continue
        for item, key in keys.items("score", batch).items():
            path = campaign.scores(item)
            if path.is_file() and read_made_from(path) == key:
                yield item


def _of_items(table: pa.Table, wanted: pa.Array) -> pa.Table:
    """Rows of these (job, seed): a batch may hold some of jobs taken out since."""
    seeds = pc.cast(table["seed"], pa.string())
    parts = [table["job_id"], seeds, pa.scalar(".")]
    items = pc.call_function("binary_join_element_wise", parts)
    items = table.append_column("item", items)
    kept = items.filter(pc.field("item").isin(wanted.cast(pa.string())))
    return kept.drop_columns(["item"])


def _wanted_outcomes(keys: Keys, outcomes: pa.Table) -> pa.Table:
    """Rows of what the plan still wants, and of what it refused."""
    wanted = {
        (stage.name, name, item)
        for stage in STAGES
        for name, batch in keys.plan.of_kind(stage.kind).items()
        for item in keys.items(stage.name, batch)
    }
    rows = zip(
        *(outcomes[name].to_pylist() for name in ("stage", "batch_id", "item")),
        strict=True,
    )
    keep = [row in wanted or row[0] == "plan" for row in rows]
    return outcomes.filter(pa.array(keep, pa.bool_()))


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
