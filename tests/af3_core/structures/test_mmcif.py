import io
from pathlib import Path

import biotite.structure.io.pdbx as pdbx
import gemmi
import modelcif.reader
import numpy as np
import pytest
from Bio.PDB import MMCIFParser

from af3_core.structures.mmcif import write_mmcif
from af3_core.structures.mmcif_origin import (
    USAGE,
    foldmill_origin,
    format_terms,
)
from tests.af3_core.output_examples import ORIGIN, Example, mmcif_of, predicted

NAME = "kitchen_sink"
AF3_ITEMS = Path(__file__).parents[2] / "data" / "af3_mmcif_items.txt"
DEMANDED_BY_THE_DICTIONARY = {
    "_atom_site.auth_comp_id",
    "_pdbx_branch_scheme.pdb_mon_id",
    "_pdbx_entity_branch.entity_id",
    "_pdbx_entity_branch.type",
    "_pdbx_entity_branch_list.comp_id",
    "_pdbx_entity_branch_list.entity_id",
    "_pdbx_entity_branch_list.hetero",
    "_pdbx_entity_branch_list.num",
    "_pdbx_nonpoly_scheme.ndb_seq_num",
}
Row = tuple[str, int, str, str, str]


@pytest.fixture
def example() -> Example:
    return predicted(NAME)


@pytest.fixture
def text(example: Example) -> str:
    return mmcif_of(example)


def expected_rows(example: Example) -> list[Row]:
    """Chain, residue number and name, atom and element of each atom."""
    s = example.structure
    columns = (s.chain_id, s.residue_id, s.residue_name, s.atom_name, s.element)
    return list(zip(*(c.tolist() for c in columns), strict=True))


def assert_numbers_equal(
    example: Example, positions: np.ndarray, b_factors: np.ndarray
) -> None:
    np.testing.assert_allclose(positions, example.structure.positions, atol=6e-4)
    np.testing.assert_allclose(b_factors, example.plddt, atol=6e-3)


def test_gemmi_reads_the_same_atoms(example: Example, text: str) -> None:
    block = gemmi.cif.read_string(text).sole_block()
    atoms = [
        (chain.name, residue.seqid.num, residue.name, atom.name, atom)
        for chain in gemmi.make_structure_from_block(block)[0]
        for residue in chain
        for atom in residue
    ]
    rows = [(*row, a.element.name.upper()) for *row, a in atoms]
    assert rows == expected_rows(example)
    positions = np.array([a.pos.tolist() for *_, a in atoms])
    assert_numbers_equal(example, positions, np.array([a.b_iso for *_, a in atoms]))


def test_biopython_reads_the_same_atoms(example: Example, text: str) -> None:
    (model,) = MMCIFParser(QUIET=True).get_structure("x", io.StringIO(text))
    atoms = list(model.get_atoms())
    rows = []
    for atom in atoms:
        residue = atom.get_parent()
        chain_id, number = residue.get_parent().id, residue.id[1]
        rows.append((chain_id, number, residue.resname, atom.id, atom.element))
    assert rows == expected_rows(example)
    positions = np.array([a.coord for a in atoms])
    assert_numbers_equal(example, positions, np.array([a.bfactor for a in atoms]))


def test_biotite_reads_the_same_atoms(example: Example, text: str) -> None:
    file = pdbx.CIFFile.read(io.StringIO(text))
    atoms = pdbx.get_structure(file, model=1, extra_fields=["b_factor"])
    columns = atoms.chain_id, atoms.res_id, atoms.res_name, atoms.atom_name
    rows = zip(*(c.tolist() for c in (*columns, atoms.element)), strict=True)
    assert list(rows) == expected_rows(example)
    assert_numbers_equal(example, atoms.coord, atoms.b_factor)


def test_bonds_between_residues_are_read_back(example: Example, text: str) -> None:
    block = gemmi.cif.read_string(text).sole_block()
    structure = gemmi.make_structure_from_block(block)
    found = [(str(c.partner1), str(c.partner2), c.type) for c in structure.connections]
    covalent = gemmi.ConnectionType.Covale
    assert found == [
        ("A/ASN 6/ND2", "E/NAG 1/C1", covalent),
        ("E/NAG 1/O4", "E/NAG 2/C1", covalent),
    ]


def test_modelcif_reads_chains_atoms_and_confidences(
    example: Example, text: str
) -> None:
    (system,) = modelcif.reader.read(io.StringIO(text))
    (model,) = [m for group in system.model_groups for m in group]
    assert [a.id for a in system.asym_units] == list("ABCDEFGHI")
    assert len(list(model.get_atoms())) == example.structure.num_atoms
    *local, overall = [metric.value for metric in model.qa_metrics]
    assert len(local) == 55
    assert overall == pytest.approx(example.plddt.mean(), abs=0.01)


def test_categories_and_items_are_those_of_alphafold3(text: str) -> None:
    block = gemmi.cif.read_string(text).sole_block()
    items = set()
    for entry in block:
        items |= {entry.pair[0]} if entry.pair else set(entry.loop.tags)
    expected = set(AF3_ITEMS.read_text().split())
    assert expected <= items
    assert items - expected == DEMANDED_BY_THE_DICTIONARY


def test_polymer_sequences_list_modified_residues(text: str) -> None:
    block = gemmi.cif.read_string(text).sole_block()
    rows = block.find("_entity_poly_seq.", ["entity_id", "mon_id"])
    assert [r[1] for r in rows if r[0] == "4"] == "G G C PSU A G C C".split()


def test_a_smiles_ligand_is_described_by_its_smiles(text: str) -> None:
    block = gemmi.cif.read_string(text).sole_block()
    rows = block.find("_chem_comp.", ["id", "pdbx_smiles"])
    assert dict(map(tuple, rows))["LIG_F"] == "CC(=O)Oc1ccccc1C(=O)O"


def test_mean_plddt_is_stated_per_residue_and_overall(
    example: Example, text: str
) -> None:
    block = gemmi.cif.read_string(text).sole_block()
    overall = float(block.find_value("_ma_qa_metric_global.metric_value"))
    local = block.find_values("_ma_qa_metric_local.metric_value")
    first = example.plddt[example.structure.residue_id == 1]
    assert overall == pytest.approx(example.plddt.mean(), abs=0.01)
    assert float(local[0]) == pytest.approx(first[:4].mean(), abs=0.01)


def test_terms_of_use_stand_at_the_top_and_in_the_data(example: Example) -> None:
    origin = foldmill_origin("1.2", "abc", "alphafold3")
    chains = example.features.chains
    text = write_mmcif(
        example.structure,
        example.plddt,
        chains,
        example.components,
        name="x",
        origin=origin,
    )
    assert text.startswith("# Predicted with the AlphaFold 3 model parameters")
    block = gemmi.cif.read_string(text).sole_block()
    assert list(block.find_values("_pdbx_data_usage.type")) == ["license", "disclaimer"]
    assert "AlphaFold 3 (abc)" in block.find_values("_software.version").str(0)


def test_the_terms_file_holds_every_paragraph() -> None:
    for usage in USAGE.values():
        assert all(one.details in format_terms(usage) for one in usage)


def test_plddt_must_match_the_atoms(example: Example) -> None:
    with pytest.raises(ValueError, match="3 pLDDT values for 714 atoms"):
        write_mmcif(
            example.structure,
            example.plddt[:3],
            example.features.chains,
            example.components,
            name="x",
            origin=ORIGIN,
        )
