import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from af3_core.contracts import ALIGNMENTS, CHAINS
from tests.workflow.searching.search_examples import (
    DATABASES,
    GB1,
    MANIFEST,
    QUERIES,
    job_files,
)
from workflow.alignments import main
from workflow.campaign import Campaign
from workflow.needs import sequence_id
from workflow.searching.sequences import search_batch
from workflow.settings import check_settings
from workflow.store.entries import Store
from workflow.tables import read_rows, write_json, write_table

HERE = Campaign()
"""The campaign in the current folder."""

TRNA = QUERIES["trna"][:60]


def chain_row(kind: str, sequence: str, index: int) -> dict[str, object]:
    return {
        "job_id": "0" * 16,
        "entity_index": index,
        "kind": kind,
        "chain_ids": ["A"],
        "sequence_id": sequence_id(kind, sequence),
        "sequence": sequence,
        "search_unpaired": True,
        "search_paired": kind == "protein",
        "template_id": None,
    }


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A planned campaign of a protein and an RNA, in the current folder."""
    monkeypatch.chdir(tmp_path)
    raw = {
        "inputs": [],
        "search": {"databases": str(MANIFEST), "store": "store"},
        "model": {"checkpoint": "none"},
    }
    settings = check_settings(raw, source="test")
    HERE.plan.mkdir(parents=True)
    write_json(HERE.plan / "settings.json", settings.model_dump(mode="json"))
    rows = [chain_row("protein", GB1, 0), chain_row("rna", TRNA, 1)]
    write_table(HERE.plan / "chains.parquet", CHAINS, CHAINS.table(rows))
    yield tmp_path


def search_all(folder: Path) -> None:
    for database in DATABASES.values():
        if database.role in ("unpaired", "paired"):
            search_batch([GB1], database, Store(folder / "store"))
        elif database.role == "rna":
            search_batch([TRNA], database, Store(folder / "store"))


def test_files_hold_what_alphafold_holds(campaign: Path) -> None:
    search_all(campaign)
    assert main(["a3m", "msas"]) == 0
    official = json.loads(job_files("villin_gb1")[1].read_text())
    chain = official["sequences"][1]["protein"]
    name = sequence_id("protein", GB1)
    assert (campaign / f"msas/{name}.unpaired.a3m").read_text() == chain["unpairedMsa"]
    assert (campaign / f"msas/{name}.paired.a3m").read_text() == chain["pairedMsa"]
    assert len(list((campaign / "msas").iterdir())) == 3


def test_the_table_names_species_of_paired_rows(campaign: Path) -> None:
    search_all(campaign)
    assert main(["table", "alignments.parquet"]) == 0
    rows = read_rows(campaign / "alignments.parquet", ALIGNMENTS)
    paired = [row for row in rows if row.pairing == "paired"]
    assert {row.species for row in paired if row.rank > 1} >= {"ECOLI", "HUMAN"}
    assert all(not row.species for row in rows if row.rank == 1)


def test_a_search_that_is_not_finished_is_named(
    campaign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["a3m", "msas"]) == 2
    assert "run the search again" in capsys.readouterr().err
