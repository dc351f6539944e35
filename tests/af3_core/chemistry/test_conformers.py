import dataclasses
from datetime import date

import numpy as np
import pytest

from af3_core.chemistry.conformers import (
    Reference,
    draw_poses,
    embed,
    fallback_positions,
)
from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.molecules import SmilesError, smiles_component
from af3_core.features.featurise import embed_references
from tests.af3_core.features.feature_examples import featurised, recorded


def test_a_conformer_keeps_the_lengths_of_bonds() -> None:
    reference = Reference(Components.load()["TRP"])
    (pose,) = draw_poses([reference], 7)
    positions = embed(reference, pose).positions
    rows = reference.rows
    length = np.linalg.norm(positions[rows["CA"]] - positions[rows["CB"]])
    assert length == pytest.approx(1.53, abs=0.1)


def test_poses_are_rotations() -> None:
    reference = Reference(Components.load()["GLY"])
    for pose in draw_poses([reference] * 20, 3):
        np.testing.assert_allclose(
            pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-9
        )
        assert np.linalg.det(pose.rotation) == pytest.approx(1)


def test_later_residues_do_not_change_earlier_poses() -> None:
    components = Components.load()
    short = [Reference(components[c]) for c in ("ALA", "CFN", "SER")]
    first = draw_poses(short, 11)
    again = draw_poses([*short, Reference(components["ATP"])], 11)
    assert [p.conformer_seed for p in first] == [p.conformer_seed for p in again[:3]]


def test_the_same_embedding_seed_is_not_used_twice() -> None:
    poses = draw_poses([Reference(Components.load()["ALA"])] * 50, 1)
    assert len({pose.conformer_seed for pose in poses}) == 50


def test_residues_that_cannot_be_embedded_are_named() -> None:
    features, _ = featurised(recorded("smiles_unembeddable"))
    _, fallbacks = embed_references(features, Components.load(), 3)
    found = [(f.chain_id, f.residue_id, f.code, f.source) for f in fallbacks]
    assert found == [("C", 1, "LIG_C", "none"), ("D", 1, "LIG_D", "none")]


@pytest.mark.parametrize(
    ("modified", "source"),
    [(date(2020, 1, 1), "deposited"), (date(2024, 1, 1), "none"), (None, "none")],
)
def test_deposited_coordinates_stand_in_only_for_old_components(
    modified, source
) -> None:
    component = dataclasses.replace(
        Components.load()["CFN"],
        modified=modified,
        ideal_positions=np.full((9, 3), np.nan),
        deposited_positions=np.ones((9, 3)),
    )
    positions, found = fallback_positions(component)
    assert found == source
    assert (positions == (1 if source == "deposited" else 0)).all()


@pytest.mark.parametrize(
    ("code", "has_molecule"), [("ALA", True), ("CLF", False), ("UNX", False)]
)
def test_components_that_rdkit_refuses_have_no_molecule(code, has_molecule) -> None:
    reference = Reference(Components.load()[code])
    assert (reference.molecule is not None) == has_molecule
    assert set(reference.rows) == set(reference.component.atom_names)


def test_smiles_atoms_are_named_by_element_and_count() -> None:
    component = smiles_component("ClCC(=O)[O-]", "LIG")
    assert component.atom_names == ("CL1", "C1", "C2", "O1", "O2", "H1", "H2")
    assert component.charges[4] == -1


@pytest.mark.parametrize(
    ("smiles", "complaint"),
    [
        ("C1CC", "cannot read"),
        ("c1cccc1", "cannot read"),
        ("[H][H]", "no atom besides hydrogen"),
        ("C$C", "single, double, triple"),
        ("C" * 1000, "more than 999"),
    ],
)
def test_impossible_smiles_are_refused(smiles, complaint) -> None:
    with pytest.raises(SmilesError, match=complaint):
        smiles_component(smiles, "LIG")
