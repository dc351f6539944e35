"""Clashes: how near is too near, for whom, and between whom it does not count."""

import numpy as np
import pytest
from rdkit import Chem

from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.molecules import covalent_radius, van_der_waals_radius
from af3_core.structures.clashes import METALS, clashing_pairs
from af3_core.structures.covalent import covalent_geometry
from af3_core.structures.structure import Chemistry, Structure
from tests.structures import protein

CHEMISTRY = Chemistry(Components.load())
OXYGEN = van_der_waals_radius("O")


def single_atoms(*atoms: tuple[str, str, str], distance: float) -> Structure:
    """Residues of one atom (component, atom, element) in a row, Å apart."""
    count = len(atoms)
    return Structure(
        chain_id=np.array([chr(ord("A") + i) for i in range(count)]),
        residue_id=np.ones(count, np.int64),
        residue_name=np.array([component for component, _, _ in atoms]),
        atom_name=np.array([name for _, name, _ in atoms]),
        element=np.array([element for _, _, element in atoms]),
        kind=np.repeat("ligand", count),
        positions=np.array([[i * distance, 0.0, 0.0] for i in range(count)]),
    )


def clashes(structure: Structure) -> list[list[int]]:
    """Pairs of rows."""
    geometry = covalent_geometry(structure, CHEMISTRY)
    return clashing_pairs(structure, geometry).tolist()


WATER, MAGNESIUM = ("HOH", "O", "O"), ("MG", "MG", "MG")


@pytest.mark.parametrize("closer, found", [(0.01, [[0, 1]]), (-0.01, [])])
def test_atoms_clash_where_their_spheres_overlap_by_more_than_0_7(
    closer: float, found: list[list[int]]
) -> None:
    limit = 2 * OXYGEN - 0.7
    assert clashes(single_atoms(WATER, WATER, distance=limit - closer)) == found


@pytest.mark.parametrize("distance, found", [(1.59, [[0, 1]]), (1.61, [])])
def test_metals_may_come_as_near_as_1_6(distance: float, found: list) -> None:
    assert clashes(single_atoms(MAGNESIUM, WATER, distance=distance)) == found


def test_atoms_three_bonds_apart_never_clash_but_four_do() -> None:
    names = ["C1", "C2", "C3", "C4", "C5", "C6"]
    hexane = Structure(
        chain_id=np.repeat("A", 6),
        residue_id=np.ones(6, np.int64),
        residue_name=np.repeat("HEX", 6),
        atom_name=np.array(names),
        element=np.repeat("C", 6),
        kind=np.repeat("ligand", 6),
        positions=np.random.default_rng(0).normal(scale=0.1, size=(6, 3)),
    )
    assert clashes(hexane) == [[0, 4], [0, 5], [1, 5]]


def test_no_atom_of_a_crystal_structure_at_half_an_angstrom_clashes() -> None:
    assert clashes(protein("1ejg")) == []


def test_every_metal_is_the_symbol_of_an_element() -> None:
    table = Chem.GetPeriodicTable()
    numbers = {symbol: table.GetAtomicNumber(symbol.capitalize()) for symbol in METALS}
    assert len(numbers) == 58 and min(numbers.values()) == 3


def test_heavy_metals_of_the_component_dictionary_are_metals() -> None:
    assert {"CD", "HG", "PT", "AU", "PB", "W", "LA"} <= METALS


def test_an_unknown_element_is_taken_for_carbon() -> None:
    assert van_der_waals_radius("X") == van_der_waals_radius("C")
    assert covalent_radius("X") == covalent_radius("C") < covalent_radius("FE")
