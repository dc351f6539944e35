"""Where chains touch: contacts, buried area, and confidence there."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from af3_core.structures.accessibility import PROBE_RADIUS, accessible_area
from af3_core.structures.clashes import van_der_waals_radii
from af3_core.structures.structure import Structure, chain_order, residue_starts

CONTACT_DISTANCE = 5.0
"""Å between the nearest heavy atoms of two residues or ligand atoms."""
CENTRE_ATOMS = {"protein": "CA", "rna": "C1'", "dna": "C1'"}
BETA_ATOMS = {"protein": "CB", "rna": "C3'", "dna": "C3'"}
"""The atoms that `ipsae` measures contacts between; glycine's is its C-alpha."""
LIS_ATOMS = {"protein": "CB", "rna": "P", "dna": "P"}
_ATOMS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Units:
    """What contacts are counted between: residues of polymers, atoms of ligands."""

    of_atom: Int[ndarray, "a"]
    """Unit of each atom."""
    chain: Int[ndarray, "u"]
    """Chain of each unit, in order of output."""
    is_polymer: Bool[ndarray, "u"]
    is_nucleic: Bool[ndarray, "u"]
    token: Int[ndarray, "u"]
    """Token of the unit's centre: C-alpha, C1', or the ligand's atom."""
    centre: Int[ndarray, "u"]
    """Atom that is the centre."""
    beta: Int[ndarray, "u"]
    """C-beta (C3' of nucleotides), or the centre where there is none."""
    lis_atom: Int[ndarray, "u"]
    """Where AFM-LIS measures from: C-beta, phosphorus, or the centre."""
    is_phosphorus: Bool[ndarray, "u"]
    """True where that is a phosphorus."""
    plddt: Float[ndarray, "u"]
    """Mean over the unit's atoms."""


def find_units(
    structure: Structure,
    token_of_atom: Int[ndarray, "a"],
    atom_plddt: Float[ndarray, "a"],
) -> Units:
    """Divides a structure into residues and ligand atoms."""
    starts = np.zeros(structure.num_atoms, bool)
    starts[residue_starts(structure)] = True
    of_atom = np.cumsum(starts | (structure.kind == "ligand")) - 1
    first = np.flatnonzero(np.diff(of_atom, prepend=-1))
    chains = {chain: i for i, chain in enumerate(chain_order(structure))}
    kind = structure.kind[first]
    counts = np.bincount(of_atom, minlength=len(first))
    centre = _named_atom(structure, of_atom, first, CENTRE_ATOMS)
    lis_atom = _named_atom(structure, of_atom, centre, LIS_ATOMS)
    return Units(
        of_atom=of_atom,
        chain=np.array([chains[c] for c in structure.chain_id[first].tolist()], int),
        is_polymer=kind != "ligand",
        is_nucleic=np.isin(kind, ("rna", "dna")),
        token=token_of_atom[centre],
        centre=centre,
        beta=_named_atom(structure, of_atom, centre, BETA_ATOMS),
        lis_atom=lis_atom,
        is_phosphorus=(structure.atom_name[lis_atom] == "P") & (kind != "ligand"),
        plddt=np.bincount(of_atom, atom_plddt, minlength=len(first)) / counts,
    )


def _named_atom(
    structure: Structure,
    of_atom: Int[ndarray, "a"],
    default: Int[ndarray, "u"],
    names: dict[str, str],
) -> Int[ndarray, "u"]:
    """Index of each unit's atom of the name that goes with its kind of chain."""
    result = default.copy()
    for kind, name in names.items():
        rows = np.flatnonzero((structure.kind == kind) & (structure.atom_name == name))
        result[of_atom[rows]] = rows
    return result


def contact_pairs(structure: Structure, units: Units) -> Int[ndarray, "pairs 2"]:
    """Units of different chains with heavy atoms within 5 Å, in both orders."""
    num_units = len(units.chain)
    chain = units.chain[units.of_atom]
    tree = KDTree(structure.positions)
    keys = [np.zeros(0, np.int64)]
    for start in range(0, structure.num_atoms, _ATOMS_AT_ONCE):
        block = slice(start, start + _ATOMS_AT_ONCE)
        near = tree.query_ball_point(structure.positions[block], CONTACT_DISTANCE)
        first = start + np.repeat(np.arange(len(near)), [len(n) for n in near])
        second = np.concatenate([np.asarray(n, np.int64) for n in near])
        apart = chain[first] != chain[second]
        ends = units.of_atom[first[apart]], units.of_atom[second[apart]]
        keys.append(np.unique(ends[0] * num_units + ends[1]))
    pairs = np.unique(np.concatenate(keys))
    return np.stack([pairs // max(num_units, 1), pairs % max(num_units, 1)], axis=1)


def buried_area(structure: Structure, chain_1: str, chain_2: str) -> float:
    """Surface that two chains hide from water in each other, in Å².

    Half of what their accessible surfaces lose together (Shrake & Rupley, probe 1.4 Å,
    Bondi's radii, no hydrogens), other chains taken away.
    """
    radii = van_der_waals_radii(structure)
    members = [np.flatnonzero(structure.chain_id == c) for c in (chain_1, chain_2)]
    reach = 2 * (radii.max(initial=0.0) + PROBE_RADIUS)
    trees = [KDTree(structure.positions[rows]) for rows in members]
    lost = 0.0
    for own, other in ((0, 1), (1, 0)):
        rows = members[own]
        distance, _ = trees[other].query(structure.positions[rows])
        facing = rows[distance < reach]
        alone = _area(structure, radii, rows, facing)
        lost += alone - _area(structure, radii, np.concatenate(members), facing)
    return lost / 2


def _area(
    structure: Structure,
    radii: Float[ndarray, "a"],
    present: Int[ndarray, "p"],
    wanted: Int[ndarray, "w"],
) -> float:
    """Accessible area of the wanted atoms among those present."""
    order = np.searchsorted(np.sort(present), wanted)
    sorted_rows = np.sort(present)
    area = accessible_area(
        structure.positions[sorted_rows], radii[sorted_rows], wanted=order
    )
    return float(area.sum())
