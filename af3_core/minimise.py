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
class Deadline:
    """A moment after which no new work is begun."""

    monotonic: float

    @property
    def has_passed(self) -> bool:
        """True when time is up."""
        return time.monotonic() > self.monotonic

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """So many seconds from now."""
        return cls(time.monotonic() + seconds)


@dataclass(frozen=True)
class Minimum:
    """Where a minimisation ended."""

    positions: Float[ndarray, "p 3"]
    """Å."""
    energy: float
    """kJ/mol, restraints left out."""


class _StopInTime(openmm.MinimizationReporter):
    """Stops a minimisation when the deadline has passed."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def report(self, iteration: int, x: object, grad: object, args: object) -> bool:
        """Called by OpenMM after every iteration; True ends it."""
        return self._deadline.has_passed


def platform() -> openmm.Platform:
    """The fastest platform of this machine."""
    names = {
        openmm.Platform.getPlatform(i).getName()
        for i in range(openmm.Platform.getNumPlatforms())
    }
    chosen = next(name for name in PLATFORMS if name in names)
    return openmm.Platform.getPlatformByName(chosen)


RESTRAINT_GROUP = 31


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
    system: openmm.System, positions: Float[ndarray, "p 3"], deadline: Deadline
) -> Minimum:
    """Runs L-BFGS until forces are small or time is up.

    Raises:
        openmm.OpenMMException: coordinates or forces became NaN.
    """
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform())
    context.setPositions(positions / 10)
    openmm.LocalEnergyMinimizer.minimize(context, _TOLERANCE, 0, _StopInTime(deadline))
    groups = set(range(32)) - {RESTRAINT_GROUP}
    state = context.getState(positions=True, energy=True, groups=groups)
    found = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return Minimum(np.asarray(found, np.float64), float(energy))


def potential_energy(system: openmm.System, positions: Float[ndarray, "p 3"]) -> float:
    """Energy in kJ/mol, restraints left out."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform())
    context.setPositions(positions / 10)
    groups = set(range(32)) - {RESTRAINT_GROUP}
    state = context.getState(energy=True, groups=groups)
    return float(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
