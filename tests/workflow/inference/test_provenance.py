"""What is recorded of where alignments come from, and of the code."""

import importlib.metadata
import json

import pytest

from af3_core.contracts import JOBS
from tests.workflow.campaigns import DATABASES, job, protein
from tests.workflow.synthetic_campaign import filled
from workflow.databases.manifest import read_manifest
from workflow.inference.provenance import code_version, source_digest
from workflow.searching.evidence import search_facts
from workflow.settings import Settings, check_settings
from workflow.step import job_of

SEQUENCE = "GSHMKNVTWYCDSEELLKS"


@pytest.fixture(scope="module")
def settings() -> Settings:
    raw = {
        "inputs": ["inputs"],
        "search": {"databases": str(DATABASES)},
        "model": {"checkpoint": "toy.bin.zst"},
    }
    return check_settings(raw, source="test")


def facts_of(settings: Settings, *entities: dict[str, object]) -> dict[str, object]:
    text = job("a", *entities)
    row = filled(JOBS, [{"source": "a.json", "json": text}])
    return search_facts(job_of(JOBS.rows(row)[0]), settings)


def test_the_version_is_known_where_foldmill_is_not_installed(monkeypatch) -> None:
    """As in an environment of conda, which has all packages but ours."""

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    expected = importlib.metadata.version("foldmill")
    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert code_version() == expected


def test_every_database_searched_is_there_with_its_digest_and_engine(settings) -> None:
    wanted = dict.fromkeys(("unpairedMsa", "pairedMsa", "templates"))
    facts = facts_of(settings, protein(SEQUENCE, **wanted))
    known = {d.name: d.digest for d in read_manifest(DATABASES) if d.role != "rna"}
    assert facts["databases"] == known
    assert facts["engines"].keys() == {"unpaired", "paired", "templates"}
    assert all("HMMER 3.4" in engine for engine in facts["engines"].values())


def test_alignments_of_the_input_are_called_so(settings) -> None:
    given = f">query\n{SEQUENCE}\n>other\n{SEQUENCE}\n"
    facts = facts_of(settings, protein(SEQUENCE, unpairedMsa=given))
    assert facts["engines"] == {"unpaired": "input"} and facts["databases"] == {}


def test_a_job_that_wants_none_names_none(settings) -> None:
    facts = facts_of(settings, protein(SEQUENCE))
    assert facts["engines"] == {} and facts["databases"] == {}
    assert json.dumps(facts)


def test_the_code_has_a_digest_that_stays() -> None:
    assert len(source_digest()) == 16
    source_digest.cache_clear()
    assert source_digest() == source_digest()
