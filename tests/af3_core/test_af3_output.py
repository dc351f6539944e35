import json
from dataclasses import replace

import numpy as np
import pytest

from af3_core.af3_output import (
    best_output_names,
    distogram_name,
    embeddings_name,
    format_confidences,
    format_ranking_scores,
    format_summary,
    output_names,
    plddt_hundredths,
    summary_confidences,
)
from tests.af3_core.output_examples import predicted

SUMMARY_KEYS = [
    "chain_ids",
    "chain_iptm",
    "chain_pair_iptm",
    "chain_pair_pae_min",
    "chain_ptm",
    "fraction_disordered",
    "has_clash",
    "iptm",
    "ptm",
    "ranking_score",
]
CONFIDENCE_KEYS = [
    "atom_chain_ids",
    "atom_plddts",
    "contact_probs",
    "pae",
    "token_chain_ids",
    "token_res_ids",
]


def test_files_are_named_as_by_alphafold3() -> None:
    names = output_names("hello_fold", 1234, 0)
    assert names.folder == "seed-1234_sample-0"
    assert names.model == ("seed-1234_sample-0/hello_fold_seed-1234_sample-0_model.cif")
    assert best_output_names("x").summary == "x_summary_confidences.json"
    assert embeddings_name("x", 3) == "seed-3_embeddings/x_seed-3_embeddings.npz"
    assert distogram_name("x", 3) == "seed-3_distogram/x_seed-3_distogram.npz"


def test_the_summary_has_alphafold3s_keys_and_rounding() -> None:
    example = predicted("ubiquitin")
    summary = json.loads(format_summary(summary_confidences(example.row, ["A"])))
    assert list(summary) == SUMMARY_KEYS
    assert summary["ranking_score"] == 0.79
    assert summary["fraction_disordered"] == 0.0
    assert summary["has_clash"] == 1.0


def test_what_is_undefined_is_null_in_the_summary() -> None:
    example = predicted("ubiquitin")
    text = format_summary(summary_confidences(example.row, ["A"]))
    assert '\n "iptm": null,\n' in text
    assert '\n "chain_iptm": [\n  null\n ],\n' in text


def test_chain_arrays_have_a_row_per_chain() -> None:
    example = predicted("kitchen_sink")
    summary = summary_confidences(example.row, example.features.chains.chain_id)
    assert summary["chain_ids"] == list("ABCDEFGHI")
    assert np.shape(summary["chain_pair_iptm"]) == (9, 9)
    assert np.shape(summary["chain_ptm"]) == (9,)


def test_confidences_are_those_of_the_table() -> None:
    example = predicted("kitchen_sink")
    features = example.features
    confidences = json.loads(format_confidences(example.row, features))
    assert list(confidences) == CONFIDENCE_KEYS
    n = features.num_tokens
    pae = np.reshape(example.row.pae, (n, n)) / 10
    np.testing.assert_allclose(confidences["pae"], pae, atol=1e-9)
    contacts = np.reshape(example.row.contact_probs, (n, n)) / 100
    np.testing.assert_allclose(confidences["contact_probs"], contacts, atol=1e-9)
    np.testing.assert_allclose(confidences["atom_plddts"], example.plddt, atol=0.011)
    assert confidences["token_res_ids"] == features.tokens.residue_index.tolist()
    assert confidences["atom_chain_ids"] == example.structure.chain_id.tolist()


def test_numbers_are_written_as_by_alphafold3() -> None:
    example = predicted("ubiquitin")
    n, num_atoms = example.features.num_tokens, len(example.plddt)
    row = replace(
        example.row,
        pae=np.resize(np.array([0, 53, 243, 317], np.uint16), n * n),
        contact_probs=np.resize(np.array([0, 7, 10, 100], np.uint8), n * n),
        atom_plddt=np.resize([0.0, 6.9, 87.304, 100.0], num_atoms),
    )
    text = format_confidences(row, example.features)
    assert '\n  "pae": [[0.0,5.3,24.3,31.7,' in text
    assert '\n  "contact_probs": [[0.0,0.07,0.1,1.0,' in text
    assert '\n  "atom_plddts": [0.0,6.9,87.3,99.99,' in text


def test_halves_of_plddt_round_up() -> None:
    assert plddt_hundredths(np.array([0.125, 50.375])).tolist() == [13, 5038]


def test_arrays_of_another_job_are_refused() -> None:
    row = predicted("ubiquitin").row
    with pytest.raises(ValueError, match="column pae has 5776 values"):
        format_confidences(row, predicted("kitchen_sink").features)


def test_ranking_scores_are_a_csv_with_a_header() -> None:
    text = format_ranking_scores([(1, 0, 0.5), (1, 1, -99.25)])
    assert text.split("\r\n") == [
        "seed,sample,ranking_score",
        "1,0,0.5",
        "1,1,-99.25",
        "",
    ]
