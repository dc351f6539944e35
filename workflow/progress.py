"""Shows how far a campaign is, from the small files that its steps leave.

Works wherever the files can be seen: the steps may run here or on a cluster.
"""

import subprocess
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from workflow.batches import Batch, Plan, load_plan
from workflow.campaign import Campaign
from workflow.stages import STAGE, STAGES

_SECONDS_BETWEEN_LINES = 10.0


def stage_counts(campaign: Campaign, plan: Plan) -> dict[str, tuple[int, int]]:
    """Items finished and items in all, by stage."""
    return {
        stage.name: (
            sum(
                _finished(campaign, stage.name, name, batch)
                for name, batch in batches.items()
            ),
            sum(len(batch.items) for batch in batches.values()),
        )
        for stage in STAGES
        if (batches := plan.of_kind(stage.kind))
    }


def _finished(campaign: Campaign, stage: str, name: str, batch: Batch) -> int:
    if campaign.outcomes(stage, name).is_file():
        return len(batch.items)
    progress = campaign.progress(stage, name)
    try:
        return min(
            int(progress.read_text(encoding="ascii").split()[0]), len(batch.items)
        )
    except FileNotFoundError:
        return 0


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
            for stage, (done, total) in _current_counts(campaign).items():
                if stage not in tasks:
                    tasks[stage] = bars.add_task(
                        STAGE[stage].label, total=total, start=False
                    )
                if done or _has_started(campaign, stage):
                    bars.start_task(tasks[stage])
                bars.update(tasks[stage], completed=done, total=total)
            if status is not None:
                return status
            time.sleep(0.5)


def _watch_lines(
    campaign: Campaign, process: subprocess.Popen[bytes], console: Console
) -> int:
    """For logs: a line when a stage moved on, at most one in ten seconds."""
    shown: dict[str, tuple[int, int]] = {}
    began: dict[str, float] = {}
    last = 0.0
    while True:
        status = process.poll()
        counts = _current_counts(campaign)
        now = time.monotonic()
        for stage in counts:
            if _has_started(campaign, stage):
                began.setdefault(stage, now)
        ended = status is not None
        if counts != shown and (ended or now - last > _SECONDS_BETWEEN_LINES):
            for stage, (done, total) in counts.items():
                if shown.get(stage) != (done, total) and (done or stage in began):
                    left = _seconds_left(done, total, now - began.get(stage, now))
                    console.print(f"{STAGE[stage].label}: {done} of {total}{left}")
            shown, last = counts, now
        if ended:
            return status
        time.sleep(0.5)


def _seconds_left(done: int, total: int, elapsed: float) -> str:
    if not done or done == total or elapsed < 1:
        return ""
    return f", about {elapsed / done * (total - done):.0f} s left"


def _current_counts(campaign: Campaign) -> dict[str, tuple[int, int]]:
    plan = load_plan(campaign)
    return stage_counts(campaign, plan) if plan else {}


def _has_started(campaign: Campaign, stage: str) -> bool:
    return any(campaign.progress(stage, "x").parent.glob("*.progress"))
