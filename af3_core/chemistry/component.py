"""One chemical component: a residue, ligand or ion with its atoms and bonds."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
from jaxtyping import Float

HYDROGENS = ("H", "D")


@dataclass(frozen=True)
class ComponentBond:
    """A bond within a component, in the dictionary's own words."""

    atom_1: str
    atom_2: str
    order: str
    """SING, DOUB or TRIP."""
    aromatic: str
    """Y or N."""


@dataclass(frozen=True, eq=False)
class Component:
    """One entry of the dictionary; atoms in the dictionary's order, hydrogens too."""

    code: str
    name: str
    type: str
    parent: str | None
    """Code of the standard residue it derives from."""
    formula: str | None
    formula_weight: str | None
    synonyms: str | None
    modified: date | None
    """Day of the last revision."""
    atom_names: tuple[str, ...]
    elements: tuple[str, ...]
    """As written, usually upper case."""
    charges: tuple[int | None, ...]
    leaving: tuple[str, ...]
    """Y, N or ? for every atom."""
    ideal_positions: Float[np.ndarray, "a 3"]
    """Å; NaN where unknown."""
    deposited_positions: Float[np.ndarray, "a 3"] | None
    """Å, of a structure in the PDB, NaN where unknown; None if the ideal ones do."""
    bonds: tuple[ComponentBond, ...]

    @cached_property
    def heavy_atoms(self) -> tuple[int, ...]:
        """Indices of all atoms but hydrogen and deuterium."""
        return tuple(i for i, e in enumerate(self.elements) if e not in HYDROGENS)
