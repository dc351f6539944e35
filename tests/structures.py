"""Real structures for tests, from the miniature template database."""

from pathlib import Path

import biotite.structure as bs
import biotite.structure.io.pdbx as pdbx
import numpy as np

from af3_core.structure import Structure

TEMPLATES = Path(__file__).parent / "data" / "databases" / "pdb_mmcif"


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
