"""Trusts a device only after it has computed what is known, right and in time.

Once for each node, boot, device, kind of work and release of the code that matters, a
predict job first runs `af3_core.model.canary`. A device whose numbers are off, or that
is far slower than the fastest of its kind so far, is refused: the job ends with the
reason and is submitted again, elsewhere. Records lie in the search store's folder
`canary/`, where campaigns share them.
"""

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from af3_core.model.canary import TOLERANCES, Measurement
from kernels import BACKENDS, Spec
from workflow.engine.failures import DeviceError
from workflow.settings import digest_of
from workflow.tables import DamagedFile, read_json, write_json

SLOWEST = {"cpu": 20.0}
"""How many times slower than the fastest of its kind a device may be, by platform.
Processors are shared with whatever else runs on a machine."""
_SLOWEST_ACCELERATOR = 3.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Site:
    """The device at hand, and what it would be used for."""

    platform: str
    kind: str
    """Kind of device: those of one kind are equally fast."""
    work: str
    """Names backend, precision, JAX and weights."""
    dtype: str
    node: str
    boot: str
    device: str
    """Which of the node's devices."""

    @property
    def digest(self) -> str:
        """Names the device until its node starts again."""
        return digest_of(self.node, self.boot, self.device, self.kind, self.work)


def this_site(platform: str, kind: str, work: str, dtype: str) -> Site:
    """The site of this process.

    Args:
        platform: as JAX names it: cpu, gpu.
        kind: of device, as JAX names it.
        work: names everything else that decides how numbers are computed.
        dtype: of the campaign's predictions.
    """
    boot = _BOOT.read_text(encoding="ascii").strip() if _BOOT.is_file() else ""
    chosen = ("SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    device = next((os.environ[name] for name in chosen if os.environ.get(name)), "0")
    if platform == "cpu":
        kind, device = f"{_processor()} x {len(os.sched_getaffinity(0))}", "0"
    return Site(platform, kind, work, dtype, os.uname().nodename, boot, device)


def _processor() -> str:
    """The name of this machine's CPU."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else os.uname().machine


@dataclass(frozen=True)
class Trust:
    """Why a device is trusted."""

    where: str
    """The node, and which of its devices."""
    deviation: float
    """The largest of all results, relative."""
    seconds: float
    """Of the timed product of matrices."""
    since: str
    """When the device was tried, as ISO 8601."""
    is_new: bool
    """This process has tried it."""

    @property
    def verdict(self) -> str:
        """In one line."""
        return f"right: off by {self.deviation:.1e} at most; tried {self.since}"


class WrongNumbers(DeviceError):
    """One of the known computations came out wrong."""

    def __init__(self, reason: str, computation: str) -> None:
        super().__init__(reason)
        self.computation = computation
        """Its name in `Measurement.deviations`."""


def require_trusted(
    site: Site, folder: Path, measure: Callable[[], Measurement]
) -> Trust:
    """Has a device tried unless it was before.

    Raises:
        WrongNumbers: it computes them, or a backend does.
        DeviceError: the device is very slow.
    """
    trusted = folder / f"{site.digest}.json"
    if facts := _read_facts(trusted):
        return _trust_of(facts, is_new=False)
    found = measure()
    fastest_path = folder / f"fastest-{digest_of(site.kind, site.dtype)}.json"
    fastest = _fastest(fastest_path)
    reason = refusal(site, found, fastest)
    if reason is not None:
        _write(folder / "refused" / trusted.name, site, found, reason)
        if wrong := wrong_computation(site, found):
            raise WrongNumbers(reason, wrong)
        raise DeviceError(reason)
    if found.seconds < fastest:
        _write(fastest_path, site, found)
    _forget_earlier_boots(folder, site)
    return _trust_of(_write(trusted, site, found), is_new=True)


def _read_facts(path: Path) -> dict[str, Any]:
    """A record; nothing where there is none, or one that is damaged."""
    try:
        return read_json(path)
    except (FileNotFoundError, DamagedFile):
        return {}


def _trust_of(facts: Mapping[str, Any], *, is_new: bool) -> Trust:
    worst = max(facts["deviations"].values())
    where = f"{facts['node']}:{facts['device']}"
    return Trust(where, worst, facts["seconds"], facts["time"], is_new)


def refusal(site: Site, found: Measurement, fastest: float) -> str | None:
    """Why a device cannot be trusted; None if it can.

    Args:
        fastest: seconds of the fastest device of its kind so far; infinite if none.
    """
    where = f"{site.kind} {site.device} of node {site.node}"
    if wrong := wrong_computation(site, found):
        return (
            f"{where} computes wrong numbers: {wrong.replace('_', ' ')} is off by"
            f" {found.deviations[wrong]:.1e}; {TOLERANCES[site.dtype][wrong]:.0e} is"
            " allowed"
        )
    slowest = fastest * SLOWEST.get(site.platform, _SLOWEST_ACCELERATOR)
    if found.seconds > slowest:
        return (
            f"slow node: {where} took {found.seconds * 1e3:.1f} ms for what the fastest"
            f" of its kind did in {fastest * 1e3:.1f} ms"
        )
    return None


def wrong_computation(site: Site, found: Measurement) -> str | None:
    """The first computation that is off by more than a sound device is, if any is."""
    allowed = TOLERANCES[site.dtype]
    # Written so that NaN fails.
    wrong = (n for n, by in found.deviations.items() if not by <= allowed[n])
    return next(wrong, None)


def find_culprit(choices: Mapping[Spec, str], computation: str = "") -> str | None:
    """The backend that a wrong or failed computation is laid to.

    Args:
        choices: which backend computed what on the way.
        computation: that came out wrong, if it is known.

    Returns:
        The most preferred of those used that `auto` can do without; None if there is
        none, and the device is at fault.
    """
    if computation.startswith(("product", "softmax")):
        return None
    used = {
        spec.operation: name
        for spec, name in choices.items()
        if name not in ("xla", "naive")
    }
    part = computation.removesuffix("_float32")
    own = [name for operation, name in used.items() if part and part in operation]
    return next(iter(sorted(own or used.values(), key=list(BACKENDS).index)), None)


def _fastest(path: Path) -> float:
    return float(_read_facts(path).get("seconds", math.inf))


def _write(
    path: Path, site: Site, found: Measurement, reason: str = ""
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "node": site.node,
        "boot": site.boot,
        "device": site.device,
        "kind": site.kind,
        "dtype": site.dtype,
        "deviations": found.deviations,
        "seconds": found.seconds,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "refused": reason,
    }
    write_json(path, facts)
    return facts


def _forget_earlier_boots(folder: Path, site: Site) -> None:
    """Removes what was recorded of this node before it started anew."""
    for path in folder.glob("*.json"):
        if path.name.startswith("fastest-"):
            continue
        facts = _read_facts(path)
        if facts.get("node") == site.node and facts["boot"] != site.boot:
            path.unlink(missing_ok=True)
