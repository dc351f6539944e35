"""Shows how far a campaign is, from the small files that its steps leave.

Works wherever the files can be seen: the steps may run here or on a cluster.
"""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from workflow.campaign import outcomes_path
from workflow.manifest import MANIFEST, Batch, Manifest, load_manifest

LABELS = {
    "search": "searching sequences",
    "templates": "finding templates",
    "featurise": "making features",
    "predict": "predicting structures",
    "relax": "relaxing",
    "score": "scoring",
}
_SECONDS_BETWEEN_LINES = 10.0


def batches_of(manifest: Manifest, stage: str) -> Mapping[str, Batch]:
    """The batches that a stage works on."""
    return {"search": manifest.search, "templates": manifest.templates}.get(
        stage, manifest.jobs
    )


def stage_counts(manifest: Manifest) -> dict[str, tuple[int, int]]:
    """Items finished and items in all, by stage."""
    return {
        stage: (
            sum(_finished(stage, name, batch) for name, batch in batches.items()),
            sum(len(batch.items) for batch in batches.values()),
        )
        for stage in LABELS
        if (batches := batches_of(manifest, stage))
    }


def _finished(stage: str, name: str, batch: Batch) -> int:
    if outcomes_path(stage, name).is_file():
        return len(batch.items)
    progress = Path("logs") / stage / f"{name}.progress"
    try:
        return min(
            int(progress.read_text(encoding="ascii").split()[0]), len(batch.items)
        )
    except FileNotFoundError:
        return 0


def watch(process: subprocess.Popen[bytes], console: Console) -> int:
    """Shows progress until the process ends; returns its exit status."""
    if console.is_terminal:
        return _watch_bars(process, console)
    return _watch_lines(process, console)


def _watch_bars(process: subprocess.Popen[bytes], console: Console) -> int:
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
            for stage, (done, total) in _current_counts().items():
                if stage not in tasks:
                    tasks[stage] = bars.add_task(
                        LABELS[stage], total=total, start=False
                    )
                if done or _has_started(stage):
                    bars.start_task(tasks[stage])
                bars.update(tasks[stage], completed=done, total=total)
            if status is not None:
                return status
            time.sleep(0.5)


def _watch_lines(process: subprocess.Popen[bytes], console: Console) -> int:
    """For logs: a line when a stage moved on, at most one in ten seconds."""
    shown: dict[str, tuple[int, int]] = {}
    began: dict[str, float] = {}
    last = 0.0
    while True:
        status = process.poll()
        counts = _current_counts()
        now = time.monotonic()
        for stage in counts:
            if _has_started(stage):
                began.setdefault(stage, now)
        ended = status is not None
        if counts != shown and (ended or now - last > _SECONDS_BETWEEN_LINES):
            for stage, (done, total) in counts.items():
                if shown.get(stage) != (done, total) and (done or stage in began):
                    left = _seconds_left(done, total, now - began.get(stage, now))
                    console.print(f"{LABELS[stage]}: {done} of {total}{left}")
            shown, last = counts, now
        if ended:
            return status
        time.sleep(0.5)


def _seconds_left(done: int, total: int, elapsed: float) -> str:
    if not done or done == total or elapsed < 1:
        return ""
    return f", about {elapsed / done * (total - done):.0f} s left"


def _current_counts() -> dict[str, tuple[int, int]]:
    manifest = load_manifest(MANIFEST)
    return stage_counts(manifest) if manifest else {}


def _has_started(stage: str) -> bool:
    return any((Path("logs") / stage).glob("*.progress"))
