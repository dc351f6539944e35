from pathlib import Path

import pytest

from af3_core.training.jobs import job_for
from tests.af3_core.training.known import text_of

STRUCTURES = Path(__file__).resolve().parents[2] / "data/structures"


def test_every_chain_becomes_an_entity() -> None:
    job = job_for(text_of("lac_repressor_dna"), "lac", (1, 2))
    assert job["modelSeeds"] == [1, 2]
    protein, *strands = job["sequences"]
    assert protein["protein"]["sequence"].startswith("MKPVTLYDVAEYAGVSYQTVSRVV")
    assert [s["dna"]["sequence"] for s in strands] == ["AATTGTGAGCG", "CGCTCACAATT"]


def test_ligands_are_named_by_their_component() -> None:
    job = job_for(text_of("trypsin_inhibitor"), "bpti", (1,))
    assert job["sequences"][1] == {"ligand": {"id": "B", "ccdCodes": ["PO4"]}}


def test_modified_nucleotides_are_stated() -> None:
    text = (STRUCTURES / "1ehz.cif").read_text(encoding="utf-8")
    rna = job_for(text, "trna", (1,))["sequences"][0]["rna"]
    assert rna["sequence"].startswith("GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGAC")
    assert {"modificationType": "PSU", "basePosition": 39} in rna["modifications"]


def test_nothing_is_searched_where_that_is_asked() -> None:
    job = job_for(text_of("crambin"), "crambin", (1,), search=False)
    entity = job["sequences"][0]["protein"]
    assert (entity["unpairedMsa"], entity["pairedMsa"], entity["templates"]) == (
        ("", "", [])
    )


def test_text_that_is_no_structure_is_refused() -> None:
    with pytest.raises(ValueError, match="notes: no coordinates"):
        job_for("some prose", "notes", (1,))
