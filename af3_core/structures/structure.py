"""Atoms of one complex, flat, in the order of the output."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray

from af3_core.chemistry.conformers import Reference
from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.molecules import smiles_component
from af3_core.features.values import Features

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
    links: Int[ndarray, "e 2"] = field(default_factory=lambda: np.zeros((0, 2), int))
    """Covalent bonds between residues that no chain implies, as the user stated."""

    @property
    def num_atoms(self) -> int:
        """How many atoms there are."""
        return len(self.atom_name)


@dataclass(frozen=True, eq=False)
class Chemistry:
    """What the residues of a structure are made of."""

    components: Components
    smiles: Mapping[str, str] = field(default_factory=dict)
    """SMILES of ligands that are in no dictionary, by residue name."""

    def reference(self, residue_name: str) -> Reference:
        """Looks a residue up; KeyError where nothing is known of it."""
        if residue_name in self.smiles:
            smiles = self.smiles[residue_name]
            return Reference(smiles_component(smiles, residue_name), smiles)
        return Reference(self.components[residue_name])


def structure_of(features: Features, positions: Float[ndarray, "a 3"]) -> Structure:
    """Puts positions on the atoms of a job."""
    atoms, chains = features.atoms, features.chains
    return Structure(
        chain_id=np.array(chains.chain_id)[atoms.chain_index],
        residue_id=np.asarray(atoms.residue_id),
        residue_name=np.array(atoms.residue_name),
        atom_name=np.array(atoms.atom_name),
        element=np.array(atoms.element),
        kind=np.array(chains.kind)[atoms.chain_index],
        positions=positions,
        links=np.asarray(features.bonded_atoms, np.int64).reshape(-1, 2),
    )


def chemistry_of(features: Features) -> Chemistry:
    """Collects the components of a job: the dictionary's, the user's, its SMILES."""
    chains = features.chains
    smiles = {
        codes[0]: text
        for codes, text in zip(chains.codes, chains.smiles, strict=True)
        if text is not None
    }
    return Chemistry(Components.load(features.user_ccd), smiles)


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
        links=(np.cumsum(mask) - 1)[structure.links[mask[structure.links].all(-1)]],
    )


def is_polymer(structure: Structure) -> Bool[ndarray, "a"]:
    """True for atoms of protein, RNA and DNA chains."""
    return np.isin(structure.kind, POLYMERS)


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
