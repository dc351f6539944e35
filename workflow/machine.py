"""What the programs of a machine say of it: Slurm's partitions, NVIDIA's cards."""

import os
import subprocess
from dataclasses import dataclass

_PATIENCE = 20.0
"""Seconds that a program may take."""


@dataclass(frozen=True)
class Partition:
    """What Slurm says of a partition, over all its nodes."""

    minutes: float
    """The longest a job may run."""
    memory_mb: int
    """Of the largest node."""
    gres: str
    """What is asked for beside processors and memory, such as `gpu:a100:4`."""


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine."""

    name: str
    memory_gb: float
    driver: str
    capability: tuple[int, int]


def slurm_partitions() -> dict[str, Partition] | None:
    """All partitions by name; None where there is no Slurm to ask."""
    lines = _ask("sinfo", "--noheader", "--format=%R|%l|%m|%G")
    if lines is None:
        return None
    found: dict[str, Partition] = {}
    for line in lines:
        name, limit, memory, gres = line.split("|")
        known = found.get(name, Partition(0.0, 0, ""))
        found[name] = Partition(
            minutes=max(known.minutes, minutes_of(limit)),
            memory_mb=max(known.memory_mb, int(memory.rstrip("+"))),
            gres=f"{known.gres},{gres}".strip(","),
        )
    return found


def minutes_of(limit: str) -> float:
    """A time limit of Slurm, `days-hours:minutes:seconds` or `infinite`, in minutes."""
    if limit in ("infinite", "n/a", "UNLIMITED"):
        return float("inf")
    days, _, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    parts = [0] * (3 - len(parts)) + parts
    hours, minutes, seconds = parts
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


def slurm_accounts(user: str) -> set[str]:
    """A user's accounts; none where Slurm does not account."""
    command = ("sacctmgr", "--noheader", "--parsable2", "show", "associations")
    lines = _ask(*command, f"user={user}", "format=account")
    return {line.strip() for line in lines or ()}


def are_accounts_enforced() -> bool:
    """Whether Slurm refuses jobs of accounts that are not their user's."""
    for line in _ask("scontrol", "show", "config") or ():
        name, _, value = line.partition("=")
        if name.strip() == "AccountingStorageEnforce":
            return value.strip() != "none"
    return True


def gpus() -> list[Gpu]:
    """The NVIDIA GPUs that a process started here may use."""
    fields = "index,uuid,name,memory.total,driver_version,compute_cap"
    form = "--format=csv,noheader,nounits"
    lines = _ask("nvidia-smi", f"--query-gpu={fields}", form)
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = None if stated is None else stated.split(",")
    found = []
    for line in lines or ():
        index, uuid, name, memory, driver, capability = line.split(", ")
        if visible is None or index in visible or uuid in visible:
            major, _, minor = capability.partition(".")
            gigabytes = float(memory) * 2**20 / 1e9
            found.append(Gpu(name, gigabytes, driver, (int(major), int(minor))))
    return found


def _ask(*command: str) -> list[str] | None:
    """Lines that a program says; None if it is not there, fails or hangs."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return [line for line in done.stdout.splitlines() if line.strip()]
