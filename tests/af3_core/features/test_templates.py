import dataclasses

import numpy as np
import pytest

from af3_core.features.templates import align_template, template_features
from af3_core.job import Template
from af3_core.msa import GAP
from tests.af3_core.mmcif_examples import backbone, template_mmcif
from tests.af3_core.templates.chain_examples import (
    CASE_NAMES,
    case_arrays,
    case_chains,
    ligand,
    polymer,
)

ATOMS = [*backbone("ALA", 1, "CB"), *backbone("SEP", 2, "CB", "OG", "P")]
MMCIF = template_mmcif(ATOMS)


def template(query: tuple[int, ...], indices: tuple[int, ...]) -> Template:
    return Template(MMCIF, query, indices)


@pytest.mark.parametrize("name", CASE_NAMES)
def test_features_equal_those_of_alphafold3(name: str) -> None:
    features, expected = template_features(case_chains(name)), case_arrays(name)
    np.testing.assert_array_equal(features.residue_type, expected["residue_type"])
    np.testing.assert_array_equal(features.atom_mask, expected["atom_mask"])
    np.testing.assert_allclose(
        features.atom_positions, expected["atom_positions"], atol=1e-5
    )


def test_atoms_stand_in_the_slots_of_their_residue() -> None:
    aligned = align_template(template((3,), (1,)), 5)
    assert aligned.residue_type[0].tolist() == [GAP, GAP, GAP, 15, GAP]
    x = aligned.atom_positions[0, 3, :, 0]
    assert x[:6].tolist() == [5, 6, 7, 8, 9, 10]


def test_slots_without_an_atom_repeat_the_nitrogen() -> None:
    aligned = align_template(template((0,), (0,)), 1)
    assert aligned.atom_mask.all()
    assert (aligned.atom_positions[0, 0, 5:, 0] == 0).all()


def test_of_two_residues_for_one_the_last_is_taken() -> None:
    assert align_template(template((0, 0), (0, 1)), 1).residue_type.tolist() == [[15]]


def test_chains_without_templates_are_zero() -> None:
    features = template_features(
        [polymer("MKTAYI"), polymer("ACGUA", kind="rna"), ligand(2)]
    )
    assert features.residue_type.shape == (4, 13)
    assert not features.residue_type.any()
    assert not features.atom_mask.any()


def test_at_most_four_templates_are_used() -> None:
    many = tuple(template((i,), (0,)) for i in range(5))
    features = template_features([polymer("MKTAYI", templates=many)])
    assert features.atom_mask.any(axis=(1, 2)).tolist() == [True] * 4
    assert not features.atom_mask[:, 4].any()


def test_a_chain_of_four_tokens_takes_no_template() -> None:
    chain = polymer("MKTA", templates=(template((0,), (0,)),))
    assert not template_features([chain]).atom_mask.any()


def test_chains_of_equal_residues_share_the_first_ones_templates() -> None:
    chains = [
        polymer("MKTAYI", templates=(template((1,), (0,)),)),
        polymer("MKTAYI", chain_id="B", templates=(template((2,), (1,)),)),
    ]
    features = template_features(chains)
    np.testing.assert_array_equal(
        features.residue_type[:, :6], features.residue_type[:, 6:]
    )


def test_behind_a_modified_nucleic_acid_templates_are_shifted_as_published() -> None:
    rna = polymer("ACGUA", chain_id="R", kind="rna")
    modified = dataclasses.replace(
        rna,
        token_columns=np.array([0, 1, 2, 2, 2, 3, 4]),
        token_residue_names=("A", "C", "2MG", "2MG", "2MG", "U", "A"),
    )
    protein = polymer("MKTAYI", templates=(template((0,), (0,)),))
    plain = template_features([rna, protein]).atom_mask[0].any(axis=1)
    shifted = template_features([modified, protein]).atom_mask[0].any(axis=1)
    assert np.flatnonzero(plain).tolist() == [5 + 0]
    assert np.flatnonzero(shifted).tolist() == [7 + 2]


@pytest.mark.parametrize(
    ("query", "indices", "reason"),
    [
        ((0, 6), (0, 1), "query index 6 is not among the 6 residues"),
        ((0, -1), (0, 1), "query index -1"),
        ((0, 1), (0, 2), "template index 2 is not among the 2 residues"),
        ((0, 1), (0,), "2 query indices stand against 1"),
    ],
)
def test_an_index_out_of_range_names_chain_and_template(
    query: tuple[int, ...], indices: tuple[int, ...], reason: str
) -> None:
    chain = polymer("MKTAYI", templates=(template(query, indices),))
    with pytest.raises(ValueError, match=f"template 1 of chain A .* TEST: {reason}"):
        template_features([chain])
