"""What the report knows of every job: one row each, and every failure.

A job's row shows its best sample. Inputs that could not be planned have no job; they
become rows too, named after the input, so that nothing that was asked for is missing.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from af3_core.contracts import CHAINS, JOBS, OUTCOMES, SCORES
from af3_core.job import InputError
from workflow.tables import read_columns


@dataclass(frozen=True)
class Failure:
    """Something that did not work, what was seen, and what to do about it."""

    stage: str
    item: str
    status: str
    cause: str
    evidence: str
    remedy: str


@dataclass(frozen=True)
class ListedJob:
    """One line of the report's table."""

    job_id: str | None
    """None for an input that could not be planned."""
    name: str
    source: str
    status: str
    """done, partial (scored, but something failed), failed or waiting."""
    num_tokens: int | None
    best: dict[str, Any] | None
    """The scores row of rank 1."""
    failures: tuple[Failure, ...]
    notes: tuple[str, ...] = ()
    """What should be known of it; see `af3_core.features.notes`."""


@dataclass(frozen=True)
class JobList:
    """Everything the page's table shows."""

    rows: tuple[ListedJob, ...]

    def count(self, status: str) -> int:
        """How many rows have this status."""
        return sum(row.status == status for row in self.rows)


def read_job_list(results: Path, tables: Path | None = None) -> JobList:
    """Reads jobs, scores and outcomes into one row per job or failed input.

    Args:
        results: the campaign's.
        tables: the folder of its tables, if it is another than that of the results.

    Raises:
        InputError: these are no campaign's results.
    """
    path = results / "plan" / "jobs.parquet"
    if not path.is_file():
        raise InputError(str(path), "--results", str(results), "a campaign's results")
    columns = ["job_id", "name", "source", "num_tokens", "notes"]
    jobs = read_columns(path, JOBS, columns)
    tables = tables or results / "tables"
    best = _best_scores(tables)
    failures, orphans = _failures_by_job(results, tables)
    rows = [
        ListedJob(
            job_id=job["job_id"],
            name=job["name"],
            source=job["source"],
            status=_status(job["job_id"] in best, bool(failures[job["job_id"]])),
            num_tokens=job["num_tokens"],
            best=best.get(job["job_id"]),
            failures=tuple(failures[job["job_id"]]),
            notes=tuple(job["notes"]),
        )
        for job in jobs.to_pylist()
    ]
    rows += [
        ListedJob(None, item, item, "failed", None, None, tuple(found))
        for item, found in orphans.items()
    ]
    return JobList(tuple(sorted(rows, key=_by_score)))


def choose_jobs(campaign: JobList, chosen: tuple[str, ...]) -> JobList:
    """The rows with these names or job ids; all if none is named.

    Raises:
        ValueError: a chosen job is not in the campaign.
    """
    if not chosen:
        return campaign
    known = {row.name for row in campaign.rows} | {row.job_id for row in campaign.rows}
    if unknown := [job for job in chosen if job not in known]:
        raise ValueError(
            f"not in this campaign: {', '.join(unknown)}; names and ids of its jobs are"
            " in results/plan/jobs.parquet"
        )
    wanted = set(chosen)
    rows = (row for row in campaign.rows if {row.name, row.job_id} & wanted)
    return JobList(tuple(rows))


def _status(scored: bool, failed: bool) -> str:
    if scored:
        return "partial" if failed else "done"
    return "failed" if failed else "waiting"


def _by_score(row: ListedJob) -> tuple[float, str]:
    score = row.best["ranking_score"] if row.best else None
    return (-score if score is not None else float("inf"), row.name)


def _best_scores(tables: Path) -> dict[str, dict[str, Any]]:
    path = tables / "scores.parquet"
    table = read_columns(path, SCORES, where=pc.field("rank") == 1)
    return {row["job_id"]: row for row in table.to_pylist()}


def _failures_by_job(
    results: Path, tables: Path
) -> tuple[defaultdict[str, list[Failure]], dict[str, list[Failure]]]:
    """Failures of each job, and of items that belong to no job.

    A sequence whose search failed counts against every job that has it.
    """
    path = tables / "outcomes.parquet"
    table = read_columns(path, OUTCOMES, where=pc.field("status") == "failed")
    holders = _jobs_of_sequences(results) if table.num_rows else {}
    by_job: defaultdict[str, list[Failure]] = defaultdict(list)
    orphans: defaultdict[str, list[Failure]] = defaultdict(list)
    for row in table.to_pylist():
        failure = Failure(
            row["stage"],
            row["item"],
            row["status"],
            row["cause"] or "",
            row["evidence"] or "",
            row["remedy"] or "",
        )
        owners = [row["job_id"]] if row["job_id"] else holders.get(row["item"], [])
        for owner in owners:
            by_job[owner].append(failure)
        if not owners:
            orphans[row["item"]].append(failure)
    return by_job, dict(orphans)


def _jobs_of_sequences(results: Path) -> dict[str, list[str]]:
    chains = read_columns(
        results / "plan" / "chains.parquet", CHAINS, ["job_id", "sequence_id"]
    )
    holders: defaultdict[str, list[str]] = defaultdict(list)
    for row in chains.to_pylist():
        if row["sequence_id"] and row["job_id"] not in holders[row["sequence_id"]]:
            holders[row["sequence_id"]].append(row["job_id"])
    return dict(holders)


def failures_by_cause(campaign: JobList) -> list[tuple[str, str, int]]:
    """(stage, cause, number of jobs where it came first), the most frequent first."""
    counts = Counter(
        (row.failures[0].stage, row.failures[0].cause)
        for row in campaign.rows
        if row.failures
    )
    return [(stage, cause, n) for (stage, cause), n in counts.most_common()]
