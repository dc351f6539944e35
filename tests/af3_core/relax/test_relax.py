"""Relaxation of real structures, perturbed; takes about a minute."""

import json
from dataclasses import replace

import numpy as np
import pytest

from af3_core.chemistry.dictionary import Components
from af3_core.contracts import RELAXED
from af3_core.features.featurise import featurise
from af3_core.inputs.files import read_jobs
from af3_core.job import Job, Polymer
from af3_core.relax.geometry import regularise
from af3_core.relax.minimise import make_budget
from af3_core.relax.relax import relax, relaxed_columns
from af3_core.structures.covalent import covalent_geometry
from af3_core.structures.faults import Faults, find_faults
from af3_core.structures.structure import (
    Chemistry,
    Structure,
    chemistry_of,
    moved,
    select,
)
from tests.structures import DATA, entry, laid_out, protein, shaken

CHEMISTRY = Chemistry(Components.load())
NO_FAULTS = Faults(clashes=0, bonds=0, angles=0, chirality=0)


def complex_of(name: str) -> Structure:
    """A template by its chain, anything else whole."""
    return protein(name) if name in ("1ubi", "1ejg") else entry(name)


@pytest.mark.parametrize("name", ["1ubi", "1ejg", "1lcd", "4cup", "2beg", "1ehz"])
def test_perturbed_structures_lose_all_faults_and_stay_near(name: str) -> None:
    found = relax(shaken(complex_of(name), 0.25), CHEMISTRY)
    assert found.before.clashes > 5 and found.before.bonds > 200
    assert (found.status, found.after) == ("relaxed", NO_FAULTS)
    assert found.rmsd < 0.5
    assert found.energy_after < found.energy_before
    assert found.seconds < 60


def test_a_good_structure_hardly_moves() -> None:
    found = relax(protein("1ubi"), CHEMISTRY)
    assert found.status == "relaxed" and found.rmsd < 0.25


def test_the_same_structure_ends_the_same_every_time() -> None:
    structure = shaken(protein("1vii"), 0.25)
    first, second = relax(structure, CHEMISTRY), relax(structure, CHEMISTRY)
    assert np.array_equal(first.positions, second.positions)
    assert first.energy_after == second.energy_after


def test_overlapping_chains_are_pushed_apart() -> None:
    structure = entry("2beg")
    second, third = (structure.chain_id == chain for chain in "BC")
    centre = structure.positions[second].mean(axis=0)
    towards = structure.positions[third].mean(axis=0) - centre
    step = 1.5 * towards / np.linalg.norm(towards)
    nearer = structure.positions + np.where(second[:, None], step, 0.0)
    found = relax(moved(structure, nearer), CHEMISTRY)
    assert found.before.clashes > 10
    assert (found.status, found.after) == ("relaxed", NO_FAULTS)


def test_inverted_centres_are_turned_over() -> None:
    structure = protein("1vii")
    mirrored = structure.positions.copy()
    alanine = (structure.residue_name == "ALA") & (structure.atom_name == "CB")
    centre = (structure.residue_name == "ALA") & (structure.atom_name == "CA")
    carbonyl = (structure.residue_name == "ALA") & (structure.atom_name == "C")
    nitrogen = (structure.residue_name == "ALA") & (structure.atom_name == "N")
    normal = np.cross(
        mirrored[nitrogen] - mirrored[centre], mirrored[carbonyl] - mirrored[centre]
    )
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    height = np.sum((mirrored[alanine] - mirrored[centre]) * normal, axis=-1)
    mirrored[alanine] -= 2 * height[:, None] * normal
    found = relax(moved(structure, mirrored), CHEMISTRY)
    assert found.before.chirality == alanine.sum() == 3
    assert found.after.chirality == 0


def test_every_residue_beyond_the_force_field_is_named() -> None:
    found = relax(entry("1gbt"), CHEMISTRY)
    assert found.status == "relaxed"
    assert found.treatments == {
        "A/177": "SER: parametrised by its component",
        "B/1": "CA: sphere in place",
        "C/1": "SO4: sphere in place",
        "D/1": "SO4: sphere in place",
        "E/1": "GBS: restrained body",
    }


def test_every_kind_of_entity_is_relaxed_together() -> None:
    (job,), _ = read_jobs(DATA / "cases" / "kitchen_sink.json")
    features = featurise(_without_alignments(job), Components.load(job.user_ccd))
    chemistry = chemistry_of(features)
    structure = laid_out(features, chemistry)
    geometry = covalent_geometry(structure, chemistry)
    loose = np.full(structure.num_atoms, 5.0)
    budget = make_budget(60)
    bonded = structure.positions
    for _ in range(3):
        bonded = regularise(structure, geometry, loose, bonded, budget)
    found = relax(shaken(moved(structure, bonded), 0.1), chemistry)
    assert (found.status, found.reason, found.after) == ("relaxed", None, NO_FAULTS)
    beyond = {text.split(":")[0] for text in found.treatments.values()}
    assert beyond == {
        *("MSE", "ASN", "SEP", "5CM", "PSU"),
        *("NAG", "LIG_F", "MG", "LIG-9"),
    }


def _without_alignments(job: Job) -> Job:
    """The job as it goes to features when no search is wanted."""
    empty = {"unpaired_msa": "", "paired_msa": "", "templates": ()}
    entities = []
    for entity in job.entities:
        if isinstance(entity, Polymer) and entity.kind == "protein":
            entity = replace(entity, **empty)
        elif isinstance(entity, Polymer) and entity.kind == "rna":
            entity = replace(entity, unpaired_msa="")
        entities.append(entity)
    return replace(job, entities=tuple(entities))


def test_a_ligand_stays_in_its_pocket() -> None:
    structure = shaken(entry("4cup"), 0.2)
    ligand = structure.kind == "ligand"
    found = relax(structure, CHEMISTRY)
    shift = found.positions[ligand] - structure.positions[ligand]
    assert np.sqrt(np.mean(np.sum(shift**2, axis=-1))) < 0.5


def test_a_ligand_is_relaxed_without_any_polymer() -> None:
    structure = entry("4cup")
    found = relax(select(structure, structure.kind == "ligand"), CHEMISTRY)
    assert (found.status, found.reason) == ("relaxed", None)


def test_a_smiles_ligand_has_the_geometry_of_its_conformer() -> None:
    chemistry = Chemistry(Components.load(), {"LIG_A": "C[C@H](N)C(=O)O"})
    names = ["C1", "C2", "N1", "C3", "O1", "O2"]
    flat = np.array([[0, 0], [1.5, 0], [2, 1.4], [2.2, -1.3], [1.6, -2.3], [3.5, -1.4]])
    structure = Structure(
        chain_id=np.full(6, "A"),
        residue_id=np.ones(6, int),
        residue_name=np.full(6, "LIG_A"),
        atom_name=np.array(names),
        element=np.array([name[0] for name in names]),
        kind=np.full(6, "ligand"),
        positions=np.pad(flat, ((0, 0), (0, 1))),
    )
    found = relax(structure, chemistry)
    assert found.before.chirality == 1
    assert (found.status, found.after) == ("relaxed", NO_FAULTS)


def test_residues_that_lack_atoms_take_part() -> None:
    structure = protein("1vii")
    lost = (structure.residue_id == 20) & (structure.atom_name == "CG")
    found = relax(select(structure, ~lost), CHEMISTRY)
    assert found.status == "relaxed"
    assert list(found.treatments) == [f"{structure.chain_id[0]}/20"]


def test_hydrogens_are_kept_if_wanted() -> None:
    structure = protein("1vii")
    found = relax(structure, CHEMISTRY, keep_hydrogens=True)
    heavy = found.positions[found.hydrogens.parents]
    lengths = np.linalg.norm(found.hydrogens.positions - heavy, axis=-1)
    assert len(lengths) == len(found.hydrogens.names) > 280
    np.testing.assert_allclose(lengths, 1.05, atol=0.3)
    assert relax(structure, CHEMISTRY).hydrogens is None


@pytest.mark.parametrize("spread", [0.0, 2.0, 30.0])
def test_coordinates_that_are_no_structure_are_refused_at_once(spread: float) -> None:
    structure = protein("1ubi")
    random = np.random.default_rng(0).normal(size=(structure.num_atoms, 3))
    found = relax(moved(structure, spread * random), CHEMISTRY)
    assert found.status == "refused" and "bonds are off" in found.reason
    assert found.positions is None and found.seconds < 20


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_coordinates_that_are_not_numbers_are_refused(value: float) -> None:
    structure = protein("1vii")
    structure.positions[7, 2] = value
    found = relax(structure, CHEMISTRY)
    assert (found.status, found.before) == ("refused", None)
    assert "1 atoms have coordinates that are not finite" in found.reason


def test_unknown_elements_are_refused() -> None:
    structure = protein("1vii")
    odd = np.where(structure.atom_name == "CA", "Xx", structure.element)
    found = relax(replace(structure, element=odd), CHEMISTRY)
    assert found.reason == "no element is called Xx"


def test_time_that_is_up_is_said() -> None:
    found = relax(shaken(protein("1ubi"), 0.25), CHEMISTRY, max_seconds=0.0)
    assert found.status == "not_converged" and found.reason.startswith("time was up")


def test_an_unknown_platform_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no platform Abacus here; it has CPU"):
        relax(protein("1vii"), CHEMISTRY, platform="Abacus")


@pytest.mark.parametrize("name", ["1ubi", "1ejg", "4cup", "1as5"])
def test_crystal_structures_have_no_faults(name: str) -> None:
    structure = complex_of(name)
    geometry = covalent_geometry(structure, CHEMISTRY)
    assert find_faults(structure, geometry) == NO_FAULTS


def test_outcomes_fit_the_contract() -> None:
    structure = protein("1vii")
    key = {"job_id": "0" * 16, "seed": 1}
    refused = relax(moved(structure, 0 * structure.positions), CHEMISTRY)
    relaxed = relax(structure, CHEMISTRY, keep_hydrogens=True)
    rows = [
        key | {"sample": i} | relaxed_columns(found)
        for i, found in enumerate([refused, relaxed])
    ]
    table = RELAXED.check(RELAXED.table(rows), where="memory")
    assert json.loads(table["treatments"][1].as_py()) == {}
