"""Puts hydrogens among the heavy atoms they are bonded to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from af3_core.structures.structure import Structure, residue_starts


@dataclass(frozen=True, eq=False)
class Hydrogenated:
    """A structure with hydrogens, each residue's after its heavy atoms."""

    structure: Structure
    source: Int[ndarray, "b"]
    """Row of the heavy atom that each atom was, or is bonded to."""
    row_of: Int[ndarray, "a"]
    """Where each heavy atom went."""


def add_hydrogens(
    structure: Structure,
    names: Sequence[str],
    parents: Int[ndarray, "h"],
    positions: Float[ndarray, "h 3"],
) -> Hydrogenated:
    """Adds hydrogens to a structure of heavy atoms.

    Args:
        structure: heavy atoms.
        names: of the hydrogens.
        parents: row of the heavy atom that each is bonded to.
        positions: Å.
    """
    num_heavy = structure.num_atoms
    source = np.concatenate([np.arange(num_heavy), parents])
    residue = np.zeros(num_heavy, np.int64)
    residue[residue_starts(structure)] = 1
    order = np.argsort(np.cumsum(residue)[source], kind="stable")
    row_of = np.argsort(order)[:num_heavy]
    all_names = np.concatenate([structure.atom_name, np.array(names, dtype=str)])
    elements = np.concatenate([structure.element, np.full(len(parents), "H")])
    places = np.concatenate([structure.positions, positions])
    source = source[order]
    return Hydrogenated(
        structure=Structure(
            chain_id=structure.chain_id[source],
            residue_id=structure.residue_id[source],
            residue_name=structure.residue_name[source],
            atom_name=all_names[order],
            element=elements[order],
            kind=structure.kind[source],
            positions=places[order],
            links=row_of[structure.links],
        ),
        source=source,
        row_of=row_of,
    )
