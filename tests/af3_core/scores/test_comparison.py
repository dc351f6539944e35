"""Comparison with references, against DockQ 2.1.3 and TM-align."""

import json

import numpy as np
import pytest
import tmtools

from af3_core.chemistry.dictionary import Components
from af3_core.scores.comparison import compare, comparison_columns
from af3_core.structures.structure import Chemistry, Structure, moved, select
from af3_core.structures.structure_file import parse_structure
from af3_core.structures.superposition import tm_score
from tests.oracles.dockq_scores import CASES, LIGANDS, displaced, pdb_text
from tests.structures import DATA, entry, protein, shaken

CHEMISTRY = Chemistry(Components.load())
GOLDEN = json.loads((DATA / "golden" / "dockq.json").read_text())
POLYMERS = [name for name in CASES if name not in LIGANDS]


@pytest.mark.parametrize("name", POLYMERS)
def test_interfaces_equal_those_of_dockq(name: str) -> None:
    found = compare(*displaced(name), CHEMISTRY)
    pairs = {one + two: q for (one, two), q in found.interfaces.items() if one < two}
    assert pairs.keys() == GOLDEN[name].keys()
    for pair, expected in GOLDEN[name].items():
        quality = pairs[pair]
        assert quality.dockq == pytest.approx(expected["DockQ"], abs=1e-4)
        assert quality.fnat == pytest.approx(expected["fnat"], abs=1e-6)
        assert quality.interface_rmsd == pytest.approx(expected["iRMSD"], abs=1e-3)
        assert quality.ligand_rmsd == pytest.approx(expected["LRMSD"], abs=1e-3)


def test_ligand_rmsd_equals_that_of_dockq() -> None:
    found = compare(*displaced("4cup"), CHEMISTRY)
    expected = GOLDEN["4cup"]["AB"]["LRMSD"]
    assert found.ligand_rmsd == pytest.approx(expected, abs=1e-3)


def test_a_structure_equals_itself() -> None:
    structure = entry("4cup")
    found = compare(structure, structure, CHEMISTRY)
    assert (found.lddt, found.tm_score) == pytest.approx((1.0, 1.0))
    assert (found.rmsd, found.ligand_rmsd) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert found.chains == {"A": "A", "B": "B"} and found.dockq is None


def test_motion_of_the_whole_changes_nothing() -> None:
    structure = entry("4zhl")
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    model = shaken(structure, 0.4)
    elsewhere = moved(model, model.positions @ turn + 50.0)
    first = compare(model, structure, CHEMISTRY)
    second = compare(elsewhere, structure, CHEMISTRY)
    for name in ("lddt", "tm_score", "rmsd", "dockq"):
        assert getattr(first, name) == pytest.approx(getattr(second, name), abs=1e-4)


def test_equal_chains_are_matched_by_where_they_lie() -> None:
    structure = entry("2beg")
    renamed = dict(zip("ABCDE", "CAEBD", strict=True))
    chain_id = np.array([renamed[c] for c in structure.chain_id.tolist()])
    order = np.argsort(chain_id, kind="stable")
    columns = {
        name: getattr(structure, name)[order]
        for name in vars(structure)
        if name not in ("links", "chain_id")
    }
    model = Structure(**columns, chain_id=chain_id[order])
    found = compare(model, structure, CHEMISTRY)
    assert found.chains == renamed
    assert found.dockq == pytest.approx(1.0)


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_tm_score_equals_that_of_tm_align(noise: float) -> None:
    structure = protein("1ake")
    fixed = structure.positions[structure.atom_name == "CA"]
    mobile = fixed + np.random.default_rng(1).normal(scale=noise, size=fixed.shape)
    mobile[150:] += [3.0, 0.0, 0.0]
    letters = "A" * len(fixed)
    found = tmtools.tm_align(mobile, fixed, letters, letters)
    assert found.seqxA == found.seqyA == letters, "aligned as it is"
    expected = pytest.approx(found.tm_norm_chain2, abs=1e-3)
    assert tm_score(mobile, fixed, len(fixed)) == expected


def test_swapped_names_of_equal_atoms_cost_nothing() -> None:
    structure = protein("1ubi")
    swap = {"CD1": "CD2", "CD2": "CD1", "CE1": "CE2", "CE2": "CE1"}
    tyrosine = np.isin(structure.residue_name, ("TYR", "PHE"))
    names = [
        swap.get(n, n) if t else n
        for n, t in zip(structure.atom_name.tolist(), tyrosine, strict=True)
    ]
    model = Structure(**(vars(structure) | {"atom_name": np.array(names)}))
    assert compare(model, structure, CHEMISTRY).lddt == pytest.approx(1.0)


def test_missing_residues_lower_the_tm_score_only() -> None:
    structure = protein("1ubi")
    half = select(structure, structure.residue_id <= 38)
    found = compare(half, structure, CHEMISTRY)
    assert found.tm_score == pytest.approx(0.5, abs=1e-6)
    assert (found.lddt, found.rmsd) == pytest.approx((1.0, 0.0), abs=1e-6)


def test_lddt_of_alpha_carbons_is_that_of_a_structure_of_nothing_else() -> None:
    structure = protein("1ubi")
    rng = np.random.default_rng(7)
    moved = structure.positions + rng.normal(0, 1.5, structure.positions.shape)
    model = Structure(**(vars(structure) | {"positions": moved}))
    trace = structure.atom_name == "CA"
    found = compare(model, structure, CHEMISTRY)
    alone = compare(select(model, trace), select(structure, trace), CHEMISTRY)
    assert found.lddt_ca == alone.lddt == pytest.approx(alone.lddt_ca)
    assert found.lddt_ca != pytest.approx(found.lddt)


def test_unrelated_structures_are_not_compared() -> None:
    found = compare(protein("1ubi"), protein("1ejg"), CHEMISTRY)
    assert found.chains == {} and found.tm_score is None and found.lddt is None


def test_references_are_read_from_both_formats() -> None:
    structure = entry("4cup")
    from_pdb = parse_structure(pdb_text(structure), "4cup.pdb")
    text = (DATA / "structures" / "4cup.cif").read_text()
    for found in (from_pdb, parse_structure(text, "4cup.cif")):
        assert found.num_atoms == structure.num_atoms
        assert set(found.kind.tolist()) == {"protein", "ligand"}
        assert compare(structure, found, CHEMISTRY).ligand_rmsd < 0.01


@pytest.mark.parametrize("text", ["", "hello", "data_x\n", "END\n"])
def test_files_without_coordinates_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="x.cif: n"):
        parse_structure(text, "x.cif")


def test_columns_are_null_without_a_reference() -> None:
    empty = comparison_columns(None, None)
    structure = protein("1ubi")
    full = comparison_columns(compare(structure, structure, CHEMISTRY), "1ubi")
    assert empty.keys() == full.keys() and not any(empty.values())
