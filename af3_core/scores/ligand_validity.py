"""Are predicted ligands chemically and physically possible? PoseBusters' checks.

Buttenschoen et al. 2024, doi:10.1039/D3SC04185A: bond lengths and angles, flat rings
and double bonds, clashes within and with everything else, internal energy. And, as
AlphaFold 3 does when it ranks poses, whether each stereocentre has the right hand.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from rdkit import Chem, rdBase
from scipy.spatial import KDTree

from af3_core.chemistry.molecules import rdkit_symbol
from af3_core.structures.covalent import (
    CovalentGeometry,
    count_deviations,
    covalent_geometry,
    fraction_broken,
)
from af3_core.structures.structure import (
    Chemistry,
    Structure,
    chain_order,
    residue_starts,
    select,
)

LARGEST_WITH_ENERGY = 70
"""Heavy atoms; for larger ligands 50 conformers take minutes and energy is left out."""
SURROUNDINGS = 12.0
"""Å; what is further away cannot fail a check."""
MAX_BROKEN_FRACTION = 0.15


@dataclass(frozen=True)
class LigandValidity:
    """What the checks say of one chain of ligands."""

    passes: bool | None
    """True if every check that could be run passes; None if none could."""
    failed: tuple[str, ...]
    """Names of the checks that fail, as PoseBusters calls them."""
    chirality_errors: int
    """Stereocentres of the wrong hand."""
    reason: str | None
    """Why nothing was checked."""


def check_ligands(
    structure: Structure, chemistry: Chemistry
) -> dict[str, LigandValidity]:
    """Checks every chain of ligands with more than one heavy atom, by chain id."""
    result = {}
    for chain_id in chain_order(structure):
        mask = structure.chain_id == chain_id
        if mask.sum() > 1 and (structure.kind[mask] == "ligand").all():
            result[chain_id] = _check(structure, mask, chemistry)
    return result


def _check(
    structure: Structure, mask: Bool[ndarray, "a"], chemistry: Chemistry
) -> LigandValidity:
    ligand = select(structure, mask)
    geometry = covalent_geometry(ligand, chemistry)
    errors = count_deviations(ligand.positions, geometry).chirality
    broken = fraction_broken(ligand.positions, geometry)
    if broken > MAX_BROKEN_FRACTION:
        # Exploded molecules would need grids of any size.
        return LigandValidity(False, ("bond_lengths",), errors, None)
    if geometry.bodies:
        reason = "its atoms are not those of its component"
        return LigandValidity(None, (), errors, reason)
    molecule = ligand_molecule(ligand, geometry, chemistry)
    if molecule is None:
        reason = "RDKit cannot make sense of the component"
        return LigandValidity(None, (), errors, reason)
    surroundings = _surroundings(structure, mask)
    config = "mol" if surroundings is None else "dock"
    if ligand.num_atoms > LARGEST_WITH_ENERGY:
        config += "_fast"
    with rdBase.BlockLogs():
        table = _busters(config).bust(molecule, None, surroundings)
    checks: dict[str, Any] = table.iloc[0].to_dict()
    # Of NaN, a check that could not be run, bool is True.
    failed = tuple(name for name, passes in checks.items() if not bool(passes))
    return LigandValidity(not failed, failed, errors, None)


@cache
def _busters(config: str) -> Any:
    # Brings pandas along, which jobs without ligands need not wait for.
    from posebusters import PoseBusters

    busters = PoseBusters(config=config)
    for module in busters.config["modules"]:
        if module["function"] == "energy_ratio":
            module["parameters"]["num_threads"] = 1
    return busters


def ligand_molecule(
    ligand: Structure, geometry: CovalentGeometry, chemistry: Chemistry
) -> Chem.Mol | None:
    """A chain of ligands as a molecule in its pose, hydrogens implicit.

    None where RDKit does not accept a component or the whole.
    """
    graph = Chem.RWMol()
    starts = residue_starts(ligand)
    ends = np.append(starts[1:], ligand.num_atoms)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        reference = chemistry.reference(str(ligand.residue_name[start])).molecule
        names = ligand.atom_name[start:end].tolist()
        if reference is None or not _add_residue(graph, reference, names):
            return None
    for i, j in geometry.bonds[geometry.is_link].tolist():
        graph.AddBond(i, j, Chem.BondType.SINGLE)
    conformer = Chem.Conformer(ligand.num_atoms)
    conformer.SetPositions(ligand.positions)
    graph.AddConformer(conformer)
    molecule = graph.GetMol()
    with rdBase.BlockLogs():
        if Chem.SanitizeMol(molecule, catchErrors=True):
            return None
        Chem.AssignStereochemistryFrom3D(molecule)
    return molecule


def _add_residue(graph: Chem.RWMol, reference: Chem.Mol, names: list[str]) -> bool:
    """Adds the named atoms and the bonds among them; False if one is unknown."""
    reference = Chem.Mol(reference)
    Chem.Kekulize(reference, clearAromaticFlags=True)
    known = {a.GetProp("atom_name"): a.GetIdx() for a in reference.GetAtoms()}
    if not all(name in known for name in names):
        return False
    index = {}
    for name in names:
        source = reference.GetAtomWithIdx(known[name])
        atom = Chem.Atom(source.GetAtomicNum())
        atom.SetFormalCharge(source.GetFormalCharge())
        index[known[name]] = graph.AddAtom(atom)
    for bond in reference.GetBonds():
        first, second = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if first in index and second in index:
            graph.AddBond(index[first], index[second], bond.GetBondType())
    return True


def _surroundings(structure: Structure, mask: Bool[ndarray, "a"]) -> Chem.Mol | None:
    """What is near a ligand but not bonded to it, at least the nearest atom."""
    distance, _ = KDTree(structure.positions[mask]).query(structure.positions)
    nearest = distance[~mask].min(initial=np.inf)
    near = (distance <= max(SURROUNDINGS, nearest)) & ~mask
    for first, second in structure.links.tolist():
        for own, other in ((first, second), (second, first)):
            if mask[own] and not mask[other]:
                near &= ~(
                    (structure.chain_id == structure.chain_id[other])
                    & (structure.residue_id == structure.residue_id[other])
                )
    part = select(structure, near)
    if not part.num_atoms:
        return None
    molecule = Chem.RWMol()
    for i in range(part.num_atoms):
        atom = Chem.Atom(rdkit_symbol(str(part.element[i])))
        atom.SetNoImplicit(True)
        atom.SetMonomerInfo(
            Chem.AtomPDBResidueInfo(
                str(part.atom_name[i]),
                residueName=str(part.residue_name[i]),
                residueNumber=int(part.residue_id[i]),
                isHeteroAtom=bool(part.kind[i] == "ligand"),
            )
        )
        molecule.AddAtom(atom)
    conformer = Chem.Conformer(part.num_atoms)
    conformer.SetPositions(part.positions)
    molecule.AddConformer(conformer)
    return molecule.GetMol()


def validity_columns(
    found: Mapping[str, LigandValidity],
) -> dict[str, Any]:
    """Counts of the ligands that were checked and pass, and what each says."""
    return {
        "ligands_checked": sum(v.passes is not None for v in found.values()),
        "ligands_valid": sum(
            bool(v.passes) and not v.chirality_errors for v in found.values()
        ),
        "ligand_checks": json.dumps({chain: vars(v) for chain, v in found.items()}),
    }
