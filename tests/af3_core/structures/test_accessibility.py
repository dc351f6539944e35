"""Accessible areas against DSSP 4.2.2 (Debian), disorder against its definition."""

import numpy as np
import pytest

from af3_core.structures.accessibility import (
    DSSP_RADII,
    SIDE_CHAIN_RADIUS,
    accessible_area,
    fraction_disordered,
    relative_accessibility,
)
from af3_core.structures.structure import moved, residue_starts, select
from tests.structures import protein

# mkdssp --output-format=dssp on the heavy atoms of each file, column ACC.
# fmt: off
DSSP_1EJG = [
    75, 22, 0, 0, 53, 48, 112, 96, 6, 48, 67, 69, 6, 87, 91, 18, 93, 142, 111, 50,
    40, 77, 70, 60, 105, 0, 11, 119, 154, 22, 36, 5, 47, 77, 34, 145, 41, 81, 126,
    46, 54, 76, 113, 68, 70, 73,
]
# fmt: on
# fmt: off
DSSP_1UBI = [
    51, 77, 0, 55, 0, 102, 24, 136, 125, 69, 96, 69, 5, 58, 8, 153, 4, 111, 46, 89,
    36, 47, 1, 132, 54, 0, 15, 43, 66, 1, 86, 150, 108, 76, 51, 33, 43, 43, 87, 52,
    0, 89, 1, 32, 38, 68, 78, 100, 103, 5, 129, 65, 48, 117, 28, 0, 64, 91, 38, 117,
    5, 124, 137, 112, 21, 58, 0, 82, 5, 31, 78, 104, 120, 211, 74, 155,
]
# fmt: on


@pytest.mark.parametrize(
    ("entry", "expected"), [("1ejg", DSSP_1EJG), ("1ubi", DSSP_1UBI)]
)
def test_areas_equal_those_of_dssp(entry, expected) -> None:
    structure = protein(entry)
    names = structure.atom_name.tolist()
    radii = np.array([DSSP_RADII.get(name, SIDE_CHAIN_RADIUS) for name in names])
    area = accessible_area(structure.positions, radii)
    residues = np.add.reduceat(area, residue_starts(structure))
    assert np.floor(residues + 0.5).astype(int).tolist() == expected


def test_a_folded_protein_is_ordered() -> None:
    assert fraction_disordered(protein("1ubi")) == 0.0


def test_an_unfolded_protein_is_disordered() -> None:
    structure = protein("1ubi")
    apart = structure.positions + 20.0 * structure.residue_id[:, None]
    assert fraction_disordered(moved(structure, apart)) == 1.0


def test_without_protein_nothing_is_disordered() -> None:
    structure = protein("1vii")
    assert fraction_disordered(select(structure, structure.kind == "rna")) == 0.0


def test_residues_without_a_complete_backbone_are_left_out() -> None:
    structure = protein("1vii")
    gap = (structure.residue_id == structure.residue_id[0]) & (
        structure.atom_name == "O"
    )
    whole = relative_accessibility(structure)
    assert len(relative_accessibility(select(structure, ~gap))) == len(whole) - 1


def test_piled_up_atoms_bury_each_other_in_bounded_time() -> None:
    cloud = np.random.default_rng(0).normal(scale=0.5, size=(2000, 3))
    area = accessible_area(cloud, np.full(2000, 1.8))
    lonely = accessible_area(cloud[:1], np.full(1, 1.8))
    assert area.sum() < 50 * lonely.sum()
