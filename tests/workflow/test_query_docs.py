"""Every example of docs/query.md runs on a campaign's tables and finds something."""

import re
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from af3_core.contracts import PREDICTIONS
from tests.workflow.synthetic_campaign import THREE_JOBS, outcome, write_campaign
from workflow.tables import write_table

PAGE = Path(__file__).parents[2] / "docs" / "query.md"
BLOCKS = re.findall(r"```(sql|python)\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
SQL = [code for language, code in BLOCKS if language == "sql"]
TOLD = [query for query in SQL if "results/predictions/*" in query]
PYTHON = [code for language, code in BLOCKS if language == "python"]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("campaign")
    failed = outcome("plan", "x.json", "failed", cause="input", remedy="Mend it.")
    write_campaign(folder / "results", THREE_JOBS, [failed])
    return folder


@pytest.fixture(autouse=True)
def in_campaign(campaign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(campaign)


@pytest.mark.parametrize("query", SQL, ids=lambda q: " ".join(q.split())[:60])
def test_a_query_of_the_page_finds_rows(query: str) -> None:
    found = duckdb.connect().sql(query)
    assert found is None or len(found.fetchall()) > 0


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.split()[1])
def test_python_of_the_page_prints(
    code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(code, str(PAGE), "exec"), {})
    assert capsys.readouterr().out


def test_no_query_tells_of_a_job_that_was_taken_out(campaign: Path) -> None:
    (living, *_) = sorted((campaign / "results/predictions").glob("*.parquet"))
    dead = "dead" * 4
    path = living.with_name(f"{dead}.1.parquet")
    rows = PREDICTIONS.rows(pq.read_table(living))
    table = PREDICTIONS.table([replace(row, job_id=dead) for row in rows])
    before = {query: duckdb.connect().sql(query).fetchall() for query in TOLD}
    write_table(path, PREDICTIONS, table)
    try:
        for query, found in before.items():
            assert duckdb.connect().sql(query).fetchall() == found, query
    finally:
        path.unlink()


def test_the_page_has_examples() -> None:
    assert (len(SQL), len(PYTHON)) >= (10, 2)


def test_worst_pae_domains_are_those_of_the_matrix() -> None:
    query = next(code for code in SQL if "first_token" in code)
    job_id, first, mean_pae, _ = duckdb.connect().sql(query).fetchall()[0]
    pae = duckdb.connect().sql(
        f"SELECT pae FROM 'results/predictions/{job_id}.*.parquet' WHERE sample = 0"
    )
    values = pae.fetchall()[0][0]
    n = round(len(values) ** 0.5)
    window = range(first - 1, min(first + 29, n))
    inside = [values[i * n + j] / 10 for i in window for j in window]
    assert mean_pae == pytest.approx(sum(inside) / len(inside))


def test_exported_csv_holds_the_best_sample_of_every_job(campaign: Path) -> None:
    duckdb.connect().sql(next(code for code in SQL if code.startswith("COPY")))
    assert len((campaign / "best.csv").read_text().splitlines()) == 1 + len(THREE_JOBS)
