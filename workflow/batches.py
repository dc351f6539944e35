"""The plan in the form the Snakefile reads: batches, what each needs, and its size.

Snakemake parses the Snakefile again inside every cluster job, so this file is small,
quick to read, and imports nothing heavy. Batch ids are digests of what a batch was made
with: taking a job out, or putting it back, leaves them as they are.
"""

import hashlib
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from af3_core.job import InputError
from workflow.campaign import Campaign, split_item
from workflow.tables import DamagedFile, read_json, write_json

type Kind = Literal["filter", "search", "templates", "jobs"]
"""Batches of searches that are filtered ahead, of all searches, of template searches,
and of (job, seed)."""

_VERSION = 4
_PLAN_OF_0_1 = "manifest.json"
KINDS: tuple[Kind, ...] = ("filter", "search", "templates", "jobs")


@dataclass(frozen=True)
class Batch:
    """Work for one cluster job.

    Items are sequence ids for filter and search, template ids for templates, and
    `job.seed` for the stages from featurise to export.
    """

    items: tuple[str, ...]
    """Those of its members that are wanted now."""
    members: tuple[str, ...] = ()
    """What it was made with; names it."""
    needs: tuple[str, ...] = ()
    """Batches of the stages before whose results this one reads."""
    database: str = ""
    """Filter and search only: the database's name."""
    bucket: int = 0
    """Predict only: padded tokens."""
    msa_rows: int = 0
    """Predict only: padded depth of alignments."""
    longest: int = 0
    """Longest sequence or most tokens among the items."""
    seconds: float = 0.0
    """Predict only: device time it will take, compilation included."""


class About(NamedTuple):
    """What results of a job depend on and its id does not say."""

    name: str
    roles: tuple[str, ...]
    """Roles of the databases that are searched for it, `templates` included."""


@dataclass(frozen=True)
class Contents:
    """What a campaign depends on besides its jobs and settings, by content."""

    weights: str = ""
    """Digest of the checkpoint and of its configuration."""
    searches: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By role and database: a digest of all that a search in it depends on, but for
    the sequence."""
    templates: str = ""
    """Likewise of a search for templates; "" without databases for it."""
    references: Mapping[str, str] = field(default_factory=dict)
    """By job's name: digest of the known structure it is compared with."""


@dataclass(frozen=True)
class Plan:
    """All batches of a campaign by kind and id, and what their results depend on."""

    filter: dict[str, Batch] = field(default_factory=dict)
    """Those of `search` for which the database is filtered ahead."""
    search: dict[str, Batch] = field(default_factory=dict)
    templates: dict[str, Batch] = field(default_factory=dict)
    jobs: dict[str, Batch] = field(default_factory=dict)
    """Batches of (job, seed): the stages from featurise to export share them."""
    about: dict[str, About] = field(default_factory=dict)
    """By job id."""
    contents: Contents = Contents()
    settings: str = ""
    """Digest of the settings."""
    refused: str = ""
    """Digest of what was refused."""
    id: str = ""
    """Names all of this; see `with_id`."""

    def batch(self, kind: Kind, name: str) -> Batch:
        """A batch of a kind.

        Raises:
            InputError: the plan has none of this name.
        """
        batches = self.of_kind(kind)
        if name not in batches:
            allowed = "a batch of the plan; if it was made anew meanwhile, start again"
            raise InputError("plan.json", "batch", name, allowed)
        return batches[name]

    def items_of(self, job_ids: Container[str]) -> set[str]:
        """All (job, seed) of these jobs."""
        return {
            item
            for batch in self.jobs.values()
            for item in batch.items
            if split_item(item)[0] in job_ids
        }

    def of_kind(self, kind: Kind) -> dict[str, Batch]:
        """The batches of a kind, by id."""
        return {
            "filter": self.filter,
            "search": self.search,
            "templates": self.templates,
            "jobs": self.jobs,
        }[kind]


def with_id(plan: Plan) -> Plan:
    """The plan under the name of its content.

    What depends on measured times only is no part of it: they change while it runs.
    """
    content = _to_json(plan)
    for kind in KINDS:
        for batch in content[kind].values():
            del batch["seconds"]
    del content["id"]
    return replace(plan, id=batch_id(content))


def batch_id(*content: object) -> str:
    """A stable name for what has this content."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def plan_path(campaign: Campaign) -> Path:
    """The file that says the plan is there; it is written last but for its mark."""
    return campaign.plan / "plan.json"


def planned_path(campaign: Campaign, name: str) -> Path:
    """An empty file that says that the plan of this name is the one on disk."""
    return campaign.plan / f"{name}.planned"


def write_plan_file(campaign: Campaign, plan: Plan) -> None:
    """Writes the batches."""
    write_json(plan_path(campaign), {"version": _VERSION, **_to_json(plan)})


def _to_json(plan: Plan) -> dict[str, Any]:
    content = dict(vars(plan))
    for kind in KINDS:
        batches = plan.of_kind(kind)
        content[kind] = {name: dict(vars(batch)) for name, batch in batches.items()}
        for batch in content[kind].values():
            if batch["members"] == batch["items"]:
                del batch["members"]
    # Jobs are many; kinds of what is searched for them are few.
    kinds = sorted({about.roles for about in plan.about.values()})
    number = {roles: i for i, roles in enumerate(kinds)}
    content["roles"] = kinds
    content["about"] = {job: [a.name, number[a.roles]] for job, a in plan.about.items()}
    content["contents"] = vars(plan.contents)
    return content


def refuse_other_release(campaign: Campaign) -> None:
    """Leaves alone what another release has made and this one cannot go on with.

    Raises:
        InputError: the campaign is one of 0.1.0, whose results carry no digests.
    """
    is_old = (campaign.plan / _PLAN_OF_0_1).is_file()
    if is_old and not plan_path(campaign).exists():
        name = campaign.results_name
        allowed = (
            "those of a later release; finish the campaign with 0.1.0, or rename the"
            f" folder (mv {name} {name}-0.1.0) and run again: nothing is searched"
            " again, structures are predicted anew"
        )
        raise InputError(str(campaign.results), "release", "results of 0.1.0", allowed)


def load_plan(campaign: Campaign) -> Plan | None:
    """The plan on disk, or None where none is whole and of this version.

    Raises:
        InputError: another release has made it, and this one cannot go on with it.
    """
    refuse_other_release(campaign)
    path = plan_path(campaign)
    try:
        raw = read_json(path)
    except (FileNotFoundError, DamagedFile):
        return None
    version = raw.pop("version")
    if version > _VERSION:
        allowed = "that of this release or an earlier one; install the later one again"
        raise InputError(str(path), "version", "a later release's plan", allowed)
    if version < _VERSION:
        return None
    for kind in KINDS:
        raw[kind] = {name: _batch(batch) for name, batch in raw[kind].items()}
    roles = [tuple(kind) for kind in raw.pop("roles")]
    raw["about"] = {
        job: About(name, roles[i]) for job, (name, i) in raw["about"].items()
    }
    return Plan(**{**raw, "contents": Contents(**raw["contents"])})


def _batch(raw: dict[str, Any]) -> Batch:
    items, needs = tuple(raw.pop("items")), tuple(raw.pop("needs"))
    members = tuple(raw.pop("members", items))
    return Batch(items=items, members=members, needs=needs, **raw)
