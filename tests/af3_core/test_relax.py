"""Relaxation of real structures, perturbed; takes about half a minute."""

import numpy as np
import pytest

from af3_core.chemistry import Components
from af3_core.contracts import RELAXED
from af3_core.relax import Faults, relax, relaxed_columns
from af3_core.structure import Chemistry, Structure, moved
from tests.structures import protein

CHEMISTRY = Chemistry(Components.load())
NO_FAULTS = Faults(clashes=0, bonds=0, angles=0, chirality=0)


def shaken(structure, size, seed=1) -> Structure:
    """The structure with normal noise on every coordinate, Å."""
    noise = np.random.default_rng(seed).normal(
        scale=size, size=(structure.num_atoms, 3)
    )
    return moved(structure, structure.positions + noise)


@pytest.mark.parametrize("entry", ["1ubi", "1ejg", "1vii"])
def test_perturbed_proteins_lose_all_faults_and_stay_near(entry) -> None:
    structure = shaken(protein(entry), 0.2)
    found = relax(structure, CHEMISTRY)
    assert found.before.clashes + found.before.bonds > 50
    assert (found.status, found.after) == ("relaxed", NO_FAULTS)
    assert found.rmsd < 0.5
    assert found.energy_after < found.energy_before
    assert found.seconds < 60


def test_a_good_structure_hardly_moves() -> None:
    found = relax(protein("1ubi"), CHEMISTRY)
    assert found.status == "relaxed" and found.rmsd < 0.25


@pytest.mark.parametrize("spread", [0.0, 2.0, 30.0])
def test_coordinates_that_are_no_structure_are_refused_at_once(spread) -> None:
    structure = protein("1ubi")
    random = np.random.default_rng(0).normal(size=(structure.num_atoms, 3))
    found = relax(moved(structure, spread * random), CHEMISTRY)
    assert found.status == "refused" and "bonds are off" in found.reason
    assert found.positions is None and found.seconds < 20


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_coordinates_that_are_not_numbers_are_refused(value) -> None:
    structure = protein("1vii")
    structure.positions[7, 2] = value
    found = relax(structure, CHEMISTRY)
    assert (found.status, found.before) == ("refused", None)
    assert "1 atoms have coordinates that are not finite" in found.reason


def test_time_that_is_up_is_said() -> None:
    found = relax(shaken(protein("1ubi"), 0.25), CHEMISTRY, max_seconds=0.0)
    assert found.status == "not_converged" and found.reason.startswith("time was up")


def test_outcomes_fit_the_contract() -> None:
    structure = protein("1vii")
    key = {"job_id": "0" * 16, "seed": 1}
    refused = relax(moved(structure, 0 * structure.positions), CHEMISTRY)
    relaxed = relax(structure, CHEMISTRY)
    rows = [
        key | {"sample": i} | relaxed_columns(found)
        for i, found in enumerate([refused, relaxed])
    ]
    RELAXED.check(RELAXED.table(rows), where="memory")
