from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from af3_core.chemistry.dictionary import Components
from af3_core.features.assembly import ChemistryError
from af3_core.features.featurise import count_tokens, featurise, reference_positions
from af3_core.features.options import AS_PUBLISHED
from af3_core.features.values import Features
from af3_core.job import write_job
from tests.af3_core.features.feature_examples import (
    CASES,
    RECORDED,
    case,
    featurised,
    job,
    ligand,
    protein,
    read_job,
    recorded,
    rna,
    smiles,
)

ALL_JOBS = [*map(case, CASES), *map(recorded, RECORDED)]


@pytest.mark.parametrize("name", RECORDED)
def test_features_of_every_kind_of_entity_equal_those_of_alphafold3(name) -> None:
    features, positions = featurised(recorded(name))
    with np.load(recorded(name).with_suffix(".npz")) as expected:
        for key, values in _by_alphafold3_name(features).items():
            np.testing.assert_array_equal(values, expected[key], err_msg=key)
        np.testing.assert_allclose(positions, expected["ref_pos"], atol=1e-5)


def _by_alphafold3_name(features: Features) -> dict[str, np.ndarray]:
    tokens, reference, atoms = features.tokens, features.reference, features.atoms
    same = "residue_index asym_id entity_id sym_id is_protein is_rna is_dna is_ligand"
    chain_ids = [features.chains.chain_id[i] for i in atoms.chain_index]
    labels = zip(
        chain_ids, atoms.residue_id, atoms.residue_name, atoms.atom_name, strict=True
    )
    first_slots = np.arange(features.num_tokens) * 24
    return {
        **{name: getattr(tokens, name) for name in same.split()},
        "aatype": tokens.residue_type,
        "ref_mask": reference.mask,
        "ref_element": reference.element,
        "ref_charge": reference.charge,
        "ref_atom_name_chars": reference.atom_name_chars,
        "ref_space_uid": reference.space_uid,
        "pred_dense_atom_mask": features.atom_mask,
        "residue_center_index": features.centre_slot,
        "frames_mask": features.frames_mask,
        "pseudo_beta": first_slots + features.pseudo_beta_slot,
        "polymer_ligand_bonds": features.polymer_ligand_bonds,
        "ligand_ligand_bonds": features.ligand_ligand_bonds,
        "atoms": np.array([f"{c} {i} {r} {a}" for c, i, r, a in labels]),
    }


@pytest.mark.parametrize("path", ALL_JOBS, ids=lambda path: path.stem)
def test_tokens_are_counted_as_they_are_made(path) -> None:
    counted = count_tokens(read_job(path), Components.load(read_job(path).user_ccd))
    assert counted == featurised(path)[0].num_tokens


@pytest.mark.parametrize("path", ALL_JOBS, ids=lambda path: path.stem)
def test_a_job_written_and_read_again_has_the_same_features(path, tmp_path) -> None:
    copy = tmp_path / "copy.json"
    copy.write_text(write_job(read_job(path)), encoding="utf-8")
    features, positions = featurised(path)
    again, positions_again = featurised(copy)
    assert again.to_rows() == features.to_rows()
    np.testing.assert_array_equal(positions_again, positions)


@given(st.text("ACDEFGHIKLMNPQRSTVWYX", min_size=1, max_size=30))
@settings(max_examples=20, deadline=None)
def test_plain_proteins_have_a_token_per_residue(sequence) -> None:
    sequence += "G"
    assert count_tokens(job(protein(sequence)), Components()) == len(sequence)


@pytest.mark.parametrize("name", ["villin_gb1", "kitchen_sink"])
def test_features_survive_being_stored(name) -> None:
    features = featurised(case(name))[0]
    rows = features.to_rows()
    assert Features.from_rows(rows).to_rows() == rows


def test_stored_features_with_a_missing_array_are_refused() -> None:
    rows = featurised(case("ubiquitin"))[0].to_rows()
    kept = [row for row in rows if row.array != "msa.profile"]
    with pytest.raises(ValueError, match="lack the array msa.profile"):
        Features.from_rows(kept)


def test_stored_features_with_an_unknown_array_are_refused() -> None:
    rows = featurised(case("ubiquitin"))[0].to_rows()
    with pytest.raises(ValueError, match="unknown arrays: extra"):
        Features.from_rows([*rows, replace(rows[0], array="extra")])


def test_conformers_do_not_depend_on_the_number_of_threads() -> None:
    features, positions = featurised(case("ubiquitin"))
    again = reference_positions(features, Components(), 42, threads=2)
    np.testing.assert_array_equal(again, positions)


def test_another_seed_gives_other_conformers() -> None:
    features, positions = featurised(recorded("copies"))
    other = reference_positions(features, Components(), 48)
    assert (other != positions)[features.atom_mask].any(axis=-1).all()


def test_a_modified_residue_is_split_into_its_atoms() -> None:
    features = featurise(job(protein("GSG", at_2="SEP")), Components())
    names = [f.strip() for f in _token_names(features)]
    assert names == ["CA", *"N CA CB OG C O P O1P O2P O3P".split(), "CA"]


def _token_names(features: Features) -> list[str]:
    atoms = features.atoms
    at = dict(
        zip(
            zip(atoms.token_index, atoms.slot, strict=True),
            atoms.atom_name,
            strict=True,
        )
    )
    return [at[token, slot] for token, slot in enumerate(features.centre_slot)]


def test_selenomethionine_stays_one_token() -> None:
    assert count_tokens(job(protein("GMG", at_2="MSE")), Components()) == 3


def test_a_smiles_ligand_is_its_own_entity_in_every_copy() -> None:
    features = featurise(job(protein("GG"), smiles("CCO", "ST")), Components())
    assert features.chains.entity_id == (1, 2, 3)


def test_copies_of_a_chain_share_an_entity() -> None:
    features = featurise(job(protein("GG", "AB"), ligand("MG", ids="CD")), Components())
    assert features.chains.entity_id == (1, 1, 2, 2)
    assert features.chains.sym_id == (1, 2, 1, 2)


def test_a_chain_without_alignment_is_refused() -> None:
    unsearched = protein("MKV").__class__("protein", ("A",), "MKV")
    with pytest.raises(ValueError, match="chain A has no unpaired MSA"):
        featurise(job(unsearched), Components())


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (job(ligand("NO-SUCH")), "no component 'NO-SUCH'"),
        (job(protein("XXX")), "nothing can be predicted"),
        (job(protein("MK"), ligand("MG"), bonds="A.1.CX-L.1.MG"), "no atom 'CX'"),
        (job(protein("MK"), ligand("MG"), bonds="A.7.CA-L.1.MG"), "no residue 7"),
        (job(rna("ACG"), ligand("MG"), bonds="R.2.OP3-L.1.MG"), "not predicted"),
        (job(smiles("CCO"), ligand("MG"), bonds="S.1.C9-L.1.MG"), "not predicted"),
        (job(smiles("C1CC")), "SMILES of chain S cannot be used"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_impossible_chemistry_is_refused(broken, complaint) -> None:
    with pytest.raises(ChemistryError, match=complaint):
        count_tokens(broken, Components())


FREE_SUGARS = replace(AS_PUBLISHED, fix_standalone_glycans=True)


@pytest.mark.parametrize(
    ("bonds", "published", "fixed"),
    [
        ("", (14, 14), (15, 15)),
        ("A.1.ND2-L.1.C1", (14, 14), (14, 15)),
        ("A.1.ND2-L.1.C1 L.1.O4-M.1.C1", (14, 14), (14, 14)),
        ("L.1.O1-M.1.C1", (15, 14), (15, 14)),
    ],
)
def test_sugars_that_are_bonded_to_nothing_may_keep_o1(bonds, published, fixed) -> None:
    sugars = job(protein("NG"), ligand("NAG", ids="LM"), bonds=bonds)
    for options, wanted in ((AS_PUBLISHED, published), (FREE_SUGARS, fixed)):
        tokens = featurise(sugars, Components(), options).tokens
        found = tuple(int((tokens.asym_id == i).sum()) for i in (2, 3))
        assert found == wanted
        assert count_tokens(sugars, Components(), options) == 2 + sum(wanted)
