"""DockQ of one interface, as DockQ 2 defines it.

Basu & Wallner 2016 (doi:10.1371/journal.pone.0161879), Mirabello & Wallner 2024
(doi:10.1093/bioinformatics/btae586): proteins and nucleic acids alike.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from af3_core.scores.chain_matching import Chain, MatchedChain
from af3_core.structures.structure import Structure
from af3_core.structures.superposition import rmsd, superpose

CONTACT = 5.0
"""Å; residues this near are a contact."""
INTERFACE = 10.0
"""Å; residues this near to the other chain make the interface."""
BACKBONE = (
    *("CA", "C", "N", "O"),
    *("P", "OP1", "OP2", "O2'", "O3'", "O4'", "O5'"),
    *("C1'", "C2'", "C3'", "C4'", "C5'"),
)


@dataclass(frozen=True)
class DockingQuality:
    """How near an interface is to that of the reference."""

    dockq: float
    fnat: float
    """Fraction of the reference's contacts that are there."""
    interface_rmsd: float
    """Å; backbone of the reference's interface, superposed."""
    ligand_rmsd: float
    """Å; backbone of the shorter chain, the longer one superposed."""


def docking_quality(
    model: Structure,
    reference: Structure,
    first: MatchedChain,
    second: MatchedChain,
) -> DockingQuality | None:
    """Compares one pair of chains; None if the reference has no contact there."""
    contacts = _near(reference, first.reference, second.reference, CONTACT)
    interface = _near(reference, first.reference, second.reference, INTERFACE)
    if not contacts:
        return None
    found = _near(model, first.model, second.model, CONTACT)
    to_reference = _renumbering(first), _renumbering(second)
    translated = {(to_reference[0].get(i), to_reference[1].get(j)) for i, j in found}
    fnat = len(contacts & translated) / len(contacts)
    touched = [np.unique([pair[side] for pair in interface]) for side in (0, 1)]
    interface_atoms = [
        _backbone(model, reference, match, residues)
        for match, residues in zip((first, second), touched, strict=True)
    ]
    mobile, fixed = (
        np.concatenate(part) for part in zip(*interface_atoms, strict=True)
    )
    if len(mobile) < 3:
        return None
    interface_rmsd = rmsd(superpose(mobile, fixed).apply(mobile), fixed)
    receptor, ligand = first, second
    if len(first.reference) <= len(second.reference):
        receptor, ligand = second, first
    motion = superpose(*_backbone(model, reference, receptor, None))
    mobile, fixed = _backbone(model, reference, ligand, None)
    ligand_rmsd = rmsd(motion.apply(mobile), fixed)
    terms = (
        fnat,
        1 / (1 + (interface_rmsd / 1.5) ** 2),
        1 / (1 + (ligand_rmsd / 8.5) ** 2),
    )
    return DockingQuality(sum(terms) / 3, fnat, interface_rmsd, ligand_rmsd)


def _near(
    structure: Structure, first: Chain, second: Chain, distance: float
) -> set[tuple[int, int]]:
    """Pairs of residues of two chains with heavy atoms nearer than a distance."""
    owners, trees = [], []
    for chain in (first, second):
        rows = [row for atoms in chain.atoms for row in atoms.values()]
        owners.append(np.repeat(np.arange(len(chain)), [len(a) for a in chain.atoms]))
        trees.append(KDTree(structure.positions[rows]))
    pairs = trees[0].sparse_distance_matrix(
        trees[1], distance, output_type="coo_matrix"
    )
    inside = pairs.data < distance
    residues = owners[0][pairs.row[inside]], owners[1][pairs.col[inside]]
    return set(zip(residues[0].tolist(), residues[1].tolist(), strict=True))


def _renumbering(match: MatchedChain) -> dict[int, int]:
    return dict(
        zip(
            match.model_residues.tolist(),
            match.reference_residues.tolist(),
            strict=True,
        )
    )


def _backbone(
    model: Structure,
    reference: Structure,
    match: MatchedChain,
    residues: Int[ndarray, "r"] | None,
) -> tuple[Float[ndarray, "p 3"], Float[ndarray, "p 3"]]:
    """Backbone atoms that matched residues of both structures share."""
    wanted = None if residues is None else set(residues.tolist())
    rows = [
        (match.model.atoms[i][name], match.reference.atoms[j][name])
        for i, j in zip(
            match.model_residues.tolist(),
            match.reference_residues.tolist(),
            strict=True,
        )
        if wanted is None or j in wanted
        for name in BACKBONE
        if name in match.model.atoms[i] and name in match.reference.atoms[j]
    ]
    pairs = np.array(rows, np.int64).reshape(-1, 2)
    return model.positions[pairs[:, 0]], reference.positions[pairs[:, 1]]
