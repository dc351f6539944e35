"""Contacts, clashes and ranks."""

import numpy as np

from af3_core.chemistry import Components
from af3_core.scores import count_clashes, count_contacts, rank_samples
from af3_core.structure import Chemistry, Structure, moved
from tests.structures import protein

CHEMISTRY = Chemistry(Components.load())


def dimer(offset) -> Structure:
    """Villin and a copy of it, moved."""
    first = protein("1vii")
    second = moved(first, first.positions + np.array(offset))
    columns = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in vars(first)
    }
    columns["chain_id"] = np.repeat(["A", "B"], first.num_atoms)
    return Structure(**columns)


def test_contacts_are_counted_by_residue() -> None:
    structure = dimer([12.0, 0.0, 0.0])
    first, second = np.split(structure.positions, 2)
    near = np.linalg.norm(first[:, None] - second[None], axis=-1) <= 5.0
    residues = structure.residue_id[: len(first)]
    pairs = {(int(residues[i]), int(residues[j])) for i, j in np.argwhere(near)}
    assert pairs
    assert count_contacts(structure).tolist() == [[0, len(pairs)], [len(pairs), 0]]


def test_contacts_of_ligands_are_counted_by_atom() -> None:
    structure = dimer([12.0, 0.0, 0.0])
    kind = np.where(structure.chain_id == "B", "ligand", "protein")
    ligand = Structure(**(vars(structure) | {"kind": kind}))
    assert count_contacts(ligand)[0, 1] > count_contacts(structure)[0, 1]


def test_distant_chains_have_no_contacts() -> None:
    assert not count_contacts(dimer([90.0, 0.0, 0.0])).any()


def test_a_crystal_structure_has_no_clash_and_a_superposed_copy_many() -> None:
    assert count_clashes(protein("1ubi"), CHEMISTRY) == 0
    assert count_clashes(dimer([0.1, 0.0, 0.0]), CHEMISTRY) > 1000


def test_ranks_begin_with_the_highest_score() -> None:
    assert rank_samples(np.array([0.1, 0.5, 0.5, 0.9])).tolist() == [4, 2, 3, 1]
