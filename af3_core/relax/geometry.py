"""First stage of relaxation: heavy atoms alone, covalent geometry and soft contacts.

Nothing here needs a force field, so every residue takes part, and forces stay finite
however the atoms overlap. Wrong hands are turned over, clashes pushed apart.
"""

import numpy as np
import openmm
from jaxtyping import Float, Int
from numpy import ndarray

from af3_core.relax.minimise import Budget, add_restraint, minimise
from af3_core.structures.clashes import is_metal, near_in_bonds, van_der_waals_radii
from af3_core.structures.covalent import CovalentGeometry
from af3_core.structures.structure import Structure

_BOND = 250_000.0
"""kJ/mol/nm²; Amber's are 150,000 to 500,000."""
_ANGLE = 600.0
"""kJ/mol/rad²."""
_GUESSED_ANGLE = 60.0
_VOLUME = 3.0e7
"""kJ/mol/nm⁶: 30 kJ/mol for 1 Å³ of the 2.5 Å³ of a stereocentre."""
_IDEAL_VOLUME = 2.4e-3
"""nm³."""
_PLANE = 40.0
"""kJ/mol per torsion."""
_CONTACT = 20_000.0
"""kJ/mol/nm²."""
_CONTACT_OVERLAP = 0.045
"""nm; spheres may overlap by this much for nothing, less than a clash does."""
_METAL_RADIUS = 0.05
"""nm; beside an oxygen of 1.5 Å a metal is free beyond 1.6 Å."""


def regularise(
    structure: Structure,
    geometry: CovalentGeometry,
    restraint: Float[ndarray, "a"],
    start: Float[ndarray, "a 3"],
    budget: Budget,
) -> Float[ndarray, "a 3"]:
    """Minimises the geometry energy, held to the structure by the restraint.

    Args:
        structure: heavy atoms, coordinates finite.
        geometry: of the same atoms.
        restraint: force constant of each atom, kJ/mol/nm².
        start: positions to begin with, Å.
        budget: time, platform and threads.

    Returns:
        Positions, Å.
    """
    system = openmm.System()
    for _ in range(structure.num_atoms):
        system.addParticle(12.0)
    for force in geometry_forces(geometry, np.arange(structure.num_atoms)):
        system.addForce(force)
    system.addForce(_contact_force(structure, geometry))
    atoms = np.arange(structure.num_atoms)
    add_restraint(system, atoms, structure.positions, restraint)
    return minimise(system, start + _jitter(structure.num_atoms), budget).positions


def _jitter(num_atoms: int) -> Float[ndarray, "a 3"]:
    """Parts atoms that coincide: between them no force has a direction."""
    return np.random.default_rng(0).normal(scale=1e-3, size=(num_atoms, 3))


def geometry_forces(
    geometry: CovalentGeometry, particles: Int[ndarray, "a"]
) -> list[openmm.Force]:
    """Bonds, angles, planes and hands; `particles` holds that of each atom."""
    bonds = openmm.HarmonicBondForce()
    for (i, j), length in zip(
        particles[geometry.bonds].tolist(), geometry.lengths.tolist(), strict=True
    ):
        bonds.addBond(i, j, length / 10, _BOND)
    angles = openmm.HarmonicAngleForce()
    for (i, j, k), value, judged in zip(
        particles[geometry.angles].tolist(),
        geometry.angle_values.tolist(),
        geometry.angle_judged.tolist(),
        strict=True,
    ):
        if np.isfinite(value):
            angles.addAngle(i, j, k, value, _ANGLE if judged else _GUESSED_ANGLE)
    planes = openmm.PeriodicTorsionForce()
    for i, j, k, m in particles[geometry.planes].tolist():
        planes.addTorsion(i, j, k, m, 2, np.pi, _PLANE / 2)
    hands = chirality_force(particles[geometry.centres], geometry.centre_signs)
    return [bonds, angles, planes, hands]


def chirality_force(
    centres: Int[ndarray, "r 4"], signs: Int[ndarray, "r"]
) -> openmm.Force:
    """Draws the signed volume of each stereocentre to that of a tetrahedron."""
    force = openmm.CustomCompoundBondForce(
        4,
        "k*(hand*volume-ideal)^2;"
        "volume=ax*(by*cz-bz*cy)+ay*(bz*cx-bx*cz)+az*(bx*cy-by*cx);"
        "ax=x2-x1;ay=y2-y1;az=z2-z1;bx=x3-x1;by=y3-y1;bz=z3-z1;"
        "cx=x4-x1;cy=y4-y1;cz=z4-z1",
    )
    force.addGlobalParameter("k", _VOLUME)
    force.addGlobalParameter("ideal", _IDEAL_VOLUME)
    force.addPerBondParameter("hand")
    for atoms, sign in zip(centres.tolist(), signs.tolist(), strict=True):
        force.addBond(atoms, [float(sign)])
    return force


def _contact_force(structure: Structure, geometry: CovalentGeometry) -> openmm.Force:
    """Repels atoms more than three bonds apart whose spheres overlap."""
    force = openmm.CustomNonbondedForce(
        f"{_CONTACT}*max(0,touch-r)^2;touch=radius1+radius2"
    )
    force.addPerParticleParameter("radius")
    radii = van_der_waals_radii(structure) / 10 - _CONTACT_OVERLAP / 2
    radii = np.where(is_metal(structure), _METAL_RADIUS, radii)
    for radius in radii.tolist():
        force.addParticle([radius])
    for key in near_in_bonds(geometry, structure.num_atoms).tolist():
        i, j = divmod(key, structure.num_atoms)
        if i < j:
            force.addExclusion(i, j)
    force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffNonPeriodic)
    force.setCutoffDistance(0.45)
    return force
