"""What is exported of jobs, and what of it no job accounts for any more."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from af3_core.contracts import OUTCOMES
from workflow.batches import Plan
from workflow.campaign import Campaign
from workflow.engine.items import log
from workflow.tables import DamagedFile, read_rows


def exported_files(campaign: Campaign, name: str) -> Iterator[Path]:
    """All exported files of a job, by its name."""
    archive = campaign.folders / f"{name}.zip"
    if archive.is_file():
        yield archive
    for folder in (campaign.folders / name, campaign.relaxed_models / name):
        yield from (path for path in folder.rglob("*") if not path.is_dir())


def remove_exports(
    campaign: Campaign, name: str, keep: Collection[Path] = ()
) -> list[Path]:
    """Removes a job's exported files but those to keep, and folders left empty.

    Returns:
        What was removed.
    """
    removed = [path for path in exported_files(campaign, name) if path not in keep]
    for path in removed:
        path.unlink(missing_ok=True)
    for folder in (campaign.folders / name, campaign.relaxed_models / name):
        inner = sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True)
        for path in (*inner, folder):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
    return removed


def exported_names(campaign: Campaign) -> set[str]:
    """Names of the jobs of which something is exported."""
    names = set()
    for root in (campaign.folders, campaign.relaxed_models):
        if root.is_dir():
            for entry in root.iterdir():
                is_zip = entry.suffix == ".zip" and not entry.is_dir()
                names.add(entry.stem if is_zip else entry.name)
    return names


def remove_stale_exports(
    campaign: Campaign, plan: Plan, names: Mapping[str, str]
) -> None:
    """Removes exports of jobs that are not planned, or were not exported as they are.

    A job that was changed, or is refused now, must not be taken for what its name
    exported before. What is removed is said.

    Args:
        campaign: in whose folder they are.
        plan: what is wanted now.
        names: of the planned jobs, by id.
    """
    stale = exported_names(campaign)
    if not stale:
        return
    for batch in plan.jobs:
        for job_id in _exported_jobs(campaign.outcomes("export", batch)):
            stale.discard(names.get(job_id, ""))
    for name in sorted(stale):
        removed = remove_exports(campaign, name)
        log(f"removed what was exported of {name} before: {len(removed)} files")


def _exported_jobs(outcomes: Path) -> list[str]:
    try:
        rows = read_rows(outcomes, OUTCOMES)
    except (FileNotFoundError, DamagedFile):
        return []
    return [row.item for row in rows if row.status == "done"]
