"""The report's file: what is in it, and that names from inputs stay text."""

import base64
import hashlib
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from af3_core.columns import Contract, ContractError
from af3_core.contracts import SCORES
from tests.workflow.campaigns import ROOT
from tests.workflow.report_page import (
    head_of,
    head_of_page,
    overview_of,
    unpack,
)
from tests.workflow.synthetic_campaign import (
    THREE_JOBS,
    Chain,
    MadeUpJob,
    outcome,
    write_campaign,
    write_reference,
)
from workflow.report import write_report
from workflow.report.details import pack_details, read_tables, shrink_matrix, turn_flat
from workflow.report.devices import describe_devices, merge_spans
from workflow.report.encode import encode_matrix, to_json
from workflow.report.jobs import read_job_list
from workflow.report.overlay import BACKBONE, reference_folder
from workflow.tables import write_table

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("campaign") / "results"
    broken = outcome(
        "plan",
        "inputs/broken.json",
        "failed",
        cause="input",
        evidence="got 'MKV1'",
        remedy="Mend the sequence.",
    )
    write_campaign(results, THREE_JOBS, [broken])
    return results


def test_every_job_and_every_refused_input_is_a_row(results, tmp_path) -> None:
    report = write_report(results, tmp_path / "r.html")
    overview = overview_of(report.path.read_text())
    assert sorted(overview["name"]) == [
        "inputs/broken.json",
        "monomer",
        "trimer",
        "with_ligand",
    ]
    assert overview["status"].count("failed") == 1


def test_rows_come_by_ranking_score(results) -> None:
    scores = [r.best["ranking_score"] for r in read_job_list(results).rows if r.best]
    assert scores == sorted(scores, reverse=True)


def test_details_hold_the_pae_of_the_predictions_table(results, tmp_path) -> None:
    job = THREE_JOBS[1]
    html = write_report(results, tmp_path / "r.html").path.read_text()
    raw = unpack(html, job.job_id)
    count, *lengths = np.frombuffer(raw, "<u4", 3).tolist()
    head = head_of_page(html, job.job_id)
    assert count == 2
    assert head["pae"] == {"side": 144, "stride": 1, "tokens": 144}
    assert len(head["token_plddt"]) == 144
    assert lengths[1] == 2 * 144 * 144


def test_the_budget_limits_what_is_embedded_and_the_page_says_which(
    results, tmp_path
) -> None:
    report = write_report(results, tmp_path / "r.html", budget=20_000)
    overview = overview_of(report.path.read_text())
    assert 0 < report.detailed < 3
    assert sum(overview["detailed"]) == report.detailed


def test_a_job_whose_files_are_broken_does_not_stop_the_report(tmp_path) -> None:
    write_campaign(tmp_path, THREE_JOBS)
    (tmp_path / "features" / f"{THREE_JOBS[0].job_id}.parquet").unlink()
    (tmp_path / "predictions" / f"{THREE_JOBS[1].job_id}.1.parquet").write_bytes(b"x")
    report = write_report(tmp_path, tmp_path / "r.html")
    assert (report.detailed, report.unreadable) == (1, 2)
    faults = overview_of(report.path.read_text())["unreadable"].values()
    assert any("FileNotFoundError" in fault for fault in faults)


def test_a_table_of_another_version_is_refused(tmp_path) -> None:
    write_campaign(tmp_path, THREE_JOBS)
    path = tmp_path / "tables" / "scores.parquet"
    newer = Contract(SCORES.row, "scores", 99, SCORES.key)
    write_table(path, newer, newer.table([]))
    with pytest.raises(ContractError, match="wanted scores version"):
        write_report(tmp_path, tmp_path / "r.html")


def test_the_time_of_the_devices_is_summed_and_drawn(results) -> None:
    devices = describe_devices(results)
    (lane,) = devices["lanes"]
    assert (devices["seconds"], devices["busy"], devices["compiling"]) == (30, 27, 9)
    assert (lane["items"], lane["device"]) == (3, "made up")
    assert lane["spans"] == [[1, 10, True], [11, 20, False], [21, 30, False]]


def test_spans_of_one_kind_are_joined_over_short_gaps() -> None:
    spans = [(4.0, 5.0, False), (0.0, 2.0, False), (2.1, 3.0, False), (3.0, 4.0, True)]
    joined = [(0.0, 3.0, False), (3.0, 4.0, True), (4.0, 5.0, False)]
    assert merge_spans(spans, 0.2) == joined


def test_a_reference_is_laid_over_the_prediction(tmp_path) -> None:
    write_campaign(tmp_path / "results", THREE_JOBS)
    write_reference(tmp_path / "results", THREE_JOBS[0])
    (row,) = (
        r for r in read_job_list(tmp_path / "results").rows if r.name == "monomer"
    )
    tables = read_tables(tmp_path / "results", [row.job_id], {})
    folder = reference_folder(tmp_path / "results")
    head = head_of(pack_details(tmp_path / "results", row, tables, folder).packed)
    overlay, atoms = head["overlay"], head["atoms"]
    backbone = [i for i, name in enumerate(atoms["name"]) if name in BACKBONE]
    assert overlay["name"] == [atoms["name"][i] for i in backbone]
    predicted = np.reshape(head["positions"], (-1, 3))[backbone]
    known = np.reshape(overlay["positions"], (-1, 3))
    np.testing.assert_allclose(known, predicted, atol=2)  # 0.01 Å


def test_results_that_were_moved_away_from_their_references_have_structures(
    tmp_path,
) -> None:
    write_campaign(tmp_path / "results", THREE_JOBS)
    write_reference(tmp_path / "results", THREE_JOBS[0])
    shutil.move(tmp_path / "results", tmp_path / "elsewhere/results")
    found = write_report(tmp_path / "elsewhere/results", tmp_path / "report.html")
    assert (found.detailed, found.unreadable) == (len(THREE_JOBS), 0)


def test_samples_beside_the_best_are_laid_over_it(results, tmp_path) -> None:
    report = write_report(results, tmp_path / "r.html")
    html = report.path.read_text()
    job = THREE_JOBS[1]
    best, second = (
        head_of_page(html, key) for key in (job.job_id, f"{job.job_id}.1.1")
    )
    assert (second["seed"], second["sample"]) == (1, 1)
    np.testing.assert_allclose(best["positions"], second["positions"], atol=2)
    assert best["token_plddt"] != second["token_plddt"]


def test_what_was_left_out_of_a_job_is_named(tmp_path) -> None:
    job = MadeUpJob("one", (Chain("A", 36),), dropped=("C", "D"))
    write_campaign(tmp_path, (job,))
    html = write_report(tmp_path, tmp_path / "r.html").path.read_text()
    assert head_of_page(html, job.job_id)["dropped_chains"] == ["C", "D"]


def test_the_view_is_turned_but_not_mirrored() -> None:
    positions = np.random.default_rng(3).normal(size=(50, 3)) * (1.0, 9.0, 3.0)
    turned = turn_flat(positions)(positions)
    rotation = np.linalg.lstsq(positions - positions.mean(0), turned, rcond=None)[0]
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert np.ptp(turned, axis=0).argsort().tolist() == [2, 1, 0]


def test_chosen_jobs_make_a_page_of_their_own(results, tmp_path) -> None:
    report = write_report(results, tmp_path / "r.html", jobs=("trimer",))
    assert (report.jobs, report.detailed) == (1, 1)


def test_a_job_that_does_not_exist_is_refused_by_name(results, tmp_path) -> None:
    with pytest.raises(ValueError, match="nonesuch"):
        write_report(results, tmp_path / "r.html", jobs=("nonesuch",))


WARNINGS = {
    "alphafold3": "non-commercial use only",
    "foldmill": "have memorised a handful of structures",
    "untrained": "untrained, pseudo-random weights",
}


@pytest.mark.parametrize("origin", WARNINGS)
def test_the_page_says_what_the_weights_are_good_for(origin, tmp_path) -> None:
    results = tmp_path / "results"
    write_campaign(
        results, tuple(replace(j, weights_origin=origin) for j in THREE_JOBS)
    )
    html = write_report(results, tmp_path / "r.html").path.read_text()
    assert [name for name, text in WARNINGS.items() if text in html] == [origin]


def test_the_warning_stands_where_no_structure_fits_the_page(results, tmp_path) -> None:
    html = write_report(results, tmp_path / "r.html", budget=0).path.read_text()
    assert WARNINGS["untrained"] in html


def test_exported_folders_are_found_from_where_the_page_lies(results, tmp_path) -> None:
    (results / "alphafold3" / "trimer").mkdir(parents=True, exist_ok=True)
    (results / "alphafold3" / "monomer.zip").touch()
    html = write_report(results, results / "report.html").path.read_text()
    folders = overview_of(html)["folders"]
    assert [f for f in folders if f] == ["alphafold3/monomer.zip", "alphafold3/trimer/"]
    html = write_report(results, tmp_path / "r.html").path.read_text()
    path = next(f for f in overview_of(html)["folders"] if f)
    assert (tmp_path / path).exists()


def test_hostile_names_never_reach_the_markup(tmp_path) -> None:
    job = MadeUpJob(HOSTILE, (Chain("A", 18),), source=HOSTILE)
    failure = outcome("plan", HOSTILE, "failed", evidence=HOSTILE, remedy=HOSTILE)
    write_campaign(tmp_path, (job,), [failure])
    html = write_report(tmp_path, tmp_path / "r.html", title=HOSTILE).path.read_text()
    assert "<img src=x" not in html
    assert overview_of(html)["name"] == [HOSTILE, HOSTILE]


def test_only_the_pages_own_scripts_may_run(results, tmp_path) -> None:
    html = write_report(results, tmp_path / "r.html").path.read_text()
    policy = re.search(r'Policy" content="([^"]+)"', html)[1].replace("&#39;", "'")
    scripts = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digests = [
        base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts
    ]
    assert [d in policy for d in digests] == [True, True]
    assert "default-src 'none'" in policy


def test_nothing_is_loaded_from_elsewhere(results, tmp_path) -> None:
    html = write_report(results, tmp_path / "r.html").path.read_text()
    markup = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=|url\(|@import", markup)


def test_matrices_survive_their_encoding() -> None:
    matrix = np.random.default_rng(1).integers(0, 318, (65, 65)).astype(np.uint16)
    matrix[0, 0] = 65535
    data = np.frombuffer(encode_matrix(matrix), np.uint8).astype(np.int64)
    zigzag = data[: 65 * 65] + 256 * data[65 * 65 :]
    steps = np.where(zigzag % 2, -(zigzag + 1) // 2, zigzag // 2).reshape(65, 65)
    assert np.array_equal(steps.cumsum(axis=0).cumsum(axis=1) % 65536, matrix)


def test_large_matrices_are_averaged_over_squares() -> None:
    matrix = np.arange(25, dtype=np.uint16).reshape(5, 5)
    shrunk, stride = shrink_matrix(matrix, 3)
    assert (stride, shrunk.tolist()) == (2, [[3, 5, 6], [13, 15, 16], [20, 22, 24]])


def test_values_that_json_lacks_become_null() -> None:
    assert to_json({"a": [float("nan"), float("inf"), 1.5]}) == b'{"a":[null,null,1.5]}'


def test_the_vendored_viewer_is_the_file_its_note_names() -> None:
    vendor = files("workflow.report") / "assets" / "vendor"
    digest = hashlib.sha256(vendor.joinpath("3Dmol-min.js").read_bytes()).hexdigest()
    assert digest in vendor.joinpath("README.md").read_text()


def test_no_two_scripts_of_the_page_define_one_name() -> None:
    """They share one scope, where the later would take the place of the earlier."""
    seen: dict[str, str] = {}
    for script in sorted((ROOT / "workflow/report/assets/js").glob("*.js")):
        names = re.findall(r"^(?:async )?function (\w+)", script.read_text(), re.M)
        for name in names:
            assert seen.setdefault(name, script.name) == script.name


def test_a_report_is_written_without_what_only_drawing_needs() -> None:
    """RDKit's drawing wants libraries of X, which a bare server lacks."""
    asked = "import sys, workflow.report; print('rdkit.Chem.Draw' in sys.modules)"
    command = [sys.executable, "-c", asked]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"
