"""Hardware on which installed software is known to compute wrong numbers.

A hazard is what its vendor or the maintainers of JAX say of it, with the source. What
nobody has said is for the canary to find (`af3_core.model.canary`). Nothing is known
to help on compute capability 7.x any more: the pass of XLA that AlphaFold 3 has its
users disable there (docs/known_issues.md, v3.0.4) no longer exists in the locked
jaxlib, so there the canary decides too.
"""

import importlib
from typing import NamedTuple

from kernels.devices import Device

UNSAFE_CUBLAS = (120_800, 130_200)
"""The first release of cuBLAS that has the fault, and the first that no longer has."""


class Hazard(NamedTuple):
    """A way in which a kind of device silently computes nonsense."""

    name: str
    sentence: str
    remedy: str
    capabilities: tuple[tuple[int, int], ...]
    source: str


HAZARDS = (
    Hazard(
        name="cublas-tensor-memory",
        sentence=(
            "cuBLAS 12.8 to 13.1 frees tensor memory twice on compute capability 10.x"
            " and 11.x, which corrupts data when another kernel runs beside it"
        ),
        remedy="install cuBLAS 13.2 or newer: sh envs/setup.sh --extra cuda13",
        capabilities=((10, 0), (10, 3), (11, 0)),
        source="jax_plugins/xla_cuda12/__init__.py in jax-cuda12-plugin 0.11.2",
    ),
)


def installed_cublas() -> int | None:
    """The version of cuBLAS that JAX has loaded, such as 120903; None if unknown."""
    for plugin in ("jax_cuda13_plugin", "jax_cuda12_plugin"):
        try:
            versions = importlib.import_module(f"{plugin}._versions")
            return versions.cublas_get_version()
        except (ImportError, RuntimeError):
            continue
    return None


def hazards_of(device: Device, cublas: int | None = None) -> tuple[Hazard, ...]:
    """The hazards of `device` with a release of cuBLAS (default: the installed one)."""
    possible = tuple(
        hazard for hazard in HAZARDS if device.compute_capability in hazard.capabilities
    )
    if not possible:
        return ()
    version = installed_cublas() if cublas is None else cublas
    first, fixed = UNSAFE_CUBLAS
    return possible if version is not None and first <= version < fixed else ()


def require_safe(device: Device, cublas: int | None = None) -> None:
    """Raises RuntimeError when `device` would compute wrong numbers."""
    for hazard in hazards_of(device, cublas):
        raise RuntimeError(f"{hazard.sentence}; {hazard.remedy}")
