"""Atoms of one complex, flat, in the order of the output."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray

POLYMERS = ("protein", "rna", "dna")


@dataclass(frozen=True)
class Structure:
    """One set of positions and what each atom is, as mmCIF's atom_site names it."""

    chain_id: Shaped[ndarray, "a"]
    """label_asym_id; the atoms of a chain are contiguous."""
    residue_id: Int[ndarray, "a"]
    """1-based label_seq_id; for ligands the 1-based component of the chain."""
    residue_name: Shaped[ndarray, "a"]
    """label_comp_id."""
    atom_name: Shaped[ndarray, "a"]
    element: Shaped[ndarray, "a"]
    """Symbol, such as "C" or "Cl" in any case."""
    kind: Shaped[ndarray, "a"]
    """Of the chain: "protein", "rna", "dna" or "ligand" (ions and waters too)."""
    positions: Float[ndarray, "a 3"]

    @property
    def num_atoms(self) -> int:
        """How many atoms there are."""
        return len(self.atom_name)


def moved(structure: Structure, positions: Float[ndarray, "a 3"]) -> Structure:
    """The same atoms elsewhere."""
    return replace(structure, positions=positions)


def select(structure: Structure, mask: Bool[ndarray, "a"]) -> Structure:
    """The atoms where the mask is True."""
    return Structure(
        chain_id=structure.chain_id[mask],
        residue_id=structure.residue_id[mask],
        residue_name=structure.residue_name[mask],
        atom_name=structure.atom_name[mask],
        element=structure.element[mask],
        kind=structure.kind[mask],
        positions=structure.positions[mask],
    )


def is_polymer(structure: Structure) -> Bool[ndarray, "a"]:
    """True for atoms of protein, RNA and DNA chains."""
    return np.isin(structure.kind, POLYMERS)


def is_hydrogen(structure: Structure) -> Bool[ndarray, "a"]:
    """True for hydrogen and deuterium."""
    return np.isin(np.char.upper(structure.element.astype(str)), ("H", "D"))


def chain_order(structure: Structure) -> list[str]:
    """Chain ids in order of first appearance."""
    return list(dict.fromkeys(structure.chain_id.tolist()))


def residue_starts(structure: Structure) -> Int[ndarray, "residues"]:
    """Index of the first atom of each residue."""
    if not structure.num_atoms:
        return np.zeros(0, np.int64)
    changed = (structure.chain_id[1:] != structure.chain_id[:-1]) | (
        structure.residue_id[1:] != structure.residue_id[:-1]
    )
    return np.flatnonzero(np.concatenate([[True], changed]))


def require_finite(structure: Structure) -> None:
    """Raises ValueError if a coordinate is NaN or infinite."""
    bad = ~np.isfinite(structure.positions).all(axis=-1)
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(
            f"{bad.sum()} of {structure.num_atoms} atoms have coordinates that are "
            f"not finite, the first {structure.chain_id[first]}/"
            f"{structure.residue_name[first]}{structure.residue_id[first]}/"
            f"{structure.atom_name[first]}"
        )
