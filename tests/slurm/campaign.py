"""The demo campaign in a clone of its own, driven by Snakemake through Slurm."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from af3_core.model.checkpoint import write_random_checkpoint
from tests.af3_core.model.tiny import TINY
from tests.slurm.node import MEMORY_MB
from tests.workflow.campaigns import DATABASES, ENVIRONMENT, ROOT

_MADE_BY_RUNS = {"results", "store", "models", "logs"}
_NUM_STEPS = 10
"""Of diffusion: an item takes about a second."""

# As `snakemake --profile slurm`, but for looking at the jobs more often than would be
# polite on a cluster that others use.
ON_SLURM = (
    *(sys.executable, "-m", "tests.slurm.impatient", "--profile", "slurm"),
    *("--max-status-checks-per-second", "2"),
)
HERE = (sys.executable, "-m", "snakemake")
SEEDS = {
    "trypsin_inhibitor.json": [1, 2],
    "lac_repressor_dna.json": [1, 2, 3],
    "trna_phe.json": [1],
}
NUM_ITEMS = 6
_ENVIRONMENT = {**ENVIRONMENT, "XLA_FLAGS": ""}
# The plugin would take the campaign for one that is started within a job.
_ENVIRONMENT.pop("SLURM_JOB_ID", None)


def make_clone(folder: Path, compiled: Path) -> Path:
    """A folder that looks like a fresh clone, its configuration adapted to the node.

    Three jobs of the demo with more seeds, all of one padded size, so that there is
    one batch to disturb; with the smallest network, and few of the databases.

    Args:
        folder: the clone.
        compiled: where clones keep compiled networks, which is all that they share.
    """
    folder.mkdir(parents=True)
    for entry in ROOT.iterdir():
        hidden = entry.name.startswith(".")
        if not hidden and entry.name not in _MADE_BY_RUNS | {"config"}:
            _link(folder / entry.name, entry)
    _copy_tree(ROOT / "config", folder / "config")
    config = folder / "config/config.yaml"
    settings = yaml.safe_load(config.read_text("utf-8"))
    settings["search"]["databases"] = str(_fewer_databases(folder / "databases.tsv"))
    settings["model"] |= {
        "checkpoint": "tiny.bin.zst",
        "num_recycles": 0,
        "num_samples": 2,
        "num_diffusion_steps": _NUM_STEPS,
    }
    settings["predict"] |= {"buckets": [144], "compilation_cache": str(compiled)}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    write_random_checkpoint(folder / "tiny.bin.zst", TINY, seed=1)
    for path in (folder / "config/demo/inputs").iterdir():
        if (seeds := SEEDS.get(path.name)) is None:
            path.unlink()
        else:
            job = json.loads(path.read_text("utf-8")) | {"modelSeeds": seeds}
            path.write_text(json.dumps(job), encoding="utf-8")
    profile = folder / "slurm/config.yaml"
    site = profile.read_text("utf-8").replace("250000", str(MEMORY_MB))
    profile.write_text(site, encoding="utf-8")
    return folder


def _fewer_databases(path: Path) -> Path:
    """The demo's table of databases, with one for each kind of alignment."""
    lines = DATABASES.read_text("utf-8").splitlines()
    names, rows = lines[0].split("\t"), [line.split("\t") for line in lines[1:]]
    where = names.index("path")
    kept = [
        [*row[:where], str(DATABASES.parent / row[where]), *row[where + 1 :]]
        for row in rows
        if row[0] in ("uniref90", "uniprot", "pdb_seqres", "pdb_mmcif")
    ]
    text = "\n".join("\t".join(row) for row in [names, *kept])
    path.write_text(f"{text}\n", encoding="utf-8")
    return path


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
def running(clone: Path, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The campaign, started; Snakemake's own output goes to `snakemake.log`."""
    with (clone / "snakemake.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=clone,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT,
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
    timeout: float = 1500,
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
        time.sleep(0.02)
    return seen
