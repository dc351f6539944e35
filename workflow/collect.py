"""Gathers the tables of all batches into the campaign's, best jobs first.

    python -m workflow.collect

writes `results/tables/`: `scores`, `interfaces`, `provenance`, `outcomes` (every item
of every stage) and `failures` (the outcomes that are not done, each once, where it
began).
"""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from af3_core.contracts import INTERFACES, OUTCOMES, PROVENANCE, SCORES
from workflow.campaign import RESULTS, TABLES, outcomes_path, provenance_path
from workflow.manifest import Manifest
from workflow.results.ranking import rank_rows
from workflow.step import read_plan, read_planned_settings, run_step
from workflow.tables import concatenate, write_table

JOB_STAGES = ("featurise", "predict", "relax", "score", "export")


def main(argv: list[str] | None = None) -> int:
    """Gathers all tables."""
    argparse.ArgumentParser(prog="workflow.collect", description=__doc__).parse_args(
        argv
    )
    return run_step(collect_tables)


def collect_tables() -> None:
    """Writes the campaign's tables from the batches of the plan."""
    manifest = read_plan()
    rows = concatenate(_batch_files(manifest, "scores"), SCORES).to_pylist()
    scores = SCORES.table(rank_rows(rows, read_planned_settings().score.rank_by))
    order = [
        ("ranking_score", "descending"),
        ("name", "ascending"),
        ("rank", "ascending"),
    ]
    write_table(TABLES / "scores.parquet", SCORES, scores.sort_by(order))
    interfaces = concatenate(_batch_files(manifest, "interfaces"), INTERFACES)
    write_table(TABLES / "interfaces.parquet", INTERFACES, interfaces)
    write_table(
        TABLES / "provenance.parquet",
        PROVENANCE,
        concatenate(_provenance_files(manifest), PROVENANCE),
    )
    outcomes = concatenate(outcome_files(manifest), OUTCOMES)
    write_table(TABLES / "outcomes.parquet", OUTCOMES, outcomes)
    failures = _without_repeats(outcomes.filter(pc.equal(outcomes["status"], "failed")))
    write_table(TABLES / "failures.parquet", OUTCOMES, failures)


def outcome_files(manifest: Manifest) -> list[Path]:
    """Outcomes of every stage, in the order of the stages."""
    files = [
        outcomes_path("plan", "outcomes"),
        *(outcomes_path("search", name) for name in manifest.search),
        *(outcomes_path("templates", name) for name in manifest.templates),
    ]
    for stage in JOB_STAGES:
        files += [outcomes_path(stage, name) for name in manifest.jobs]
    return [file for file in files if file.is_file()]


def _batch_files(manifest: Manifest, table: str) -> list[Path]:
    return [RESULTS / "score" / f"{name}.{table}.parquet" for name in manifest.jobs]


def _provenance_files(manifest: Manifest) -> list[Path]:
    files = [provenance_path(name) for name in manifest.jobs]
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
