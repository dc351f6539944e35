"""The demo campaign in a clone of its own, driven by Snakemake through Slurm."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.slurm.node import MEMORY_MB

ROOT = Path(__file__).resolve().parents[2]
_MADE_BY_RUNS = {"results", "store", "models", "logs"}

# As `snakemake --profile slurm`, but for looking at the jobs more often than would be
# polite on a cluster that others use.
COMMAND = (
    *(sys.executable, "-m", "snakemake", "--profile", "slurm"),
    *("--slurm-init-seconds-before-status-checks", "2"),
    *("--seconds-between-status-checks", "2"),
    *("--max-status-checks-per-second", "1"),
)


def make_clone(folder: Path) -> Path:
    """A folder that looks like a fresh clone, its configuration adapted to the node.

    The demo's predictions are made longer and more numerous, so that there is time to
    disturb them, and all of one size, so that they are one batch.
    """
    folder.mkdir(parents=True)
    for entry in ROOT.iterdir():
        hidden = entry.name.startswith(".")
        if not hidden and entry.name not in _MADE_BY_RUNS | {"config"}:
            _link(folder / entry.name, entry)
    _copy_tree(ROOT / "config", folder / "config")
    config = folder / "config/config.yaml"
    settings = yaml.safe_load(config.read_text("utf-8"))
    settings["model"]["num_diffusion_steps"] = 40
    settings["predict"]["buckets"] = [160]
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    job = folder / "config/demo/inputs/villin_dimer_gb1.json"
    inputs = json.loads(job.read_text("utf-8"))
    job.write_text(json.dumps({**inputs, "modelSeeds": [1, 2, 3]}), encoding="utf-8")
    profile = folder / "slurm/config.yaml"
    site = profile.read_text("utf-8").replace("250000", str(MEMORY_MB))
    profile.write_text(site, encoding="utf-8")
    return folder


def _link(link: Path, entry: Path) -> None:
    """A link to the entry; one within the clone stays one within the clone."""
    link.symlink_to(entry.readlink() if entry.is_symlink() else entry)


def _copy_tree(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        copy = target / path.relative_to(source)
        if path.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())


@contextmanager
def running(clone: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The campaign, started; Snakemake's own output goes to `snakemake.log`."""
    with (clone / "snakemake.log").open("ab") as log:
        process = subprocess.Popen(
            COMMAND,
            cwd=clone,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Committed:
    """A prediction on disk."""

    digest: str
    changed: int
    """When, in nanoseconds."""


def committed(clone: Path) -> dict[str, Committed]:
    """The predictions there are, by item."""
    return {
        path.stem: Committed(
            hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns
        )
        for path in sorted((clone / "results/predictions").glob("[!.]*.parquet"))
    }


def wait_for[Seen](
    look: Callable[[], Seen | None],
    what: str,
    process: subprocess.Popen[bytes],
    *,
    timeout: float = 300,
) -> Seen:
    """Looks until there is something to see, as long as the campaign runs.

    Raises:
        RuntimeError: it ended, or nothing came in time.
    """
    deadline = time.monotonic() + timeout
    while not (seen := look()):
        if process.poll() is not None:
            raise RuntimeError(f"the campaign ended before there was {what}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {timeout:.0f} s in vain for {what}")
        time.sleep(0.1)
    return seen
