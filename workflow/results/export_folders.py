"""What is exported of jobs, and what of it no job accounts for any more."""

from collections.abc import Collection, Iterator
from pathlib import Path

from workflow.campaign import Campaign


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
