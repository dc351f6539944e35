"""The corpus of broken inputs: each is answered with field and what is allowed."""

import csv
import shutil

import pytest

from af3_core.inputs.files import read_jobs
from af3_core.inputs.listing import find_inputs
from tests.af3_core.inputs.job_examples import DATA

BROKEN = DATA / "broken_inputs"


def expected() -> list[tuple[str, str, str]]:
    """File, field and a fragment of what is allowed, from the corpus' table."""
    with (BROKEN / "expected.tsv").open(encoding="utf-8") as lines:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [tuple(row) for row in list(rows)[1:]]


@pytest.mark.parametrize(
    ("file", "field", "allowed"), expected(), ids=[row[0] for row in expected()]
)
def test_a_broken_input_is_answered_with_field_and_remedy(file, field, allowed) -> None:
    jobs, errors = read_jobs(BROKEN / file)
    assert jobs == []
    assert errors[0].file == str(BROKEN / file)
    assert errors[0].field == field
    assert allowed in errors[0].allowed


def test_the_corpus_and_its_table_name_the_same_files() -> None:
    files = {path.name for path in BROKEN.iterdir() if path.is_file()}
    assert files - {"expected.tsv"} == {file for file, _, _ in expected()}


def test_broken_inputs_never_stop_the_good_ones_in_their_folder(tmp_path) -> None:
    shutil.copytree(BROKEN, tmp_path, dirs_exist_ok=True)
    for path in (DATA / "cases").glob("*.json"):
        shutil.copy(path, tmp_path)
    files, errors = find_inputs([tmp_path])
    read = [read_jobs(file) for file in files]
    assert errors == []
    names = [job.name for jobs, _ in read for job in jobs]
    assert sorted(names) == ["kitchen_sink", "trna_crambin", "ubq", "villin_gb1"]
    assert sum(not jobs for jobs, _ in read) == len(files) - 4
