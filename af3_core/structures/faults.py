"""Everything that can be wrong with the geometry of a structure, counted."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from af3_core.structures.clashes import clashing_pairs
from af3_core.structures.covalent import CovalentGeometry, count_deviations, deviating
from af3_core.structures.structure import Structure


@dataclass(frozen=True)
class Faults:
    """What is wrong with a structure."""

    clashes: int
    bonds: int
    angles: int
    chirality: int

    @property
    def is_none(self) -> bool:
        """True if nothing is wrong."""
        return not (self.clashes or self.bonds or self.angles or self.chirality)


def find_faults(structure: Structure, geometry: CovalentGeometry) -> Faults:
    """Counts clashes, bonds, angles and stereocentres that are wrong."""
    off = count_deviations(structure.positions, geometry)
    clashes = len(clashing_pairs(structure, geometry))
    return Faults(clashes, off.bonds, off.angles, off.chirality)


def faulty_atoms(
    structure: Structure, geometry: CovalentGeometry
) -> Int[ndarray, "wrong"]:
    """Atoms that take part in any fault."""
    rows = deviating(structure.positions, geometry)
    faults = [*rows.values(), clashing_pairs(structure, geometry)]
    return np.unique(np.concatenate([atoms.ravel() for atoms in faults]))
