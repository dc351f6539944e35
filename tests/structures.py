"""Real structures for tests: PDB entries without hydrogens and waters (CC0).

`tests/data/structures` holds 1as5 and 1gbt (covalent inhibitor, ions), 1lcd (protein
and DNA), 2beg (five equal chains), 4cup (protein and ligand) and 4zhl (two proteins)
as Biopython's test data has them, and 1ehz (transfer RNA, modified) as rna-tools' has.
"""

from collections.abc import Mapping
from pathlib import Path

import biotite.structure as bs
import biotite.structure.io.pdbx as pdbx
import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from scipy.spatial import KDTree

from af3_core.features.values import Features
from af3_core.structures.structure import (
    Chemistry,
    Structure,
    moved,
    residue_starts,
    structure_of,
)

DATA = Path(__file__).parent / "data"
TEMPLATES = DATA / "databases" / "pdb_mmcif"
COVALENT_REACH = 1.9
"""Å; organic atoms of ligands and polymers nearer than this are bonded."""


def from_atoms(atoms: bs.AtomArray, kind: str | np.ndarray = "protein") -> Structure:
    """A biotite array without hydrogens as ours."""
    atoms = atoms[(atoms.element != "H") & (atoms.element != "D")]
    return Structure(
        chain_id=atoms.chain_id.astype(str),
        residue_id=atoms.res_id.astype(np.int64),
        residue_name=atoms.res_name.astype(str),
        atom_name=atoms.atom_name.astype(str),
        element=atoms.element.astype(str),
        kind=np.broadcast_to(np.asarray(kind), (len(atoms),)).copy(),
        positions=atoms.coord.astype(np.float64),
    )


def protein(entry: str, chain: int = 0) -> Structure:
    """One protein chain of a template: 1ubi, 1ejg, 1ake or 1vii."""
    file = pdbx.CIFFile.read(TEMPLATES / f"{entry}.cif")
    atoms = pdbx.get_structure(file, model=1, use_author_fields=False)
    atoms = atoms[bs.filter_amino_acids(atoms)]
    chains = list(dict.fromkeys(atoms.chain_id.tolist()))
    return from_atoms(atoms[atoms.chain_id == chains[chain]])


def dimer(offset: list[float]) -> Structure:
    """Villin and a copy of it, moved."""
    first = protein("1vii")
    second = moved(first, first.positions + np.array(offset))
    columns = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in vars(first)
    }
    columns["chain_id"] = np.repeat(["A", "B"], first.num_atoms)
    return Structure(**columns)


def entry(name: str) -> Structure:
    """A whole entry of `tests/data/structures`, covalent ligands linked."""
    file = pdbx.CIFFile.read(DATA / "structures" / f"{name}.cif")
    atoms = pdbx.get_structure(file, model=1, use_author_fields=False)
    kinds = {
        chain: _kind(atoms[atoms.chain_id == chain]) for chain in set(atoms.chain_id)
    }
    kind = np.array([kinds[chain] for chain in atoms.chain_id.tolist()])
    structure = from_atoms(atoms, kind)
    return Structure(**(vars(structure) | {"links": _links(structure)}))


def _kind(chain: bs.AtomArray) -> str:
    names = set(chain.res_name.tolist())
    if bs.get_residue_count(chain) == 1:
        return "ligand"
    if "CA" in chain.atom_name:
        return "protein"
    return "dna" if names & {"DA", "DC", "DG", "DT"} else "rna"


def _links(structure: Structure) -> np.ndarray:
    ligand = np.isin(structure.element, ("C", "N", "O", "S", "P", "B"))
    ligand &= structure.kind == "ligand"
    polymer = structure.kind != "ligand"
    tree = KDTree(structure.positions)
    pairs = np.array(sorted(tree.query_pairs(COVALENT_REACH)), np.int64).reshape(-1, 2)
    first, second = pairs.T
    across = (ligand[first] & polymer[second]) | (polymer[first] & ligand[second])
    return pairs[across]


def shaken(structure: Structure, size: float, seed: int = 1) -> Structure:
    """The structure with normal noise on every coordinate, Å."""
    noise = np.random.default_rng(seed).normal(size=structure.positions.shape)
    return moved(structure, structure.positions + size * noise)


def laid_out(features: Features, chemistry: Chemistry) -> Structure:
    """A job's residues as conformers, one row for each chain, not yet bonded."""
    structure = structure_of(features, np.zeros((len(features.atoms.atom_name), 3)))
    starts = residue_starts(structure)
    ends = np.append(starts[1:], structure.num_atoms)
    rows: dict[str, int] = {}
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        chain_id = str(structure.chain_id[start])
        rows.setdefault(chain_id, 0)
        reference = chemistry.reference(str(structure.residue_name[start]))
        molecule = Chem.Mol(reference.molecule)
        rdDistGeom.EmbedMolecule(molecule, randomSeed=1)
        index = [reference.rows[str(name)] for name in structure.atom_name[start:end]]
        positions = molecule.GetConformer().GetPositions()[index]
        place = [5.5 * rows[chain_id], 25.0 * list(rows).index(chain_id), 0.0]
        structure.positions[start:end] = positions - positions.mean(axis=0) + place
        rows[chain_id] += 1
    return structure


def real_complex(arrays: Mapping[str, np.ndarray], sample: int) -> Structure:
    """A protein, P, and its ligands, as AlphaFold 3's real weights placed them."""
    return Structure(
        chain_id=arrays["chain_id"],
        residue_id=arrays["res_id"],
        residue_name=arrays["res_name"],
        atom_name=arrays["atom_name"],
        element=arrays["element"],
        kind=np.where(arrays["chain_id"] == "P", "protein", "ligand"),
        positions=arrays[f"sample{sample}.coords"],
    )
