"""The demo end to end: what its network has memorised folds, and it doubts the rest.

The campaign of `config/config.yaml` as a newcomer runs it, but in a folder of its own:
some two minutes on two cores.
"""

import base64
import re
import runpy
import shutil
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from af3_core.contracts import RELAXED, SCORES, TIMINGS, ScoreRow
from tests.workflow.campaigns import ROOT, run_campaign
from tests.workflow.report_page import head_of_page
from workflow.tables import concatenate, read_rows

pytestmark = pytest.mark.slow

PROTEINS = {
    *("crambin", "hiv_capsid", "p2_repressor", "sumo_like", "trypsin_inhibitor"),
    *("ubiquitin", "villin_headpiece"),
}
COMPLEX, RNA = "lac_repressor_dna", "trna_phe"
MEMORISED = PROTEINS | {COMPLEX, RNA}
UNSEEN = {"asnc_like", "colipase", "g_gamma", "papillomavirus_e2"}
SHOTS = runpy.run_path(str(ROOT / "docs/screenshots.py"))
"""Takes the documentation's pictures of a demo."""
TOLERANCE = 0.02
"""Processors add in other orders, and diffusion makes much of little."""

type Scores = list[ScoreRow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo ran."""
    folder = tmp_path_factory.mktemp("demo")
    for name in ("config", "tests"):
        (folder / name).symlink_to(ROOT / name)
    result = run_campaign(folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="module")
def scores(folder: Path) -> Scores:
    """Of every sample."""
    return read_rows(folder / "results/tables/scores.parquet", SCORES)


@pytest.fixture(scope="module")
def best(scores: Scores) -> Scores:
    """The scores of the best sample of every job."""
    return [row for row in scores if row.rank == 1]


def test_everything_is_compared_with_its_entry_in_the_pdb(best: Scores) -> None:
    references = {path.stem for path in (ROOT / "config/demo/references").glob("*.cif")}
    assert {row.name for row in best if row.reference} == references


def test_what_is_memorised_is_predicted_as_experiment_has_it(
    best: Scores,
) -> None:
    found = {row.name: row for row in best}
    assert found.keys() == MEMORISED | UNSEEN
    assert min(found[name].lddt for name in MEMORISED) >= 0.70
    assert min(found[name].lddt_ca for name in PROTEINS | {COMPLEX}) >= 0.80
    # Of nucleotides it is C1' that counts.
    assert found[RNA].lddt_ca >= 0.80 - TOLERANCE


def test_no_sample_of_what_is_memorised_is_a_mirror_image(
    scores: Scores,
) -> None:
    known = [row for row in scores if row.name in MEMORISED]
    assert len(known) == 3 * len(MEMORISED)
    # lDDT is the same in a mirror; there TM-score is about 0.3.
    assert min(row.tm_score for row in known) >= 0.8


def test_confidence_follows_quality(best: Scores) -> None:
    plddt, lddt = zip(*((row.mean_plddt, row.lddt) for row in best), strict=True)
    assert spearmanr(plddt, lddt).statistic >= 0.5


def test_what_was_never_seen_is_doubted(best: Scores) -> None:
    plddt = {row.name: row.mean_plddt for row in best}
    assert max(plddt[name] for name in UNSEEN) < 50
    assert min(plddt[name] for name in MEMORISED) > 70


def test_relaxed_structures_have_no_clash_and_no_inverted_centre(
    folder: Path, best: Scores
) -> None:
    known = {row.job_id for row in best if row.name in MEMORISED}
    paths = sorted((folder / "results/relaxed").glob("*.parquet"))
    rows = RELAXED.rows(concatenate(paths, RELAXED))
    relaxed = [row for row in rows if row.status == "relaxed"]
    assert known <= {row.job_id for row in relaxed}
    errors = ("clashes_after", "chirality_errors_after", "bond_violations_after")
    assert {getattr(row, error) for row in relaxed for error in errors} == {0}


def test_a_prediction_takes_less_than_a_minute(folder: Path, slowness: float) -> None:
    paths = sorted((folder / "results/timings").glob("*.parquet"))
    rows = TIMINGS.rows(concatenate(paths, TIMINGS))
    assert len(rows) >= 13
    assert max(row.end - row.start for row in rows) < 60 * slowness


def test_the_report_lays_predictions_over_experiment(
    folder: Path, best: Scores
) -> None:
    html = (folder / "results/report.html").read_text(encoding="utf-8")
    assert "have memorised a handful of structures" in html
    for row in best:
        overlay = head_of_page(html, row.job_id)["overlay"]
        assert overlay["label"] == f"{row.name}.cif"


@pytest.mark.skipif(
    not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    reason="no Chromium on the PATH",
)
def test_snakemakes_own_report_has_the_page_and_the_tables(
    folder: Path, tmp_path: Path
) -> None:
    report, faults, found = tmp_path / "report.html", [], {}
    SHOTS["write_snakemake_report"](folder, report)
    with SHOTS["open_pages"]() as new_page:
        page = new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        SHOTS["list_category"](page, report, "Tables")
        for shown in page.locator("a[iconname=eye]").all():
            kind, name, data = re.fullmatch(
                r"data:([\w./-]+);charset=utf8;filename=([\w.]+);base64,(.*)",
                shown.get_attribute("href"),
            ).groups()
            assert kind == "application/vnd.apache.parquet"
            found[name] = base64.b64decode(data)
        frame = SHOTS["show_page"](page, report)
        names = set(frame.locator("tr.row td.name").all_inner_texts())
    assert faults == []
    tables = ("scores", "interfaces", "screen", "failures")
    assert found == {
        f"{table}.parquet": (folder / f"results/tables/{table}.parquet").read_bytes()
        for table in tables
    }
    jobs = read_rows(folder / "results/tables/scores.parquet", SCORES)
    assert names == {row.name for row in jobs}
