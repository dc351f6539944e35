"""Writes the page: tables in, one HTML file out."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched, islice
from pathlib import Path

from af3_core.columns import ContractError
from af3_core.structures.mmcif_origin import USAGE, WeightsOrigin
from workflow.campaign import Campaign as Place
from workflow.report.details import (
    Detail,
    other_samples,
    pack_details,
    pack_sample,
    read_tables,
)
from workflow.report.devices import describe_devices
from workflow.report.encode import pack_json
from workflow.report.jobs import Campaign, JobRow, choose_jobs, read_campaign
from workflow.report.overlay import reference_folder
from workflow.report.overview import describe
from workflow.report.page import render_page
from workflow.report.samples import best_sample, is_predicted, read_provenance
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
    title: str = "Foldmill campaign",
    jobs: tuple[str, ...] = (),
    budget: int = DEFAULT_BUDGET,
) -> ReportSummary:
    """Writes the report of a results folder.

    Args:
        jobs: names or ids of the only jobs to show; empty means all.
        budget: bytes of details (structure, PAE, traces) to embed, best jobs first.

    Raises:
        ContractError: a table of the campaign is not of the version this report reads.
        ValueError: a chosen job is not in the campaign.
    """
    campaign = choose_jobs(read_campaign(results), jobs)
    details = embed_details(results, campaign, budget)
    origins = weights_origins(results, campaign, details)
    html = render_page(
        title=title,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        origins=origins,
        usage=usage_of(origins) if details.embedded else [],
        overview=pack_json(
            {
                **describe(campaign, set(details.embedded), details.unreadable),
                "folders": exported_folders(results, out, campaign),
                "devices": describe_devices(results),
                "screens": describe_screens(results / "tables", campaign.rows),
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
    results: Path, campaign: Campaign, details: Details
) -> list[WeightsOrigin]:
    """Whose weights predicted the jobs inside, in the order of `USAGE`."""
    facts = _provenances(results, campaign, details)
    found = {one.get("weights_origin") for one in facts}
    return [origin for origin in USAGE if origin in found]


def exported_folders(results: Path, out: Path, campaign: Campaign) -> list[str | None]:
    """For each row what was exported of its job, relative to the page, if anything.

    A folder's path ends in a slash, that of a zip file does not.
    """
    root = Place.of_results(results).folders
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


def embed_details(results: Path, campaign: Campaign, budget: int) -> Details:
    """Details in the order of the table, until the budget is spent.

    The best sample of every job comes first; if that leaves room, the jobs' other
    samples follow. A job whose files are gone, broken or outdated is left out and
    named; the rest go on.
    """
    found = Details({}, {}, {})
    references = reference_folder(results)
    left = budget
    for group in batched(_predicted(results, campaign), _JOBS_AT_ONCE):
        tables = read_tables(results, [row.job_id for row in group])
        for row in group:
            try:
                detail = pack_details(results, row, tables, references)
            except _FILE_ERRORS as error:
                found.unreadable[row.job_id] = f"{type(error).__name__}: {error}"
                continue
            if detail is None:
                continue
            left -= len(detail.packed)
            if left < 0:
                return found
            found.embedded[row.job_id] = detail
    _embed_other_samples(results, campaign, found, left)
    return found


def _embed_other_samples(
    results: Path, campaign: Campaign, found: Details, left: int
) -> None:
    shown = (row for row in campaign.rows if row.job_id in found.embedded)
    for group in batched(shown, _JOBS_AT_ONCE):
        tables = read_tables(results, [row.job_id for row in group])
        for row in group:
            for sample in other_samples(row, tables):
                try:
                    packed = pack_sample(results, row, sample, tables)
                except _FILE_ERRORS:
                    continue  # the page offers those it holds
                if packed is None:
                    continue
                left -= len(packed)
                if left < 0:
                    return
                found.samples[sample.key] = packed


def _provenances(
    results: Path, campaign: Campaign, details: Details
) -> Iterator[dict[str, object]]:
    """Of the jobs inside, and of one more, in case none could be embedded."""
    for detail in details.embedded.values():
        yield detail.provenance
    for row in islice(_predicted(results, campaign), 1):
        yield read_provenance(results, best_sample(row))


def _predicted(results: Path, campaign: Campaign) -> Iterator[JobRow]:
    """Jobs whose prediction is there, looked for only as far as the budget goes."""
    for row in campaign.rows:
        if is_predicted(results, best_sample(row)):
            yield row
