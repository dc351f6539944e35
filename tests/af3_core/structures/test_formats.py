import io

import biotite.structure.io.pdbx as pdbx
import gemmi
import numpy as np
import pytest

from af3_core.structures.formats import find_pdb_obstacle, to_binary_cif, to_pdb
from tests.af3_core.output_examples import mmcif_of, predicted

FLOAT_ITEMS = ("Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv")


def test_binary_cif_holds_the_same_items_and_values() -> None:
    text = mmcif_of(predicted("kitchen_sink"))
    binary = pdbx.BinaryCIFFile.read(io.BytesIO(to_binary_cif(text))).block
    for category, items in pdbx.CIFFile.read(io.StringIO(text)).block.items():
        for item, column in items.items():
            kind = float if item in FLOAT_ITEMS else str
            found = binary[category][item].as_array(kind)
            np.testing.assert_array_equal(found, column.as_array(kind))


def test_a_protein_complex_fits_a_pdb_file() -> None:
    example = predicted("villin_gb1")
    model = gemmi.read_pdb_string(to_pdb(mmcif_of(example)))[0]
    atoms = [a.atom for a in model.all()]
    positions = np.array([a.pos.tolist() for a in atoms])
    np.testing.assert_allclose(positions, example.structure.positions, atol=6e-4)
    np.testing.assert_allclose([a.b_iso for a in atoms], example.plddt, atol=6e-3)
    assert [c.name for c in model] == ["A", "B", "C"]


def test_a_long_component_code_does_not_fit() -> None:
    text = mmcif_of(predicted("kitchen_sink"))
    with pytest.raises(ValueError, match="component code LIG_F has more than 3"):
        to_pdb(text)


def test_distant_atoms_do_not_fit() -> None:
    example = predicted("villin_gb1")
    far = example.structure.positions + np.float32(10_000)
    assert "coordinates reach" in find_pdb_obstacle(mmcif_of(example, positions=far))


def test_many_residues_do_not_fit() -> None:
    example = predicted("villin_gb1")
    text = mmcif_of(example, residue_id=example.structure.residue_id + 10_000)
    assert find_pdb_obstacle(text) == "residue number 10056 is above 9999"
