"""Hardware known to compute wrong numbers, and what prevents it."""

import os
from typing import NamedTuple

from kernels.devices import Device


class Hazard(NamedTuple):
    """A way in which a kind of device silently computes nonsense."""

    name: str
    sentence: str
    xla_flag: str
    """What must be in the environment variable XLA_FLAGS to be safe."""
    capabilities: tuple[tuple[int, int], ...]


HAZARDS = (
    Hazard(
        name="custom-kernel-fusion-rewriter",
        sentence=(
            "on compute capability 7.x XLA's custom-kernel-fusion-rewriter makes"
            " structures full of clashes"
        ),
        xla_flag="--xla_disable_hlo_passes=custom-kernel-fusion-rewriter",
        capabilities=((7, 0), (7, 2), (7, 5)),
    ),
)


def hazards_of(device: Device, xla_flags: str | None = None) -> tuple[Hazard, ...]:
    """The hazards of `device` that `xla_flags` (default: the environment's) leave."""
    flags = os.environ.get("XLA_FLAGS", "") if xla_flags is None else xla_flags
    disabled = {
        hlo_pass
        for flag in flags.split()
        if flag.startswith("--xla_disable_hlo_passes=")
        for hlo_pass in flag.partition("=")[2].split(",")
    }
    return tuple(
        hazard
        for hazard in HAZARDS
        if device.compute_capability in hazard.capabilities
        and hazard.name not in disabled
    )


def require_safe(device: Device, xla_flags: str | None = None) -> None:
    """Raises RuntimeError when `device` would compute wrong numbers.

    XLA reads its flags once: call this before the first computation, so that the
    message still helps.
    """
    for hazard in hazards_of(device, xla_flags):
        raise RuntimeError(
            f"{hazard.sentence}; set XLA_FLAGS={hazard.xla_flag} and start again"
        )
