"""Hydrogens and parameters: against charges and counts that chemistry fixes."""

from functools import cache

import numpy as np
import openmm
import pytest
from openmm import app, unit

from af3_core.chemistry.dictionary import Components
from af3_core.relax.amber import FORCE_FIELDS, AmberModel, build_model
from af3_core.relax.minimise import make_budget
from af3_core.structures.covalent import covalent_geometry
from af3_core.structures.structure import Chemistry, Structure, residue_starts, select
from tests.structures import entry, protein

CHEMISTRY = Chemistry(Components.load())
CHARGES = {"ARG": 1, "LYS": 1, "ASP": -1, "GLU": -1}


def amber(structure: Structure) -> AmberModel:
    """The structure as Amber sees it."""
    geometry = covalent_geometry(structure, CHEMISTRY)
    return build_model(structure, geometry, CHEMISTRY, make_budget(60))


@cache
def villin() -> tuple[Structure, AmberModel]:
    """36 residues, all of them standard."""
    structure = protein("1vii")
    return structure, amber(structure)


def charges(model: AmberModel) -> np.ndarray:
    """Charge of every particle, e."""
    (force,) = (
        f for f in model.system.getForces() if isinstance(f, openmm.NonbondedForce)
    )
    found = [force.getParticleParameters(i)[0] for i in range(force.getNumParticles())]
    return np.array([q.value_in_unit(unit.elementary_charge) for q in found])


def test_heavy_atoms_stay_where_they_are() -> None:
    structure, model = villin()
    np.testing.assert_allclose(model.positions[model.heavy], structure.positions)


def test_a_protein_has_the_charge_of_its_side_chains() -> None:
    structure, model = villin()
    names = structure.residue_name[residue_starts(structure)].tolist()
    # Both ends are charged and cancel; villin's histidine is neutral.
    expected = sum(CHARGES.get(name, 0) for name in names)
    assert charges(model).sum() == pytest.approx(expected, abs=1e-3)


def test_every_hydrogen_sits_beside_the_atom_it_hangs_on() -> None:
    _, model = villin()
    hydrogen = np.setdiff1d(np.arange(len(model.positions)), model.heavy)
    assert len(hydrogen) > len(model.heavy) * 0.9
    reach = np.linalg.norm(
        model.positions[hydrogen] - model.positions[model.parents[hydrogen]], axis=1
    )
    assert 0.9 < reach.min() and reach.max() < 1.4
    assert np.isin(model.parents[hydrogen], model.heavy).all()
    assert (model.parents[model.heavy] == model.heavy).all()


def test_a_standard_protein_has_the_energy_that_openmm_gives_it_alone() -> None:
    _, model = villin()
    plain = app.ForceField(*FORCE_FIELDS).createSystem(
        model.topology,
        nonbondedMethod=app.CutoffNonPeriodic,  # pyright: ignore[reportArgumentType]
        nonbondedCutoff=1.0,
        constraints=None,
        rigidWater=False,
    )
    assert energy(model.system, model) == pytest.approx(energy(plain, model), rel=1e-6)


def energy(system: openmm.System, model: AmberModel) -> float:
    """Potential energy in kJ/mol, in double precision."""
    context = openmm.Context(
        system,
        openmm.VerletIntegrator(0.001),
        openmm.Platform.getPlatformByName("Reference"),
    )
    context.setPositions(model.positions / 10)
    state = context.getState(energy=True)
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def test_only_a_residue_that_lacks_atoms_is_generic() -> None:
    structure = protein("1vii")
    lysine = structure.residue_id[structure.residue_name == "LYS"][0]
    cut = (structure.residue_id == lysine) & ~np.isin(
        structure.atom_name, ("N", "CA", "C", "O", "CB")
    )
    kept = select(structure, ~cut)
    model = amber(kept)
    assert set(kept.residue_id[model.is_generic].tolist()) == {lysine}
    assert (charges(model)[model.heavy[model.is_generic]] == 0).all()


def test_an_ion_is_an_uncharged_sphere_without_bonds() -> None:
    structure = entry("1gbt")
    ion = select(structure, structure.residue_name == "CA")
    model = amber(ion)
    assert ion.num_atoms == len(model.positions) == 1
    assert model.is_generic.all() and charges(model).tolist() == [0.0]


def test_a_strand_of_dna_has_one_charge_for_each_phosphate() -> None:
    structure = entry("1lcd")
    strand = select(structure, structure.chain_id == "B")
    phosphates = int((strand.atom_name == "P").sum())
    model = amber(strand)
    assert not model.is_generic.any()
    assert charges(model).sum() == pytest.approx(-phosphates, abs=1e-3)
