"""Geometry of components: against textbook values and stated configurations."""

import biotite.structure as bs
import numpy as np
import pytest

from af3_core.chemistry.conformers import Reference
from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.molecules import smiles_component
from af3_core.chemistry.reference_geometry import (
    ReferenceGeometry,
    inferred_geometry,
    measure_torsions,
    reference_geometry,
)

COMPONENTS = Components.load()


def of_code(code: str) -> ReferenceGeometry:
    """A component of the dictionary."""
    return reference_geometry(Reference(COMPONENTS[code]))


def of_smiles(smiles: str) -> ReferenceGeometry:
    """A ligand that the user drew."""
    return reference_geometry(Reference(smiles_component(smiles, "LIG"), smiles))


def length(geometry: ReferenceGeometry, first: str, second: str) -> float:
    """Of a bond, Å."""
    wanted = {geometry.atom_names.index(first), geometry.atom_names.index(second)}
    (row,) = (i for i, b in enumerate(geometry.bonds.tolist()) if set(b) == wanted)
    return float(geometry.lengths[row])


def angle(geometry: ReferenceGeometry, *names: str) -> float:
    """Degrees."""
    first, vertex, last = (geometry.atom_names.index(name) for name in names)
    (row,) = (
        i
        for i, (a, v, b) in enumerate(geometry.angles.tolist())
        if v == vertex and {a, b} == {first, last}
    )
    return float(np.degrees(geometry.angle_values[row]))


def test_bonds_and_angles_of_alanine_are_those_of_engh_and_huber() -> None:
    alanine = of_code("ALA")
    assert length(alanine, "N", "CA") == pytest.approx(1.459, abs=0.03)
    assert length(alanine, "CA", "CB") == pytest.approx(1.520, abs=0.03)
    assert angle(alanine, "N", "CA", "C") == pytest.approx(111.0, abs=3)


@pytest.mark.parametrize("left, right", [("ALA", "DAL"), ("TRP", "DTR")])
def test_mirror_images_have_centres_of_opposite_sign(left: str, right: str) -> None:
    signs = [
        centre_sign(of_code(code), ("CA", "N", "C", "CB")) for code in (left, right)
    ]
    assert sorted(signs) == [-1, 1]


def centre_sign(geometry: ReferenceGeometry, names: tuple[str, ...]) -> int:
    """Sign of the volume of named neighbours about the first name."""
    order = [geometry.atom_names.index(name) for name in names]
    (row,) = np.flatnonzero(geometry.centres[:, 0] == order[0])
    kept = geometry.centres[row, 1:].tolist()
    permutation = [kept.index(i) for i in order[1:]]
    parity = round(np.linalg.det(np.eye(3)[permutation]))
    return int(geometry.centre_signs[row]) * parity


def test_both_oxygens_of_a_carboxylate_are_as_far() -> None:
    aspartate = of_code("ASP")
    assert length(aspartate, "CG", "OD1") == length(aspartate, "CG", "OD2") == 1.25


def test_an_aromatic_ring_is_flat() -> None:
    phenylalanine = of_code("PHE")
    ring = {phenylalanine.atom_names.index(n) for n in "CG CD1 CD2 CE1 CE2 CZ".split()}
    inside = [set(p) <= ring for p in phenylalanine.planes.tolist()]
    assert sum(inside) >= 6
    assert (phenylalanine.plane_values[inside] == 0).all()


@pytest.mark.parametrize("smiles, value", [("C/C=C/C", np.pi), ("C/C=C\\C", 0.0)])
def test_a_double_bond_is_cis_or_trans_as_it_was_drawn(
    smiles: str, value: float
) -> None:
    drawn = of_smiles(smiles)
    assert drawn.is_known
    assert drawn.plane_values.tolist() == pytest.approx([value])


@pytest.mark.parametrize("smiles", ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"])
def test_a_centre_without_a_stated_configuration_is_left_open(smiles: str) -> None:
    assert len(of_smiles(smiles).centres) == 1
    assert len(of_smiles("CC(N)C(=O)O").centres) == 0


def test_a_phosphate_has_no_configuration() -> None:
    names = of_code("DA").atom_names
    assert names.index("P") not in of_code("DA").centres[:, 0]


def test_a_residue_that_nobody_knows_is_taken_as_it_lies() -> None:
    positions = np.array([[0.0, 0, 0], [1.16, 0, 0], [2.32, 0, 0], [9.0, 0, 0]])
    found = inferred_geometry(("O1", "C", "O2", "X"), ["O", "C", "O", "C"], positions)
    assert found.bonds.tolist() == [[0, 1], [1, 2]]
    assert found.lengths.tolist() == pytest.approx([1.16, 1.16])
    assert found.angle_values.tolist() == pytest.approx([np.pi])
    assert not found.is_known


def test_torsions_are_those_of_biotite() -> None:
    positions = np.random.default_rng(0).normal(size=(20, 4, 3))
    found = measure_torsions(positions.reshape(-1, 3), np.arange(80).reshape(-1, 4))
    expected = bs.dihedral(*np.moveaxis(positions, 1, 0))
    np.testing.assert_allclose(found, expected, atol=1e-6)
