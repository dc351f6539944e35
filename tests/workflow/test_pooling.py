"""Rows of different engines are not pooled without a warning."""

import json
from pathlib import Path

import pytest

from af3_core.contracts import PREDICTIONS, PROVENANCE, SCORES, ProvenanceRow
from tests.workflow.synthetic_campaign import THREE_JOBS, filled, write_campaign
from workflow.campaign import Campaign
from workflow.engine.items import Item
from workflow.pooling import mixtures, mixtures_of, provenance_of
from workflow.query import ask, main
from workflow.tables import write_table

JACKHMMER = {"unpaired": "jackhmmer (HMMER 3.4)", "paired": "jackhmmer (HMMER 3.4)"}


def row(job: str, **facts: object) -> ProvenanceRow:
    """A row of provenance."""
    base = {
        "job_id": job,
        "seed": 1,
        "weights": "a" * 64,
        "network": "{}",
        "precision": "bfloat16",
        "backends": "{}",
        "foldmill": "1",
        "search_profile": "paper",
        "search_engines": json.dumps(JACKHMMER),
        "databases": json.dumps({"uniref90": "1" * 64}),
    }
    table = filled(PROVENANCE, [{**base, **facts}])
    return PROVENANCE.rows(table)[0]


def test_rows_of_one_engine_may_be_pooled() -> None:
    assert mixtures_of([row("a"), row("b")]) == []


def test_another_search_engine_is_named_with_its_role_and_count() -> None:
    mmseqs = json.dumps({"unpaired": "mmseqs (MMseqs2 18)"})
    (sentence,) = mixtures_of([row("a"), row("b"), row("c", search_engines=mmseqs)])
    assert sentence == (
        "2 different search engines for unpaired alignments: jackhmmer (HMMER 3.4)"
        " (2 predictions), mmseqs (MMseqs2 18) (1 predictions)"
    )


def test_a_job_with_nothing_to_search_differs_from_none() -> None:
    given = row("b", search_engines=json.dumps({"unpaired": "input"}), databases="{}")
    rna = row("c", search_engines=json.dumps({"rna": "nhmmer"}), databases="{}")
    assert mixtures_of([row("a"), given, rna]) == []


@pytest.mark.parametrize(
    ("column", "value", "word"),
    [
        ("weights", "b" * 64, "weights"),
        ("precision", "float32", "precisions"),
        ("search_profile", "server", "search profiles"),
        ("databases", json.dumps({"uniref90": "2" * 64}), "database uniref90"),
        ("backends", '{"attention": ["triton"]}', "kernel backends"),
    ],
)
def test_whatever_shifts_confidences_is_told(column, value, word) -> None:
    (sentence,) = mixtures_of([row("a"), row("b", **{column: value})])
    assert word in sentence


def test_items_that_stopped_recycling_at_different_passes_may_be_pooled(
    tmp_path: Path,
) -> None:
    facts = {
        **dict.fromkeys((c.name for c in PROVENANCE.columns), "x"),
        **{"backends": {}, "bucket": 256, "search": {"engines": {}, "databases": {}}},
        **{"max_recycles": 10, "recycle_tolerance": 0.1, "noise_buckets": "3.0.5"},
        **{"num_diffusion_steps": 200, "num_samples": 5},
    }
    items = []
    for number, name in enumerate(("a.1", "b.1")):
        provenance = json.dumps({**facts, "num_recycles": 3 + number})
        given = {"job_id": name[0], "seed": 1, "provenance": provenance}
        path = tmp_path / f"{name}.parquet"
        write_table(path, PREDICTIONS, filled(PREDICTIONS, [given]), made_from="x")
        items.append(Item(name, name[0], path, PREDICTIONS, "x"))
    rows = PROVENANCE.rows(provenance_of(items))
    assert len(rows) == 2
    assert mixtures_of(rows) == []
    assert json.loads(rows[0].network)["recycle_tolerance"] == 0.1


def campaign(folder: Path, **facts: object) -> Path:
    """A campaign whose predictions all have these facts."""
    write_campaign(folder / "results", THREE_JOBS)
    rows = [row(job.job_id, **facts) for job in THREE_JOBS]
    path = folder / "results/tables/provenance.parquet"
    write_table(path, PROVENANCE, PROVENANCE.table(rows))
    return folder


def test_a_question_to_two_campaigns_is_answered_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mmseqs = json.dumps({"unpaired": "mmseqs (MMseqs2 18)"})
    folders = [
        campaign(tmp_path / "a"),
        campaign(tmp_path / "b", search_engines=mmseqs),
    ]
    assert len(mixtures(*map(Campaign, folders))) == 1
    assert main(["SELECT max(ptm) FROM scores", *map(str, folders)]) == 0
    captured = capsys.readouterr()
    assert "warning: pooled rows of 2 different search engines" in captured.err
    assert "max(ptm)" in captured.out


def test_a_question_that_tells_engines_apart_is_not_warned(tmp_path: Path) -> None:
    folders = [campaign(tmp_path / "a"), campaign(tmp_path / "b", precision="float32")]
    sql = (
        "SELECT precision, count(*) FROM scores JOIN provenance"
        " USING (campaign, job_id, seed) GROUP BY ALL"
    )
    answer, warnings = ask(sql, [Campaign(folder) for folder in folders])
    assert warnings == [] and len(answer.fetchall()) == 2


def test_rows_say_which_campaign_they_are_of(tmp_path: Path) -> None:
    folders = [campaign(tmp_path / "it's a"), campaign(tmp_path / "b")]
    answer, _ = ask(
        "SELECT DISTINCT campaign FROM scores", [Campaign(f) for f in folders]
    )
    assert {name for (name,) in answer.fetchall()} == set(map(str, folders))


def test_scores_and_provenance_share_their_key() -> None:
    assert set(PROVENANCE.key) <= set(SCORES.key)
