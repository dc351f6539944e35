"""Looks at all that a campaign needs before anything is computed.

Every mistake is told at once, in one sentence each with its remedy: configuration,
inputs' folders, weights, databases, search store, disk, device, and what the scheduler
would say of the profile's partitions, accounts and limits.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from af3_core.job import InputError
from af3_core.model.checkpoint import check_checkpoint, find_parts
from af3_core.model.config import ModelConfig
from workflow.databases.catalogue import read_manifest
from workflow.installation import ROOT
from workflow.settings import Settings

_LEAST_FREE_BYTES = 1_000_000_000
_LEAST_FREE_INODES = 10_000
_SCHEDULER_PATIENCE = 20.0
"""Seconds that a scheduler's command may take."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or looks so."""

    where: str
    """The file and field, folder or program."""
    said: str
    """What is wrong."""
    remedy: str
    """What to do about it."""
    stops: bool = True
    """Whether the campaign cannot run with it; else it is a warning."""

    def __str__(self) -> str:
        return f"{self.where}: {self.said}; {self.remedy}"


def problem_of(error: InputError) -> Problem:
    """A refusal as a problem."""
    where = f"{error.file}: {error.field}"
    return Problem(where, f"got {error.value!r}", f"allowed: {error.allowed}")


def find_problems(
    settings: Settings, folder: Path, profile: Path | None = None
) -> list[Problem]:
    """All that is wrong with a campaign, most basic things first.

    Args:
        settings: of the campaign, their paths relative to `folder`.
        folder: of the campaign.
        profile: the folder of the Snakemake profile it will run with.
    """
    at = Places(settings, folder)
    checks: Sequence[Callable[[], Iterator[Problem]]] = (
        lambda: _check_inputs(at),
        lambda: _check_weights(at),
        lambda: _check_databases(at),
        lambda: _check_store(at),
        lambda: _check_disk(at),
        lambda: _check_demo(at),
        lambda: _check_scheduler(profile),
    )
    found: list[Problem] = []
    for check in checks:
        try:
            found += check()
        except InputError as error:
            found.append(problem_of(error))
    return found


@dataclass(frozen=True)
class Places:
    """A campaign's settings, and where their paths lead."""

    settings: Settings
    folder: Path

    def path(self, path: Path) -> Path:
        """A path of the settings, from here."""
        return self.folder / path


def _check_inputs(at: Places) -> Iterator[Problem]:
    for given in at.settings.inputs:
        path = at.path(given)
        if not path.exists():
            yield Problem("inputs", f"{given} is not there", "name a file or folder")
        elif path.is_dir() and not any(path.iterdir()):
            remedy = "put JSON, FASTA, CSV or YAML files there"
            yield Problem("inputs", f"the folder {given} is empty", remedy)
    references = at.settings.score.references
    if references is not None and not at.path(references).is_dir():
        said = f"{references} is no folder"
        remedy = "name a folder of known structures, or null"
        yield Problem("score.references", said, remedy)


def _check_weights(at: Places) -> Iterator[Problem]:
    """Whether the checkpoint is there, readable and whole."""
    path = at.path(at.settings.model.checkpoint)
    try:
        for part in find_parts(path):
            if not os.access(part, os.R_OK):
                remedy = "ask its owner for the right to read it"
                yield Problem("model.checkpoint", f"{part} may not be read", remedy)
                return
        config = check_checkpoint(path)
    except InputError as error:
        where = f"model.checkpoint ({error.field})"
        # Of hundreds of parameters, the first says which network it is not.
        allowed, *more = error.allowed.split("; ")
        remedy = f"allowed: {allowed}{'; …' if more else ''}"
        yield Problem(where, f"{path}: {error.value}", remedy)
        return
    is_published_size = config.pairformer == ModelConfig().pairformer
    if is_published_size and at.settings.predict.dtype == "float32":
        yield Problem(
            "predict.dtype",
            "float32 with a network of the published size",
            "set bfloat16, as published, unless numbers are to be compared: float32"
            " takes twice the memory and several times the time",
            stops=False,
        )


def _check_databases(at: Places) -> Iterator[Problem]:
    path = at.path(at.settings.search.databases)
    for database in read_manifest(path):
        for shard in database.shards:
            if not shard.path.exists():
                remedy = f"mend the path in {path}, or make it again"
                yield Problem(f"database {database.name}", f"no {shard.path}", remedy)
            elif shard.path.is_file() and shard.path.stat().st_size != shard.bytes:
                size = shard.path.stat().st_size
                said = f"{shard.path} has {size} bytes, not {shard.bytes}"
                remedy = "make the table of databases again: foldmill databases make"
                yield Problem(f"database {database.name}", said, remedy)
            elif not os.access(shard.path, os.R_OK):
                remedy = "ask its owner for the right to read it"
                said = f"{shard.path} may not be read"
                yield Problem(f"database {database.name}", said, remedy)


def _check_store(at: Places) -> Iterator[Problem]:
    given = at.settings.search.store
    store = _nearest(at.path(given))
    if store.exists() and not os.access(store, os.W_OK | os.X_OK):
        yield Problem(
            "search.store",
            f"{store} may not be written",
            "what it lacks cannot be searched: ask its owner, or name another folder",
            stops=False,
        )


def _check_disk(at: Places) -> Iterator[Problem]:
    for name, path in (
        ("the campaign's folder", at.folder),
        ("search.store", at.path(at.settings.search.store)),
    ):
        here = _nearest(path)
        if name == "the campaign's folder" and not os.access(here, os.W_OK):
            yield Problem(name, f"{here} may not be written", "choose another folder")
        free = shutil.disk_usage(here).free
        if free < _LEAST_FREE_BYTES:
            said = f"{free / 1e9:.2f} GB are free at {here}"
            yield Problem(name, said, "free some disk, or choose another folder")
        inodes = os.statvfs(here)
        if inodes.f_files and inodes.f_favail < _LEAST_FREE_INODES:
            said = f"{inodes.f_favail} more files fit at {here}"
            yield Problem(name, said, "remove files, or choose another folder")


def _nearest(path: Path) -> Path:
    """The path, or the first of the folders above it that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _check_demo(at: Places) -> Iterator[Problem]:
    """Whether a campaign of somebody's own uses something of the demo."""
    demo = ROOT / "config/demo"
    settings = at.settings
    used = {
        "search.databases": settings.search.databases,
        "model.checkpoint": settings.model.checkpoint,
        "score.references": settings.score.references,
    }
    own = [p for p in settings.inputs if not _is_below(at.path(p), demo)]
    for key, path in used.items():
        if own and path is not None and _is_below(at.path(path), demo):
            remedy = "name your own; the demo's are for trying the workflow only"
            yield Problem(key, f"{path} is the demo's", remedy, stops=False)


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _check_scheduler(profile: Path | None) -> Iterator[Problem]:
    """What the profile asks of a Slurm that does not have it."""
    if profile is None:
        return
    file = next((f for f in sorted(profile.glob("*config.yaml"))), None)
    if file is None:
        remedy = "name slurm, lsf, or a folder with Snakemake's config.yaml"
        yield Problem(f"--profile {profile}", "no such profile", remedy)
        return
    values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    if values.get("executor") != "slurm":
        return
    asked = _asked_resources(values)
    partitions = _slurm_partitions()
    if partitions is None:
        said = "sinfo is not there, or Slurm does not answer"
        yield Problem("Slurm", said, "start where jobs can be submitted")
        return
    for rules, resources in asked:
        name = resources.get("slurm_partition")
        where = f"{file}: {rules}"
        if name is None:
            continue
        if not isinstance(name, str) or name not in partitions:
            known = ", ".join(sorted(partitions))
            said = f"slurm_partition {name!r} is none of this cluster's"
            yield Problem(where, said, f"write one of {known}")
            continue
        yield from _check_limits(where, resources, name, partitions[name])
    yield from _check_accounts(file, asked)


def _asked_resources(
    profile: Mapping[str, object],
) -> list[tuple[str, Mapping[str, object]]]:
    """Resources by the part of the profile that asks for them, defaults filled in."""
    default = profile.get("default-resources") or {}
    special = profile.get("set-resources") or {}
    if not isinstance(default, Mapping) or not isinstance(special, Mapping):
        return []
    found: list[tuple[str, Mapping[str, object]]] = [("default-resources", default)]
    for rule, values in special.items():
        if isinstance(values, Mapping):
            found.append((f"set-resources {rule}", {**default, **values}))
    return found


@dataclass(frozen=True)
class Partition:
    """What Slurm says of a partition, over all its nodes."""

    minutes: float
    """The longest a job may run."""
    memory_mb: int
    """Of the largest node."""
    gres: str


def _slurm_partitions() -> dict[str, Partition] | None:
    """All partitions by name; None where there is no Slurm to ask."""
    lines = _ask("sinfo", "--noheader", "--format=%R|%l|%m|%G")
    if lines is None:
        return None
    found: dict[str, Partition] = {}
    for line in lines:
        name, limit, memory, gres = line.split("|")
        known = found.get(name, Partition(0.0, 0, ""))
        found[name] = Partition(
            minutes=max(known.minutes, _minutes(limit)),
            memory_mb=max(known.memory_mb, int(memory.rstrip("+"))),
            gres=f"{known.gres},{gres}".strip(","),
        )
    return found


def _minutes(limit: str) -> float:
    """A time limit of Slurm, `days-hours:minutes:seconds` or `infinite`, in minutes."""
    if limit in ("infinite", "n/a", "UNLIMITED"):
        return float("inf")
    days, _, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    parts = [0] * (3 - len(parts)) + parts
    hours, minutes, seconds = parts
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


def _check_limits(
    where: str, asked: Mapping[str, object], name: str, partition: Partition
) -> Iterator[Problem]:
    runtime, memory = asked.get("max_runtime"), asked.get("max_mem_mb")
    if isinstance(runtime, int) and runtime > partition.minutes:
        said = f"max_runtime {runtime} is more than {name} gives"
        yield Problem(where, said, f"write at most {partition.minutes:.0f} minutes")
    if isinstance(memory, int) and memory > partition.memory_mb:
        said = f"max_mem_mb {memory} is more than any node of {name} has"
        yield Problem(where, said, f"write at most {partition.memory_mb}")
    wants_device = "gpu" in asked or "gpu" in str(asked.get("gres", ""))
    if wants_device and "gpu" not in partition.gres:
        said = f"{name} has no GPU"
        yield Problem(where, said, "name a partition with GPUs")


def _check_accounts(
    file: Path, asked: Sequence[tuple[str, Mapping[str, object]]]
) -> Iterator[Problem]:
    given = {
        str(resources["slurm_account"])
        for _, resources in asked
        if "slurm_account" in resources
    }
    if not given:
        return
    user = os.environ.get("USER", "")
    command = ("sacctmgr", "--noheader", "--parsable2", "show", "associations")
    lines = _ask(*command, f"user={user}", "format=account")
    accounts = {line.strip() for line in lines or () if line.strip()}
    for account in sorted(given - accounts) if accounts else ():
        said = f"slurm_account {account!r} is none of {user}'s"
        yield Problem(str(file), said, f"write one of {', '.join(sorted(accounts))}")


def _ask(*command: str) -> list[str] | None:
    """Lines that a program says; None if it is not there, fails or hangs."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_SCHEDULER_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return [line for line in done.stdout.splitlines() if line.strip()]


def as_json(problems: Sequence[Problem]) -> str:
    """The problems for other programs."""
    return json.dumps([vars(problem) for problem in problems], indent=1)
