"""Shows how far a campaign is, from the small files that its steps leave.

Works wherever the files can be seen: the steps may run here or on a cluster.
"""

import subprocess
import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from workflow.batches import Plan, load_plan
from workflow.campaign import Campaign
from workflow.stages import STAGE, STAGES

_SECONDS_BETWEEN_LOOKS, _SECONDS_BETWEEN_LINES = 0.5, 10.0


def stage_counts(campaign: Campaign, plan: Plan) -> dict[str, tuple[int, int]]:
    """Items finished and items in all, by stage."""
    return {
        stage.name: (
            sum(_finished(campaign, stage.name, name, n) for name, n in sizes.items()),
            sum(sizes.values()),
        )
        for stage in STAGES
        if (batches := plan.of_kind(stage.kind))
        and (sizes := {name: len(stage.names(b)) for name, b in batches.items()})
    }


def _finished(campaign: Campaign, stage: str, name: str, size: int) -> int:
    if campaign.outcomes(stage, name).is_file():
        return size
    return min(_counted(campaign, stage, name) or 0, size)


def _counted(campaign: Campaign, stage: str, name: str) -> int | None:
    """Items that a batch at work has finished; None where none is at work."""
    progress = campaign.progress(stage, name)
    try:
        return int(progress.read_text(encoding="ascii").split()[0])
    except FileNotFoundError:
        return None


def is_compiling(campaign: Campaign, plan: Plan) -> bool:
    """Whether all that predicts here and now is yet without a first structure.

    That takes minutes with a network of full size, and seconds once it was compiled.
    """
    at_work = [
        _counted(campaign, "predict", name)
        for name in plan.jobs
        if not campaign.outcomes("predict", name).is_file()
    ]
    counts = [count for count in at_work if count is not None]
    return bool(counts) and not any(counts)


def closing_counts(campaign: Campaign) -> tuple[int, int]:
    """Which of the campaign's tables and its report are written, of two."""
    tables = campaign.tables / "outcomes.parquet"
    if not tables.is_file():
        return 0, 2
    report = campaign.report
    is_newer = report.is_file() and report.stat().st_mtime >= tables.stat().st_mtime
    return 1 + is_newer, 2


def watch(
    campaign: Campaign, process: subprocess.Popen[bytes], console: Console
) -> int:
    """Shows progress until the process ends; returns its exit status."""
    if console.is_terminal:
        return _watch_bars(campaign, process, console)
    return _watch_lines(campaign, process, console)


def _watch_bars(
    campaign: Campaign, process: subprocess.Popen[bytes], console: Console
) -> int:
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks = {}
        while True:
            status = process.poll()
            for name, row in _look(campaign).items():
                if name not in tasks:
                    tasks[name] = bars.add_task(row.label, total=row.total, start=False)
                if row.has_started:
                    bars.start_task(tasks[name])
                bars.update(
                    tasks[name],
                    description=row.label,
                    completed=row.done,
                    total=row.total,
                )
            if status is not None:
                return status
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def _watch_lines(
    campaign: Campaign, process: subprocess.Popen[bytes], console: Console
) -> int:
    """For logs: a line when a stage moved on, at most one in ten seconds."""
    shown: dict[str, _Row] = {}
    began: dict[str, float] = {}
    last = 0.0
    while True:
        status = process.poll()
        rows = _look(campaign)
        now = time.monotonic()
        for name, row in rows.items():
            if row.has_started:
                began.setdefault(name, now)
        ended = status is not None
        if rows != shown and (ended or now - last > _SECONDS_BETWEEN_LINES):
            for name, row in rows.items():
                if row.has_started and shown.get(name) != row:
                    left = _seconds_left(row, now - began[name])
                    console.print(f"{row.label}: {row.done} of {row.total}{left}")
            shown, last = rows, now
        if ended:
            return status
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _seconds_left(row: "_Row", elapsed: float) -> str:
    if not row.done or row.done == row.total or elapsed < 1:
        return ""
    return f", about {elapsed / row.done * (row.total - row.done):.0f} s left"


@dataclass(frozen=True)
class _Row:
    """What is shown of a stage."""

    label: str
    done: int
    total: int
    has_started: bool


def _look(campaign: Campaign) -> dict[str, _Row]:
    """All stages, and at last what is made of all of them."""
    plan = load_plan(campaign)
    if plan is None:
        return {}
    rows = {}
    for stage, (done, total) in stage_counts(campaign, plan).items():
        label = STAGE[stage].label
        if stage == "predict" and is_compiling(campaign, plan):
            label = "compiling the network"
        has_started = bool(done) or _has_started(campaign, stage)
        rows[stage] = _Row(label, done, total, has_started)
    are_over = all(row.done == row.total for row in rows.values())
    done, total = closing_counts(campaign) if are_over else (0, 2)
    rows["closing"] = _Row("tables and report", done, total, are_over)
    return rows


def _has_started(campaign: Campaign, stage: str) -> bool:
    return any(campaign.progress(stage, "x").parent.glob("*.progress"))
