"""PoseBusters' checks on a crystal ligand and on spoiled copies of it."""

from pathlib import Path

import numpy as np
import pytest
from posebusters import PoseBusters
from rdkit import Chem

from af3_core.chemistry.dictionary import Components
from af3_core.scores.ligand_validity import (
    check_ligands,
    ligand_molecule,
    validity_columns,
)
from af3_core.structures.covalent import covalent_geometry
from af3_core.structures.structure import Chemistry, Structure, moved, select
from tests.oracles.dockq_scores import pdb_text
from tests.structures import entry, shaken

CHEMISTRY = Chemistry(Components.load())


def displaced(shift: float) -> Structure:
    """The complex with its ligand moved along x, Å."""
    structure = entry("4cup")
    ligand = structure.kind == "ligand"
    step = np.where(ligand[:, None], [shift, 0.0, 0.0], 0.0)
    return moved(structure, structure.positions + step)


def test_a_crystal_ligand_passes() -> None:
    (found,) = check_ligands(entry("4cup"), CHEMISTRY).values()
    assert (found.passes, found.failed, found.chirality_errors) == (True, (), 0)


@pytest.mark.parametrize(
    ("structure", "failed"),
    [
        (displaced(3.0), {"minimum_distance_to_protein"}),
        (displaced(60.0), {"protein-ligand_maximum_distance"}),
        (shaken(entry("4cup"), 0.3), {"bond_lengths", "aromatic_ring_flatness"}),
    ],
    ids=["in the wall", "far away", "shaken"],
)
def test_spoiled_ligands_fail_by_name(structure: Structure, failed: set[str]) -> None:
    (found,) = check_ligands(structure, CHEMISTRY).values()
    assert found.passes is False and failed <= set(found.failed)


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_files_give_posebusters_the_same_answers(shift: float, tmp_path: Path) -> None:
    structure = displaced(shift)
    mask = structure.kind == "ligand"
    ligand = select(structure, mask)
    geometry = covalent_geometry(ligand, CHEMISTRY)
    with Chem.SDWriter(str(tmp_path / "ligand.sdf")) as writer:
        writer.write(ligand_molecule(ligand, geometry, CHEMISTRY))
    (tmp_path / "protein.pdb").write_text(pdb_text(select(structure, ~mask)))
    table = PoseBusters("dock").bust(
        [tmp_path / "ligand.sdf"], None, tmp_path / "protein.pdb"
    )
    expected = [name for name, passes in table.iloc[0].items() if not passes]
    (found,) = check_ligands(structure, CHEMISTRY).values()
    assert list(found.failed) == expected


def test_molecules_that_flew_apart_fail_at_once() -> None:
    structure = entry("4cup")
    random = np.random.default_rng(0).normal(size=structure.positions.shape)
    (found,) = check_ligands(moved(structure, 1e3 * random), CHEMISTRY).values()
    assert found.failed == ("bond_lengths",)


def test_what_cannot_be_checked_says_why() -> None:
    (found,) = check_ligands(entry("1gbt"), CHEMISTRY).values()
    assert found.passes is None
    assert found.reason == "its atoms are not those of its component"


def test_columns_count_what_was_checked() -> None:
    columns = validity_columns(
        check_ligands(entry("4cup"), CHEMISTRY)
        | {"Z": check_ligands(entry("1gbt"), CHEMISTRY)["E"]}
    )
    assert (columns["ligands_checked"], columns["ligands_valid"]) == (1, 1)


def test_a_ligand_is_checked_without_any_surroundings() -> None:
    structure = entry("4cup")
    alone = select(structure, structure.kind == "ligand")
    (found,) = check_ligands(alone, CHEMISTRY).values()
    assert found.passes is True


def test_polymers_and_ions_are_no_ligands() -> None:
    assert check_ligands(entry("1ehz"), CHEMISTRY) == {}
