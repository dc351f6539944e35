"""docs/input.md says what the readers do."""

import re

from af3_core.inputs.rules import MAX_NAME_LENGTH, MAX_RESIDUES
from af3_core.inputs.text import MAX_TEXT_BYTES
from tests.af3_core.inputs.input_tables import PAGE, with_tables
from tests.af3_core.inputs.job_examples import read_text

TEXT = PAGE.read_text(encoding="utf-8")


def example(section: str) -> str:
    """The first code block of a section."""
    return re.search(rf"^## {section}.*?```\w*\n(.*?)```", TEXT, re.M | re.S)[1]


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    assert with_tables(TEXT) == TEXT, "run python -m tests.af3_core.inputs.input_tables"


def test_the_examples_of_the_page_are_accepted(tmp_path) -> None:
    names = {"alphafold3 JSON": "a.json", "FASTA": "a.fasta", "CSV": "a.csv"}
    for section, name in names.items():
        jobs, errors = read_text(example(section), tmp_path, name)
        assert jobs and not errors


def test_the_limits_of_the_page_are_those_of_the_code() -> None:
    assert f"{MAX_TEXT_BYTES // 2**20} MiB" in TEXT
    assert f"{MAX_RESIDUES:,} residues" in TEXT
    assert f"longer than {MAX_NAME_LENGTH} characters" in TEXT
