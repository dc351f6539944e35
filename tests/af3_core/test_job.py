"""Names, ids, seeds, digests, and the writer that gives AlphaFold 3 JSON back."""

from dataclasses import replace
from pathlib import Path

import pytest

from af3_core.inputs.files import read_jobs
from af3_core.inputs.listing import find_inputs
from af3_core.job import (
    InputError,
    Job,
    Polymer,
    chain_id_at,
    content_digest,
    job_digest,
    sanitise_name,
    write_job,
)
from tests.af3_core.inputs.job_examples import DATA, SEQUENCE, read_text

CHAIN = Polymer(kind="protein", ids=("A",), sequence=SEQUENCE)
JOB = Job(name="example", seeds=(1,), entities=(CHAIN,))
REFERENCES = sorted(
    [*(DATA / "cases").glob("*.json"), *(DATA / "search_jobs").glob("*.json")]
)


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_a_written_job_reads_as_the_same_job(path, tmp_path) -> None:
    [job], errors = read_jobs(path)
    assert errors == []
    again, errors = read_text(write_job(job), tmp_path)
    assert (again, errors) == ([job], [])
    assert job_digest(again[0]) == job_digest(job)


def test_optional_values_survive_the_writer(tmp_path) -> None:
    bare = replace(CHAIN, ids=("B",), description="", templates=(), unpaired_msa="")
    job = replace(JOB, entities=(CHAIN, replace(bare, paired_msa="")), name="é ☂ x")
    assert read_text(write_job(job), tmp_path) == ([job], [])


def test_the_digest_of_a_job_changes_with_everything_it_says() -> None:
    others = [
        replace(JOB, name="other"),
        replace(JOB, seeds=(2,)),
        replace(JOB, entities=(replace(CHAIN, ids=("B",)),)),
        replace(JOB, entities=(replace(CHAIN, unpaired_msa=""),)),
        replace(JOB, entities=(replace(CHAIN, description="x"),)),
        replace(JOB, user_ccd="data_X"),
    ]
    assert len({job_digest(job) for job in [JOB, *others]}) == 7


def test_the_digest_of_the_content_forgets_name_seeds_and_descriptions() -> None:
    entities = (replace(CHAIN, description="x"),)
    same = Job(name="other", seeds=(5, 6), entities=entities)
    assert content_digest(same) == content_digest(JOB)
    other = replace(JOB, entities=(replace(CHAIN, templates=()),))
    assert content_digest(other) != content_digest(JOB)


@pytest.mark.parametrize(
    ("name", "sanitised"),
    [
        ("Hello fold", "Hello_fold"),
        ("a/b\\c:d*e", "abcde"),
        ("1.2-3_4", "1.2-3_4"),
        ("../../etc", "....etc"),
        ("été", "t"),
    ],
)
def test_names_are_sanitised_as_alphafold_3_does(name, sanitised) -> None:
    assert sanitise_name(name) == sanitised


def test_chain_ids_count_in_mmcif_order() -> None:
    ids = [chain_id_at(index) for index in (0, 25, 26, 27, 51, 52, 701, 702)]
    assert ids == ["A", "Z", "AA", "BA", "ZA", "AB", "ZZ", "AAA"]


def test_an_error_shows_a_long_value_shortened() -> None:
    error = InputError("job.json", "name", ["x" * 1000] * 1000, "a text")
    assert len(error.value) <= 80
    assert str(error).startswith("job.json: name: got ")


def test_inputs_come_in_a_fixed_order_each_once(tmp_path) -> None:
    for name in ("b.json", "a.FASTA", "c.csv", "notes.txt", ".hidden.json"):
        (tmp_path / name).touch()
    (tmp_path / "d.json").mkdir()
    files, errors = find_inputs([tmp_path / "c.csv", tmp_path])
    assert [Path(file).name for file in files] == ["c.csv", "a.FASTA", "b.json"]
    assert errors == []


def test_a_folder_without_inputs_is_an_error(tmp_path) -> None:
    files, [error] = find_inputs([tmp_path])
    assert files == [] and ".json" in error.allowed


def test_a_file_that_does_not_exist_is_an_error(tmp_path) -> None:
    jobs, [error] = read_jobs(tmp_path / "absent.json")
    assert jobs == [] and error.allowed.startswith("an existing, readable file")
