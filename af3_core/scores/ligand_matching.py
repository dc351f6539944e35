"""Which ligand of a prediction is which of a reference, and how far it is off.

As DockQ 2 and the CASP15 ligand assessment do (doi:10.1002/prot.26601): the pocket's
backbone is superposed, then atoms that the bonds cannot tell apart are taken as they
fit best.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from rdkit import Chem
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from af3_core.scores.chain_matching import MatchedChain
from af3_core.scores.dockq import BACKBONE, INTERFACE
from af3_core.structures.covalent import covalent_geometry
from af3_core.structures.structure import Chemistry, Structure, chain_order, select
from af3_core.structures.superposition import Motion, rmsd, superpose

MAX_MAPPINGS = 10_000


@dataclass(frozen=True, eq=False)
class MatchedLigand:
    """A ligand or ion of the prediction and the reference's that it stands for."""

    model_chain: str
    reference_chain: str
    rmsd: float
    """Å; heavy atoms, the pocket superposed."""


def match_ligands(
    model: Structure,
    reference: Structure,
    chemistry: Chemistry,
    matches: list[MatchedChain],
) -> tuple[MatchedLigand, ...]:
    """Pairs ligands of equal atoms and bonds, so that the distances are least."""
    atoms = _backbone_atoms(matches)
    found = _ligands(model, chemistry), _ligands(reference, chemistry)
    keys = list(found[0]), list(found[1])
    cost = np.full((len(keys[0]), len(keys[1])), np.inf)
    for j, chain_id in enumerate(keys[1]):
        rows, molecule = found[1][chain_id]
        motion = _pocket_motion(model, reference, atoms, reference.positions[rows])
        for i, other in enumerate(keys[0]):
            own_rows, own_molecule = found[0][other]
            mapping = _mappings(own_molecule, molecule)
            if mapping is not None:
                mobile = motion.apply(model.positions[own_rows])
                cost[i, j] = min(
                    rmsd(mobile[list(m)], reference.positions[rows]) for m in mapping
                )
    possible = np.isfinite(cost)
    if not possible.any():
        return ()
    large = 1e6
    pairs = linear_sum_assignment(
        np.where(possible, np.minimum(cost, large), 2 * large)
    )
    return tuple(
        MatchedLigand(keys[0][i], keys[1][j], float(cost[i, j]))
        for i, j in zip(*pairs, strict=True)
        if possible[i, j]
    )


def _ligands(
    structure: Structure, chemistry: Chemistry
) -> dict[str, tuple[Int[ndarray, "l"], Chem.Mol]]:
    """Rows and bare graph of every chain that is no polymer."""
    result = {}
    for chain_id in chain_order(structure):
        mask = structure.chain_id == chain_id
        if (structure.kind[mask] == "ligand").all():
            part = select(structure, mask)
            geometry = covalent_geometry(part, chemistry)
            graph = _graph(part, geometry.bonds)
            result[chain_id] = np.flatnonzero(mask), graph
    return result


def _graph(ligand: Structure, bonds: Int[ndarray, "e 2"]) -> Chem.Mol:
    """Elements and who is bonded to whom; bond orders and charges left out."""
    graph = Chem.RWMol()
    for element in ligand.element.tolist():
        atom = Chem.Atom(str(element).capitalize())
        atom.SetNoImplicit(True)
        graph.AddAtom(atom)
    for i, j in bonds.tolist():
        graph.AddBond(i, j, Chem.BondType.SINGLE)
    return graph.GetMol()


def _mappings(
    model: Chem.Mol, reference: Chem.Mol
) -> tuple[tuple[int, ...], ...] | None:
    """Ways to lay one graph on the other: the model's atom for each of the reference.

    A reference that lacks some atoms is matched by those that it has.
    """
    if reference.GetNumAtoms() > model.GetNumAtoms():
        return None
    if reference.GetNumAtoms() < 0.5 * model.GetNumAtoms():
        return None
    found = model.GetSubstructMatches(
        reference, uniquify=False, maxMatches=MAX_MAPPINGS
    )
    return found or None


def _backbone_atoms(matches: list[MatchedChain]) -> Int[ndarray, "b 2"]:
    """Rows of backbone atoms that matched residues of both structures share."""
    rows = [
        (match.model.atoms[i][name], match.reference.atoms[j][name])
        for match in matches
        for i, j in zip(
            match.model_residues.tolist(),
            match.reference_residues.tolist(),
            strict=True,
        )
        for name in BACKBONE
        if name in match.model.atoms[i] and name in match.reference.atoms[j]
    ]
    return np.array(rows, np.int64).reshape(-1, 2)


def _pocket_motion(
    model: Structure,
    reference: Structure,
    atoms: Int[ndarray, "b 2"],
    ligand: Float[ndarray, "l 3"],
) -> Motion:
    """Superposes the residues within 10 Å of a ligand of the reference."""
    polymer = np.flatnonzero(reference.kind != "ligand")
    distance, _ = KDTree(ligand).query(reference.positions[polymer])
    touched = polymer[distance < INTERFACE]
    pocket = {
        (str(reference.chain_id[row]), int(reference.residue_id[row]))
        for row in touched.tolist()
    }
    inside = np.array(
        [
            (str(reference.chain_id[row]), int(reference.residue_id[row])) in pocket
            for row in atoms[:, 1].tolist()
        ],
        bool,
    )
    chosen = atoms[inside] if inside.sum() >= 3 else atoms
    return superpose(model.positions[chosen[:, 0]], reference.positions[chosen[:, 1]])
