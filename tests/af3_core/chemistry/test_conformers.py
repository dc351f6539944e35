import dataclasses
from datetime import date

import numpy as np
import pytest

from af3_core.chemistry import conformers
from af3_core.chemistry.conformers import (
    LIMITS,
    ConformerError,
    Reference,
    draw_poses,
    embed,
    fallback_positions,
)
from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.molecules import SmilesError, smiles_component
from af3_core.features.featurise import embed_references, featurise
from tests.af3_core.features.feature_examples import (
    featurised,
    job,
    ligand,
    protein,
    recorded,
)


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
    ("code", "cut_off", "spread"),
    [
        ("FCO", date(2021, 9, 30), False),
        ("FCO", date(2999, 12, 31), True),
        ("FS4", date(1990, 1, 1), False),
        ("FS4", date(2021, 9, 30), True),
    ],
)
def test_the_date_of_templates_decides_over_deposited_coordinates(
    code, cut_off, spread
) -> None:
    features = featurise(job(protein("GG"), ligand(code)), Components())
    limits = dataclasses.replace(LIMITS, max_date=cut_off)
    positions, _ = embed_references(features, Components(), 1, limits)
    atoms = positions[features.tokens.is_ligand][
        features.reference.mask[features.tokens.is_ligand]
    ]
    assert (np.ptp(atoms, axis=0) > 0.1).all() == spread
    assert spread or len(np.unique(atoms.round(4), axis=0)) == 1


@pytest.mark.parametrize("code", ["ATP", "NAG", "RET"])
def test_large_molecules_are_embedded_apart_with_the_same_result(
    code, monkeypatch
) -> None:
    reference = Reference(Components.load()[code])
    pose = draw_poses([reference], 7)[0]
    here = embed(reference, pose).positions
    monkeypatch.setattr(conformers, "LARGE_MOLECULE", 1)
    np.testing.assert_array_equal(embed(reference, pose).positions, here)


@pytest.mark.parametrize("smiles", ["C" * 150, "C" * 600])
@pytest.mark.timeout(60)
def test_a_search_for_a_conformer_ends(smiles) -> None:
    reference = Reference(smiles_component(smiles, "LIG"), smiles)
    limits = dataclasses.replace(LIMITS, max_seconds=1)
    with pytest.raises(ConformerError, match="more than 1 s .features.conformer_sec"):
        embed(reference, draw_poses([reference], 1)[0], limits)


def test_the_number_of_attempts_may_be_limited() -> None:
    reference = Reference(smiles_component("CC(C)(C)" * 7, "LIG"), "CC(C)(C)" * 7)
    pose = draw_poses([reference], 1)[0]
    assert embed(reference, pose).source == "ETKDGv3"
    limits = dataclasses.replace(LIMITS, max_iterations=1)
    assert embed(reference, pose, limits).source == "none"


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
