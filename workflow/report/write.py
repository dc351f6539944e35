"""Writes the page: tables in, one HTML file out."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched, islice
from pathlib import Path
from typing import Any

from af3_core.columns import ContractError
from af3_core.structures.mmcif_origin import USAGE, WeightsOrigin
from workflow.batches import load_plan
from workflow.campaign import Campaign
from workflow.report.details import (
    Detail,
    other_samples,
    pack_details,
    pack_sample,
    read_tables,
)
from workflow.report.devices import describe_devices
from workflow.report.encode import pack_json
from workflow.report.jobs import JobList, ListedJob, choose_jobs, read_job_list
from workflow.report.overlay import reference_folder
from workflow.report.overview import describe
from workflow.report.page import render_page
from workflow.report.samples import Sample, best_sample, read_provenance
from workflow.report.screens import describe_screens
from workflow.tables import DamagedFile, replacing

DEFAULT_BUDGET = 24_000_000
"""Bytes of embedded details; the page's other parts come to about 2 MB."""

_JOBS_AT_ONCE = 200
_FILE_ERRORS = (OSError, ValueError, ContractError, DamagedFile)


@dataclass(frozen=True)
class ReportSummary:
    """What was written."""

    path: Path
    jobs: int
    detailed: int
    """Jobs with structure, PAE and traces inside."""
    unreadable: int
    """Jobs whose files are gone, broken or outdated."""
    size: int
    """Bytes of the page."""


@dataclass(frozen=True)
class Details:
    """Details by job id, and why some could not be read."""

    embedded: dict[str, Detail]
    unreadable: dict[str, str]
    samples: dict[str, str]
    """Packed samples other than the best, by key."""


def write_report(
    results: Path,
    out: Path,
    *,
    title: str | None = None,
    jobs: tuple[str, ...] = (),
    budget: int = DEFAULT_BUDGET,
    tables: Path | None = None,
    note: str = "",
) -> ReportSummary:
    """Writes the report of a results folder.

    Args:
        title: None for the name of the campaign's folder.
        tables: as for `read_job_list`; those of a campaign that is under way.
        jobs: names or ids of the only jobs to show; empty means all.
        budget: bytes of details (structure, PAE, traces) to embed, best jobs first.
        note: said below the title, such as how far the campaign is.

    Raises:
        ContractError: a table of the campaign is not of the version this report reads.
        ValueError: a chosen job is not in the campaign.
    """
    tables = tables or results / "tables"
    campaign = choose_jobs(read_job_list(results, tables), jobs)
    details = embed_details(results, campaign, budget, tables)
    origins = weights_origins(results, campaign, details)
    html = render_page(
        title=title or results.resolve().parent.name,
        note=note,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        origins=origins,
        usage=usage_of(origins) if details.embedded else [],
        overview=pack_json(
            {
                **describe(campaign, set(details.embedded), details.unreadable),
                "folders": exported_folders(results, out, campaign),
                "devices": describe_devices(results),
                "screens": describe_screens(tables, campaign.rows),
            }
        ),
        details={key: detail.packed for key, detail in details.embedded.items()}
        | details.samples,
    )
    with replacing(out) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return ReportSummary(
        path=out,
        jobs=len(campaign.rows),
        detailed=len(details.embedded),
        unreadable=len(details.unreadable),
        size=out.stat().st_size,
    )


def usage_of(origins: Iterable[WeightsOrigin]) -> list[str]:
    """What has to be passed on with the structures on the page."""
    return [entry.details for origin in origins for entry in USAGE[origin]]


def weights_origins(
    results: Path, campaign: JobList, details: Details
) -> list[WeightsOrigin]:
    """Whose weights predicted the jobs inside, in the order of `USAGE`."""
    facts = _provenances(results, campaign, details)
    found = {one.get("weights_origin") for one in facts}
    return [origin for origin in USAGE if origin in found]


def exported_folders(results: Path, out: Path, campaign: JobList) -> list[str | None]:
    """For each row what was exported of its job, relative to the page, if anything.

    A folder's path ends in a slash, that of a zip file does not.
    """
    root = Campaign.of_results(results).folders
    if not root.is_dir():
        return [None] * len(campaign.rows)
    start = os.path.relpath(root.resolve(), out.resolve().parent)
    found = {
        entry.name.removesuffix(".zip"): (
            f"{start}/{entry.name}{'/' if entry.is_dir() else ''}"
        )
        for entry in os.scandir(root)
        if entry.is_dir() or entry.name.endswith(".zip")
    }
    return [found.get(row.name) for row in campaign.rows]


def embed_details(results: Path, jobs: JobList, budget: int, folder: Path) -> Details:
    """Details in the order of the table, until the budget is spent.

    Args:
        folder: of the campaign's tables.

    The best sample of every job comes first; if that leaves room, the jobs' other
    samples follow. A job whose files are gone, broken or outdated is left out and
    named; the rest go on.
    """
    found = Details({}, {}, {})
    references = reference_folder(results)
    batches = _batch_of_items(results)
    left = budget
    for group in batched(_predicted(results, jobs), _JOBS_AT_ONCE):
        ids = [best.job_id for _, best in group]
        tables = read_tables(results, ids, batches, folder)
        for job, best in group:
            try:
                detail = pack_details(results, job, tables, references)
            except _FILE_ERRORS as error:
                found.unreadable[best.job_id] = f"{type(error).__name__}: {error}"
                continue
            if detail is None:
                continue
            left -= len(detail.packed)
            if left < 0:
                return found
            found.embedded[best.job_id] = detail
    _embed_other_samples(results, jobs, found, batches, left, folder)
    return found


def _batch_of_items(results: Path) -> dict[str, str]:
    plan = load_plan(Campaign.of_results(results))
    if plan is None:
        return {}
    return {item: name for name, batch in plan.jobs.items() for item in batch.items}


def _embed_other_samples(
    results: Path,
    jobs: JobList,
    found: Details,
    batches: Mapping[str, str],
    left: int,
    folder: Path,
) -> None:
    shown = (job for job in jobs.rows if job.job_id in found.embedded)
    for group in batched(shown, _JOBS_AT_ONCE):
        ids = [job.job_id for job in group if job.job_id is not None]
        tables = read_tables(results, ids, batches, folder)
        for job in group:
            for sample in other_samples(job, tables):
                try:
                    packed = pack_sample(results, job, sample, tables)
                except _FILE_ERRORS:
                    continue  # the page offers those it holds
                if packed is None:
                    continue
                left -= len(packed)
                if left < 0:
                    return
                found.samples[sample.key] = packed


def _provenances(
    results: Path, jobs: JobList, details: Details
) -> Iterator[dict[str, Any]]:
    """Of the jobs inside, and of one more, in case none could be embedded."""
    for detail in details.embedded.values():
        yield detail.provenance
    for _, best in islice(_predicted(results, jobs), 1):
        yield read_provenance(results, best)


def _predicted(results: Path, jobs: JobList) -> Iterator[tuple[ListedJob, Sample]]:
    """Jobs whose best sample is there, looked for only as far as the budget goes."""
    for job in jobs.rows:
        best = best_sample(job)
        if best is not None and best.path(results).is_file():
            yield job, best
