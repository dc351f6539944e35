"""The plan in the form the Snakefile reads: batches, what each needs, and its size.

Snakemake parses the Snakefile again inside every cluster job, so this file is small,
quick to read, and imports nothing heavy. Batch ids are digests of what is in the
batch: a batch that changes is a new batch, and one that does not is never touched.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from workflow.campaign import Campaign
from workflow.tables import DamagedFile, read_json, write_json

type Kind = Literal["search", "templates", "jobs"]
"""Batches of searches, of template searches, and of (job, seed)."""

_VERSION = 2


@dataclass(frozen=True)
class Batch:
    """Work for one cluster job.

    Items are sequence ids for search, template ids for templates, and `job.seed` for
    the stages from featurise to score.
    """

    items: tuple[str, ...]
    needs: tuple[str, ...] = ()
    """Batches of the stages before whose results this one reads."""
    database: str = ""
    """Search only: the database's name."""
    bucket: int = 0
    """Predict only: padded tokens."""
    msa_rows: int = 0
    """Predict only: padded depth of alignments."""
    longest: int = 0
    """Longest sequence or most tokens among the items."""
    seconds: float = 0.0
    """Predict only: device time it will take, compilation included."""


@dataclass(frozen=True)
class Plan:
    """All batches of a campaign by stage and id."""

    inputs_digest: str
    search: dict[str, Batch] = field(default_factory=dict)
    templates: dict[str, Batch] = field(default_factory=dict)
    jobs: dict[str, Batch] = field(default_factory=dict)
    """Batches of (job, seed): the stages from featurise to export share them."""

    def of_kind(self, kind: Kind) -> dict[str, Batch]:
        """The batches of a kind, by id."""
        return {"search": self.search, "templates": self.templates, "jobs": self.jobs}[
            kind
        ]


def batch_id(*content: object) -> str:
    """A stable name for a batch with this content."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def write_plan_file(campaign: Campaign, plan: Plan) -> None:
    """Writes the batches."""
    write_json(plan_path(campaign), {"version": _VERSION, **asdict(plan)})


def plan_path(campaign: Campaign) -> Path:
    """The file that says the plan is there; it is written last."""
    return campaign.plan / "plan.json"


def load_plan(campaign: Campaign) -> Plan | None:
    """The plan on disk, or None where none is whole and of this version."""
    path = plan_path(campaign)
    try:
        raw = read_json(path)
    except (FileNotFoundError, DamagedFile):
        return None
    if raw.pop("version") != _VERSION:
        return None
    stages = {
        stage: {
            name: Batch(
                **{
                    **batch,
                    "items": tuple(batch["items"]),
                    "needs": tuple(batch["needs"]),
                }
            )
            for name, batch in raw[stage].items()
        }
        for stage in ("search", "templates", "jobs")
    }
    return Plan(inputs_digest=raw["inputs_digest"], **stages)


def digest_inputs(files: Iterable[Path], settings: str) -> str:
    """Names a set of input files as they are now, and the settings that plan them.

    Sizes and times of change stand for contents, so 20,000 files take a fraction of
    a second.
    """
    state: list[object] = [_VERSION, settings]
    for file in files:
        try:
            status = file.stat()
        except OSError:
            state.append((str(file), None))
        else:
            state.append((str(file), status.st_size, status.st_mtime_ns))
    return batch_id(state)
