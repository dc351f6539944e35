"""The `alphafoldserver` dialect, converted as AlphaFold 3 converts it."""

import json

from af3_core.job import Ligand, Modification, Polymer, write_job
from tests.af3_core.inputs.job_examples import SEQUENCE, accept, read_text, server_job


def test_copies_get_ids_one_entity_after_the_other(tmp_path) -> None:
    job = accept(
        [
            server_job(
                {"proteinChain": {"sequence": SEQUENCE, "count": 2}},
                {"dnaSequence": {"sequence": "GATTACA", "count": 1}},
                {"rnaSequence": {"sequence": "GGCU"}},
                {"ligand": {"ligand": "CCD_ATP", "count": 1}},
                {"ion": {"ion": "MG", "count": 21}},
            )
        ],
        tmp_path,
    )
    ids = [entity.ids for entity in job.entities]
    assert ids[:4] == [("A", "B"), ("C",), ("D",), ("E",)]
    assert ids[4][0] == "F" and ids[4][-2:] == ("Y", "Z")
    assert job.entities[3:] == (
        Ligand(ids=("E",), codes=("ATP",)),
        Ligand(ids=ids[4], codes=("MG",)),
    )


def test_ids_after_z_have_two_letters_the_first_changing_fastest(tmp_path) -> None:
    job = accept([server_job({"ion": {"ion": "MG", "count": 53}})], tmp_path)
    assert job.entities[0].ids[25:29] == ("Z", "AA", "BA", "CA")
    assert job.entities[0].ids[-1] == "AB"


def test_modifications_lose_the_prefix_of_the_server(tmp_path) -> None:
    changes = [{"ptmType": "CCD_SEP", "ptmPosition": 3}]
    chain = {"proteinChain": {"sequence": SEQUENCE, "modifications": changes}}
    job = accept([server_job(chain)], tmp_path)
    assert job.entities[0].modifications == (Modification("SEP", 3),)


def test_templates_can_be_declined(tmp_path) -> None:
    chain = {"proteinChain": {"sequence": SEQUENCE, "useStructureTemplate": False}}
    job = accept([server_job(chain)], tmp_path)
    assert job.entities == (
        Polymer(kind="protein", ids=("A",), sequence=SEQUENCE, templates=()),
    )


def test_seeds_may_be_numbers_or_texts_of_digits(tmp_path) -> None:
    job = accept([server_job(modelSeeds=[7, "1829452357"])], tmp_path)
    assert job.seeds == (7, 1829452357)


def test_a_job_without_seeds_always_gets_the_same_one(tmp_path) -> None:
    seeds = [
        accept([server_job(**fields)], tmp_path).seeds
        for fields in ({}, {"modelSeeds": []}, {"modelSeeds": None}, {"name": "other"})
    ]
    assert seeds[0] == seeds[1] == seeds[2] != seeds[3]
    assert len(seeds[0]) == 1 and 0 <= seeds[0][0] < 2**32


def test_one_bad_job_never_stops_the_others_in_its_list(tmp_path) -> None:
    bad = server_job({"proteinChain": {"sequence": "MK1"}})
    jobs = [server_job(name="first"), bad, 5, server_job(name="last")]
    read, errors = read_text(json.dumps(jobs), tmp_path)
    assert [job.name for job in read] == ["first", "last"]
    fields = ["[1].sequences[0].proteinChain.sequence", "[2]"]
    assert [error.field for error in errors] == fields


def test_a_server_job_is_written_in_the_other_dialect(tmp_path) -> None:
    job = accept([server_job(dialect="alphafoldserver", version=1)], tmp_path)
    assert accept(json.loads(write_job(job)), tmp_path) == job
