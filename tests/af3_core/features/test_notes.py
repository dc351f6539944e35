"""What a user is told of a job that runs, though it is not read as it looks."""

import datetime
from dataclasses import replace

import pytest

from af3_core.chemistry.conformers import LIMITS
from af3_core.chemistry.dictionary import Components
from af3_core.features.notes import job_notes
from af3_core.features.options import AS_PUBLISHED
from af3_core.inputs.files import read_jobs
from af3_core.job import Job
from tests.af3_core.features.feature_examples import DATA, job, ligand, protein, rna

FOREIGN = DATA / "foreign"


def notes_of(told: Job, **chosen: object) -> list[str]:
    options = replace(AS_PUBLISHED, **chosen)
    return list(job_notes(told, Components.load(told.user_ccd), options))


def test_most_jobs_need_no_note() -> None:
    assert notes_of(job(protein("MKTAYIAKQR"), rna("GGCU"), ligand("ATP"))) == []


def test_bonds_between_residues_of_polymers_are_not_told_to_the_network() -> None:
    ring = job(protein("GCALLWGC"), bonds="A.1.N-A.8.C A.2.SG-A.8.SG")
    [note] = notes_of(ring)
    assert "not told" in note and "A 1 N–A 8 C, A 2 SG–A 8 SG" in note
    assert notes_of(job(protein("GCA"), ligand("ATP"), bonds="A.2.SG-L.1.C2")) == []


def test_a_protein_of_letters_of_nucleic_acids_is_suspected() -> None:
    assert "kind=rna" in notes_of(job(protein("GGCUAGCCAGCU")))[0]
    assert notes_of(job(protein("GGCUAGCCAGCW"))) == []


@pytest.mark.parametrize(
    ("date", "told"),
    [("2021-09-30", "in one place"), ("2999-12-31", "deposited structure stand in")],
)
def test_a_component_without_ideal_coordinates_is_told_of(date, told) -> None:
    limits = replace(LIMITS, max_date=datetime.date.fromisoformat(date))
    [note] = notes_of(job(protein("GG"), ligand("FCO")), conformers=limits)
    assert note.startswith("FCO (chain L)") and told in note


def test_a_template_that_is_placed_one_residue_off_is_told_of_once() -> None:
    [shifted], _ = read_jobs(FOREIGN / "templates" / "mini_ligfirst_full.json")
    [note] = notes_of(shifted)
    assert note.startswith("Template 1 of chain A") and "the one 1 before it" in note
    assert notes_of(shifted, template_positions="own") == []
