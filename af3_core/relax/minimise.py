"""Energy minimisation with OpenMM that ends in bounded time."""

import time
from dataclasses import dataclass

import numpy as np
import openmm
from jaxtyping import Float, Int
from numpy import ndarray
from openmm import unit

PLATFORMS = ("CUDA", "HIP", "OpenCL", "CPU", "Reference")
"""In order of preference."""
_TOLERANCE = 10.0
"""kJ/mol/nm; root mean square force at which a minimisation is done."""


@dataclass(frozen=True)
class Budget:
    """What a relaxation may use."""

    until: float
    """Moment of `time.monotonic()` after which no new work is begun."""
    platform: str
    """OpenMM's name of the platform."""
    threads: int
    """CPU threads; with more than one, results differ in the second decimal."""

    @property
    def is_spent(self) -> bool:
        """True when time is up."""
        return time.monotonic() > self.until


def make_budget(
    seconds: float | int, platform: str | None = None, threads: int = 1
) -> Budget:
    """A budget from now on, by default on the fastest platform there is.

    Raises:
        ValueError: OpenMM has no such platform here.
    """
    names = {
        openmm.Platform.getPlatform(i).getName()
        for i in range(openmm.Platform.getNumPlatforms())
    }
    if platform is None:
        platform = next(name for name in PLATFORMS if name in names)
    elif platform not in names:
        raise ValueError(
            f"OpenMM has no platform {platform} here; it has {', '.join(sorted(names))}"
        )
    return Budget(time.monotonic() + seconds, platform, threads)


@dataclass(frozen=True)
class Minimum:
    """Where a minimisation ended."""

    positions: Float[ndarray, "p 3"]
    """Å."""
    energy: float
    """kJ/mol, restraints left out."""


class _StopInTime(openmm.MinimizationReporter):
    """Stops a minimisation when the deadline has passed."""

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget

    def report(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, iteration: int, x: object, grad: object, args: object
    ) -> bool:
        """Called by OpenMM after every iteration; True ends it."""
        return self._budget.is_spent


RESTRAINT_GROUP = 31
_UNRESTRAINED = (1 << 32) - 1 - (1 << RESTRAINT_GROUP)
"""All groups of forces but that one, a bit for each."""


def add_restraint(
    system: openmm.System,
    particles: Int[ndarray, "a"],
    anchors: Float[ndarray, "a 3"],
    constants: Float[ndarray, "a"],
) -> None:
    """Ties particles to points, harmonically; Å and kJ/mol/nm²."""
    force = openmm.CustomExternalForce("0.5*hold*((x-u)^2+(y-v)^2+(z-w)^2)")
    for name in ("hold", "u", "v", "w"):
        force.addPerParticleParameter(name)
    rows = zip(
        particles.tolist(), constants.tolist(), (anchors / 10).tolist(), strict=True
    )
    for particle, constant, anchor in rows:
        force.addParticle(particle, [constant, *anchor])
    force.setForceGroup(RESTRAINT_GROUP)
    system.addForce(force)


def minimise(
    system: openmm.System, positions: Float[ndarray, "p 3"], budget: Budget
) -> Minimum:
    """Runs L-BFGS until forces are small or time is up.

    Raises:
        openmm.OpenMMException: coordinates or forces became NaN.
    """
    context = _context(system, positions, budget)
    reporter = _StopInTime(budget)
    openmm.LocalEnergyMinimizer.minimize(
        context,
        _TOLERANCE,  # pyright: ignore[reportArgumentType]
        0,
        reporter,
    )
    state = context.getState(positions=True, energy=True, groups=_UNRESTRAINED)
    found = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return Minimum(np.asarray(found, np.float64), float(energy))


def potential_energy(
    system: openmm.System, positions: Float[ndarray, "p 3"], budget: Budget
) -> float:
    """Energy in kJ/mol, restraints left out."""
    context = _context(system, positions, budget)
    state = context.getState(energy=True, groups=_UNRESTRAINED)
    return float(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))


def platform_of(budget: Budget) -> openmm.Platform:
    """The platform, told to give the same result every time."""
    platform = openmm.Platform.getPlatformByName(budget.platform)
    wanted = {"DeterministicForces": "true", "Threads": str(budget.threads)}
    for name in wanted.keys() & set(platform.getPropertyNames()):
        platform.setPropertyDefaultValue(name, wanted[name])
    return platform


def _context(
    system: openmm.System, positions: Float[ndarray, "p 3"], budget: Budget
) -> openmm.Context:
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, platform_of(budget))
    context.setPositions(positions / 10)
    return context
