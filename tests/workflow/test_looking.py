"""Commands that look at a campaign change no file of it: while it runs, and after."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.campaigns import (
    ENVIRONMENT,
    QUICK_COMPILE,
    ROOT,
    TINY,
    job,
    make_campaign,
    protein,
)

pytestmark = pytest.mark.slow

COUNT = "SELECT count(*) AS num_samples FROM scores"
LOOKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "plan": ((), ()),
    "run": (("-n",), ("logs/foldmill/dry_run.*.log", ".snakemake/**/*")),
    "status": ((), ()),
    "query": ((COUNT,), ()),
    "results": ((), ()),
    "report": ((), ("results/report.html", "results/report_so_far.html")),
}
"""By command: its arguments, and the files that are its own."""


def foldmill(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A command in a campaign's folder, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "workflow.cli", *arguments],
        cwd=folder,
        env={**ENVIRONMENT, **QUICK_COMPILE, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def tree(folder: Path, *owned: str) -> dict[str, tuple[int, str]]:
    """Time of change and digest of every file but those that match."""
    others = {path for pattern in owned for path in folder.glob(pattern)}
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in folder.rglob("*")
        if path.is_file() and path not in others
    }


def look(folder: Path) -> dict[str, str]:
    """Looks in every way, and says what was said."""
    said = {}
    for command, (arguments, owned) in LOOKS.items():
        before = tree(folder, *owned)
        process = foldmill(folder, command, *arguments)
        said[command], _ = process.communicate(timeout=300)
        assert process.returncode == 0, said[command]
        assert tree(folder, *owned) == before, command
    return said


@contextlib.contextmanager
def paused(process: subprocess.Popen[str]) -> Iterator[None]:
    """Nothing of the campaign goes on meanwhile."""
    stopped: list[int] = []
    while new := [pid for pid in descendants(process.pid) if pid not in stopped]:
        for pid in new:
            with contextlib.suppress(ProcessLookupError):  # ended by itself
                os.kill(pid, signal.SIGSTOP)
        stopped += new
    yield
    for pid in reversed(stopped):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = [pid]
    for path in children:
        with contextlib.suppress(OSError):
            for child in path.read_text().split():
                found += descendants(int(child))
    return found


def test_looking_changes_nothing(tmp_path: Path) -> None:
    text = job("one", protein("GSHMKNVTWY"), modelSeeds=list(range(1, 21)))
    folder = make_campaign(
        tmp_path / "c", {"one.json": text}, network=TINY, relax={"samples": "none"}
    )
    running = foldmill(folder, "run")
    while not any(folder.glob("results/predictions/*")):
        assert running.poll() is None, running.communicate()[0]
        time.sleep(0.02)
    with paused(running):
        assert not any(folder.glob("results/predict/*"))
        said = look(folder)
    assert "So far: 0 of 1 jobs have results." in said["results"]
    assert "relax" in said["run"] and "Nothing would run" not in said["run"]
    ended, _ = running.communicate(timeout=900)
    assert running.returncode == 0, ended
    assert "All 1 jobs have results." in ended
    said = look(folder)
    assert "Nothing would run" in said["run"]
    assert "40" in said["query"] and "So far" not in said["results"]
