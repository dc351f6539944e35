"""How far a campaign is, seen from its files: while it runs or after, here or not.

Nothing is written. What waits and what runs on Slurm is what `squeue` says of the jobs
that were submitted from the campaign's folder.
"""

import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from af3_core.columns import Contract
from af3_core.contracts import OUTCOMES, TIMINGS
from workflow.batches import Plan, load_plan
from workflow.campaign import Campaign
from workflow.planning.forecast import forecast_path, read_forecast
from workflow.progress import stage_counts
from workflow.stages import STAGES
from workflow.tables import DamagedFile, read_rows

_SHOWN_FAILURES = 10
_PATIENCE = 20.0
"""Seconds that Slurm has to answer."""


@dataclass(frozen=True)
class StageStatus:
    """One stage's items, and its cluster jobs."""

    label: str
    done: int
    """Items that are finished, however they ended."""
    total: int
    failed: int
    running: int = 0
    """Cluster jobs."""
    queued: int = 0


@dataclass(frozen=True)
class Status:
    """A campaign at one moment."""

    stages: dict[str, StageStatus]
    failures: list[str] = field(default_factory=list)
    """Cause and evidence of what has no result, where it began."""
    hours_used: float = 0.0
    """Device time that was recorded."""
    hours_planned: float = 0.0
    """Device time of the whole campaign, by its forecast."""

    @property
    def is_over(self) -> bool:
        """Whether every item of every stage is finished."""
        return all(stage.done >= stage.total for stage in self.stages.values())


def read_status(campaign: Campaign) -> Status | None:
    """The campaign as it is now; None before it is planned."""
    plan = load_plan(campaign)
    if plan is None:
        return None
    failed: Counter[str] = Counter()
    failures = []
    for stage, cause, evidence in _failures(campaign, plan):
        failed[stage] += 1
        failures.append(f"{cause}: {evidence}")
    jobs = _slurm_jobs(campaign)
    counts = stage_counts(campaign, plan)
    stages = {
        stage.name: StageStatus(
            stage.label,
            *counts[stage.name],
            failed=failed[stage.name],
            running=jobs[stage.name, "RUNNING"],
            queued=jobs[stage.name, "PENDING"],
        )
        for stage in STAGES
        if stage.name in counts
    }
    return Status(
        stages,
        list(dict.fromkeys(failures)),
        hours_used=_hours_used(campaign, plan),
        hours_planned=_hours_planned(campaign),
    )


def _failures(campaign: Campaign, plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Stage, cause and evidence of every item that failed, where it began."""
    files = [("plan", campaign.outcomes("plan", "outcomes"))]
    for stage in STAGES:
        names = plan.of_kind(stage.kind)
        files += [(stage.name, campaign.outcomes(stage.name, name)) for name in names]
    for stage, file in files:
        for row in _rows(file, OUTCOMES):
            if row.status == "failed":
                yield stage, str(row.cause), str(row.evidence)


def _rows[T](file: Path, contract: Contract[T]) -> list[T]:
    """A table's rows; none where it is not there yet, or damaged and made again."""
    try:
        return read_rows(file, contract)
    except (FileNotFoundError, DamagedFile):
        return []


def _hours_used(campaign: Campaign, plan: Plan) -> float:
    seconds = 0.0
    for name in plan.jobs:
        file = campaign.timings(name)
        for row in _rows(file, TIMINGS):
            if row.phase == "compute":
                seconds += row.end - row.start
    return seconds / 3600


def _hours_planned(campaign: Campaign) -> float:
    path = forecast_path(campaign)
    return read_forecast(path).device_hours if path.is_file() else 0.0


def _slurm_jobs(campaign: Campaign) -> Counter[tuple[str, str]]:
    """How many jobs Slurm has of this campaign, by stage and state."""
    jobs: Counter[tuple[str, str]] = Counter()
    try:
        said = subprocess.run(
            ["squeue", "--me", "--noheader", "--format=%T|%Z|%k"],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return jobs
    for line in said.splitlines():
        state, folder, comment = line.split("|", 2)
        rule = comment.removeprefix("rule_").partition("_wildcards_")[0]
        if folder == str(campaign.root.resolve()):
            jobs[rule, state] += 1
    return jobs


def print_status(status: Status, console: Console) -> None:
    """Shows a campaign in a table, and what went wrong so far."""
    table = Table(box=SIMPLE)
    table.add_column("stage")
    on_cluster = any(s.running or s.queued for s in status.stages.values())
    headings = ["done", "of", "failed", *(["running", "queued"] if on_cluster else [])]
    for heading in headings:
        table.add_column(heading, justify="right")
    for stage in status.stages.values():
        numbers = [stage.done, stage.total, stage.failed]
        numbers += [stage.running, stage.queued] if on_cluster else []
        table.add_row(stage.label, *map(str, numbers))
    console.print(table)
    console.print(
        f"Device time: {status.hours_used:.2f} h used, "
        f"{max(0.0, status.hours_planned - status.hours_used):.2f} h left by the plan."
    )
    for line in status.failures[:_SHOWN_FAILURES]:
        console.print(f"failed ({line})", markup=False, soft_wrap=True)
    if more := len(status.failures[_SHOWN_FAILURES:]):
        console.print(f"… and {more} more failures")
    if status.is_over:
        console.print("Every item is finished.")
