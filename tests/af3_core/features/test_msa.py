import numpy as np
import pytest

from af3_core.features.msa import MsaArrays, msa_features, pair_rows
from af3_core.msa import GAP, encode_sequence
from tests.af3_core.templates.chain_examples import (
    CASE_NAMES,
    a3m,
    case_arrays,
    case_chains,
    ligand,
    polymer,
    uniprot,
)


@pytest.mark.parametrize("name", CASE_NAMES)
def test_features_equal_those_of_alphafold3(name) -> None:
    features, expected = msa_features(case_chains(name)), case_arrays(name)
    np.testing.assert_array_equal(features.rows, expected["rows"])
    np.testing.assert_array_equal(features.deletion_matrix, expected["deletion_matrix"])
    np.testing.assert_allclose(features.profile, expected["profile"], atol=1e-6)
    np.testing.assert_allclose(
        features.deletion_mean, expected["deletion_mean"], atol=1e-6
    )


def test_without_alignments_the_query_stands_twice() -> None:
    features = msa_features([polymer("MKTAYIAK")])
    query = encode_sequence("MKTAYIAK", "protein")
    np.testing.assert_array_equal(features.rows, [query, query])


def test_a_ligand_alone_has_one_row_of_gaps() -> None:
    features = msa_features([ligand(3)])
    np.testing.assert_array_equal(features.rows, [[GAP] * 3])
    assert features.profile[:, GAP].tolist() == [1, 1, 1]


def test_dna_and_short_chains_stand_alone_in_their_alignment() -> None:
    other = a3m(("query", "MKTA"), ("hit", "MKTC"))
    chains = [polymer("MKTA", unpaired=other), polymer("ACGTA", kind="dna")]
    assert len(msa_features(chains).rows) == 2


def test_copies_of_one_protein_are_not_paired() -> None:
    paired = a3m(("query", "MKTAYI"), (uniprot("HUMAN"), "MKTAYC"))
    chains = [polymer("MKTAYI", chain_id=c, paired=paired) for c in "AB"]
    assert len(msa_features(chains).rows) == 2


def heteromer(**changes: bool) -> MsaArrays:
    first = a3m(
        ("query", "MKTAYI"), (uniprot("HUMAN"), "MKTAYC"), (uniprot("MOUSE"), "MKTAYD")
    )
    second = a3m(("query", "GGSGGS"), (uniprot("MOUSE"), "GGSGGA"))
    own = a3m(("query", "MKTAYI"), ("hit", "MKTAYD"), ("hit", "MKTcAYE"))
    return msa_features(
        [
            polymer("MKTAYI", unpaired=own, paired=first),
            polymer("GGSGGS", chain_id="B", paired=second),
        ],
        **changes,
    )


def test_sequences_of_one_species_share_a_row() -> None:
    rows = heteromer().rows
    paired = encode_sequence("MKTAYDGGSGGA", "protein")
    np.testing.assert_array_equal(rows[1], paired)


def test_unpaired_rows_that_are_paired_are_dropped() -> None:
    rows = heteromer().rows
    own = encode_sequence("MKTAYE" + "-" * 6, "protein")
    assert len(rows) == 3
    np.testing.assert_array_equal(rows[2], own)


def test_overlaps_stay_where_they_are_wanted() -> None:
    assert len(heteromer(resolve_overlaps=False).rows) == 2 + 3


def test_dropped_rows_still_count_in_the_profile() -> None:
    features = heteromer()
    np.testing.assert_allclose(features.profile[5, [9, 3, 6]], 1 / 3, atol=1e-6)
    np.testing.assert_allclose(features.deletion_mean[3], 1 / 3, atol=1e-6)


def variants(query: str, number: int) -> list[str]:
    letters = "ACDEFGHIKLMNPQRSTVWY"
    return [query[:-2] + letters[i // 20] + letters[i % 20] for i in range(number)]


def deep_heteromer(max_rows: int) -> MsaArrays:
    chains = []
    for chain_id, query, depth in (("A", "MKTAYM", 30), ("B", "GGSSGG", 20)):
        headers = [uniprot("HUMAN", i) for i in range(depth)]
        pairs = zip(headers, variants(query[::-1], depth), strict=True)
        unpaired = a3m(("q", query), *(("h", s) for s in variants(query, 40)))
        paired = a3m(("q", query), *pairs)
        chains.append(
            polymer(query, chain_id=chain_id, unpaired=unpaired, paired=paired)
        )
    return msa_features(chains, max_rows=max_rows)


@pytest.mark.parametrize(("max_rows", "rows"), [(16, 16), (41, 41), (1000, 21 + 40)])
def test_at_most_half_of_the_rows_are_paired(max_rows, rows) -> None:
    features = deep_heteromer(max_rows)
    is_paired = (features.rows[:, 6:] != GAP).all(axis=1)
    assert len(features.rows) == rows
    assert is_paired[: min(21, max_rows // 2)].all()


def species(*names: str) -> np.ndarray:
    return np.array(names, object)


def test_a_species_is_cut_to_its_least_depth() -> None:
    rows = pair_rows([species("", "X", "X", "X"), species("", "X", "X")], 99, 600)
    assert rows.tolist() == [[0, 0], [1, 1], [2, 2]]


def test_no_species_takes_more_rows_than_allowed() -> None:
    many = species("", *["X"] * 9)
    assert len(pair_rows([many, many], 99, 4)) == 1 + 4


def test_species_of_more_chains_come_first() -> None:
    chains = [species("", "X", "Y"), species("", "X", "Y"), species("", "Y")]
    assert pair_rows(chains, 99, 600).tolist() == [[0, 0, 0], [2, 2, 1], [1, 1, -1]]


def test_a_species_of_one_chain_is_not_paired() -> None:
    assert len(pair_rows([species("", "X"), species("", "Y")], 99, 600)) == 1


def test_an_alignment_of_another_query_is_refused() -> None:
    chain = polymer("MKTAYI", chain_id="C", unpaired=a3m(("query", "MKTAYW")))
    with pytest.raises(ValueError, match="unpaired MSA of chain C .* first row"):
        msa_features([chain])


def test_letters_of_one_class_pass_for_the_query() -> None:
    chain = polymer("MKTAYC", unpaired=a3m(("query", "MKTAYU")))
    assert len(msa_features([chain]).rows) == 2


def test_tokens_of_a_modified_residue_share_its_column() -> None:
    (chain, *_) = case_chains("kitchen_sink")
    profile = msa_features([chain]).profile
    tokens = np.flatnonzero(chain.token_columns == 12)
    assert len(tokens) > 1
    assert (profile[tokens] == profile[tokens[0]]).all()
