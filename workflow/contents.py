"""What a campaign depends on besides its jobs, by content: weights, databases, known
structures. Each file is read once for each content; see `workflow.digests`."""

import datetime
from collections.abc import Iterable
from pathlib import Path

from af3_core.model.checkpoint_files import config_path, find_parts
from af3_core.msa import Msa
from workflow.batches import Contents
from workflow.databases.manifest import SEARCHED, Database
from workflow.digests import Files
from workflow.results.references import find_reference, list_references
from workflow.searching.search_keys import (
    TemplateDatabases,
    TemplateQuery,
    hits_key,
    templates_key,
)
from workflow.settings import Search, Settings, digest_of


def find_contents(
    settings: Settings,
    databases: Iterable[Database],
    names: Iterable[str],
    files: Files,
) -> Contents:
    """Digests of all that the results of these jobs depend on.

    Args:
        settings: of the campaign.
        databases: of its manifest.
        names: of the jobs.
        files: notes what is read.

    Raises:
        InputError: there is no checkpoint, or a program that searches is not installed.
    """
    found = tuple(databases)
    return Contents(
        weights=weights_digest(settings.model.checkpoint, files),
        searches=_searches(found, settings.search.profile),
        templates=_templates(found, settings.search),
        references=_references(settings.score.references, names, files),
    )


def weights_digest(checkpoint: Path, files: Files) -> str:
    """Names the numbers of a checkpoint and its configuration.

    Raises:
        InputError: there is none.
    """
    parts, config = find_parts(checkpoint), config_path(checkpoint)
    files.note(config)
    if parts != [checkpoint]:
        # A further part, or another model, would count.
        files.note(parts[0].parent)
    return digest_of(
        [files.digest(part) for part in parts],
        files.digest(config) if config.is_file() else None,
    )


def _searches(databases: Iterable[Database], profile: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for database in databases:
        if database.role in SEARCHED:
            key = hits_key("", database, profile)
            found.setdefault(database.role, {})[database.name] = key.digest
    return found


def _templates(databases: Iterable[Database], search: Search) -> str:
    by_role = {database.role: database for database in reversed(tuple(databases))}
    if not {"templates", "structures"} <= by_role.keys():
        return ""
    return templates_key(
        TemplateQuery("", Msa(("query",), ("",))),
        TemplateDatabases(by_role["templates"], by_role["structures"]),
        datetime.date.fromisoformat(search.max_template_date),
    ).digest


def _references(
    folder: Path | None, names: Iterable[str], files: Files
) -> dict[str, str]:
    if folder is None:
        return {}
    files.note(folder)
    present = list_references(folder)
    found = {name: find_reference(present, name) for name in names}
    return {
        name: f"{path.name} {files.digest(path)}"
        for name, path in found.items()
        if path is not None
    }
