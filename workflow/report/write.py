"""Writes the page: tables in, one HTML file out."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched
from pathlib import Path

from workflow.report.details import (
    Detail,
    pack_details,
    prediction_path,
    read_tables,
)
from workflow.report.encode import pack_json
from workflow.report.jobs import Campaign, JobRow, choose_jobs, read_campaign
from workflow.report.overview import describe
from workflow.report.page import render_page
from workflow.tables import replacing

DEFAULT_BUDGET = 24_000_000
"""Bytes of embedded details; the page's other parts come to about 2 MB."""

_JOBS_AT_ONCE = 200


@dataclass(frozen=True)
class ReportSummary:
    """What was written."""

    path: Path
    jobs: int
    detailed: int
    size: int
    """Bytes of the page."""


def write_report(
    results: Path,
    out: Path,
    *,
    title: str = "Foldmill campaign",
    untrained: bool | None = None,
    jobs: tuple[str, ...] = (),
    budget: int = DEFAULT_BUDGET,
) -> ReportSummary:
    """Writes the report of a results folder.

    Args:
        untrained: whether the weights were made up rather than trained; None takes it
            from the predictions' provenance.
        jobs: names or ids of the only jobs to show; empty means all.
        budget: bytes of details (structure, PAE, traces) to embed, best jobs first.

    Raises:
        ContractError: a table is not of the version this report reads.
        ValueError: a chosen job is not in the campaign.
    """
    campaign = choose_jobs(read_campaign(results), jobs)
    details = embed_details(results, campaign, budget)
    if untrained is None:
        untrained = any(d.provenance.get("untrained") for d in details.values())
    html = render_page(
        title=title,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        untrained=untrained,
        overview=pack_json(describe(campaign, list(details))),
        details={job_id: detail.packed for job_id, detail in details.items()},
    )
    with replacing(out) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return ReportSummary(out, len(campaign.rows), len(details), out.stat().st_size)


def embed_details(results: Path, campaign: Campaign, budget: int) -> dict[str, Detail]:
    """Details by job id, in the order of the table, until the budget is spent."""
    details: dict[str, Detail] = {}
    spent = 0
    for group in batched(_predicted(results, campaign), _JOBS_AT_ONCE):
        tables = read_tables(results, [row.job_id for row in group])
        for row in group:
            detail = pack_details(results, row, tables)
            if detail is None:
                continue
            spent += len(detail.packed)
            if spent > budget:
                return details
            details[row.job_id] = detail
    return details


def _predicted(results: Path, campaign: Campaign) -> Iterator[JobRow]:
    """Jobs whose prediction is there, looked for only as far as the budget goes."""
    for row in campaign.rows:
        path = prediction_path(results, row)
        if path is not None and path.is_file():
            yield row
