"""Sixty jobs, twelve of them bad in as many ways, under a real memory limit."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from af3_core.contracts import JOBS, OUTCOMES, SCORES, OutcomeRow
from tests.workflow.campaigns import (
    QUICK_COMPILE,
    TINY,
    job,
    make_campaign,
    protein,
    run_campaign,
)
from workflow.engine.journal import read_lines
from workflow.tables import read_rows

pytestmark = pytest.mark.long

NUM_GOOD = 48
MEMORY = 4 * 2**30
SETTINGS = {
    "predict": {"buckets": [32, 1400], "max_tokens": 1400},
    "model": {"num_diffusion_steps": 2},
    "features": {"conformer_seconds": 5},
    "relax": {"samples": "none"},
    "export": {"samples": "none"},
}
_LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def ligand(**fields: object) -> dict[str, object]:
    return {"ligand": {"id": "L", **fields}}


BAD = {
    "no_json": ("{", "input"),
    "no_utf8": (job("no_utf8", protein("GSHMK")).encode() + b"\xff", "input"),
    "no_such_code": (
        job("no_such_code", protein("GSHMK"), ligand(ccdCodes=["NOSUCH"])),
        "input",
    ),
    "no_smiles": (job("no_smiles", protein("GSH"), ligand(smiles="C1CC(")), "input"),
    "no_msa_file": (
        job("no_msa_file", protein("GSHMK", unpairedMsa=None, unpairedMsaPath="x.a3m")),
        "input",
    ),
    "no_bond": (
        job(
            "no_bond",
            protein("GSHMK"),
            ligand(ccdCodes=["ATP"]),
            bondedAtomPairs=[[["A", 9, "CA"], ["L", 1, "PG"]]],
        ),
        "input",
    ),
    "too_large": (job("too_large", protein("G" * 1500)), "input"),
    "taken_name": (job("Good_00", protein("GSHMKK")), "input"),
    "no_template": (
        job(
            "no_template",
            protein(
                "GSHMK",
                templates=[
                    {"mmcif": "data_x", "queryIndices": [0], "templateIndices": [0]}
                ],
            ),
        ),
        "template",
    ),
    "no_conformer": (
        job("no_conformer", protein("GSHMK"), ligand(smiles="C" * 600)),
        "conformer",
    ),
    "no_memory": (job("no_memory", protein("G" * 1390)), "host_memory"),
    "crashes": (job("crashes", protein(_LETTERS[::-1])), "unknown"),
}
"""By name: the input, and the cause that its row has to state."""


def good_inputs() -> dict[str, str]:
    """Peptides of 8 to 27 residues, all different."""
    names = [f"good_{i:02d}" for i in range(NUM_GOOD)]
    return {
        f"{name}.json": job(name, protein(_LETTERS[i % 20 :] + "G" * (8 + i // 20)))
        for i, name in enumerate(names)
    }


def crash(folder: Path, name: str, stop: threading.Event) -> None:
    """Sends a segmentation fault to whatever process works on the job's features."""
    job_id = ""
    while not stop.is_set():
        time.sleep(0.005)
        if not job_id and (folder / "results/plan/plan.json").is_file():
            rows = read_rows(folder / "results/plan/jobs.parquet", JOBS)
            job_id = next(row.job_id for row in rows if row.name == name)
        for path in folder.glob("logs/featurise/*.journal"):
            lines = read_lines(path)
            if lines and (lines[-1].event, lines[-1].item) == ("began", job_id):
                with contextlib.suppress(ProcessLookupError):  # just gone
                    os.kill(int(lines[-1].process.split(":")[1]), signal.SIGSEGV)


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The campaign, run once."""
    inputs = good_inputs() | {f"{name}.json": text for name, (text, _) in BAD.items()}
    folder = tmp_path_factory.mktemp("faults") / "c"
    make_campaign(folder, inputs, network=TINY, **SETTINGS)
    stop = threading.Event()
    culprit = threading.Thread(target=crash, args=(folder, "crashes", stop))
    culprit.start()
    try:
        return folder, run_campaign(folder, memory=MEMORY, environment=QUICK_COMPILE)
    finally:
        stop.set()
        culprit.join()


def failures(folder: Path) -> dict[str, OutcomeRow]:
    """Rows of failures.parquet by the name of the job or its file."""
    jobs = read_rows(folder / "results/plan/jobs.parquet", JOBS)
    names = {row.job_id: row.name for row in jobs}
    rows = read_rows(folder / "results/tables/failures.parquet", OUTCOMES)
    return {
        names.get(row.job_id) or Path(row.item.split("#")[0]).stem: row for row in rows
    }


def test_every_good_job_has_a_result(finished) -> None:
    scores = read_rows(finished[0] / "results/tables/scores.parquet", SCORES)
    assert {row.name for row in scores} == {f"good_{i:02d}" for i in range(NUM_GOOD)}


def test_every_bad_job_has_one_row_with_its_cause(finished) -> None:
    rows = read_rows(finished[0] / "results/tables/failures.parquet", OUTCOMES)
    assert len(rows) == len(BAD)
    causes = {name: row.cause for name, row in failures(finished[0]).items()}
    assert causes == {name: cause for name, (_, cause) in BAD.items()}


def test_the_exit_status_and_one_line_say_so(finished) -> None:
    result = finished[1]
    assert result.returncode != 0
    assert "48 of 60 jobs have results; 12 failed" in result.stdout


def test_memory_was_saved_and_more_asked_for_before_giving_up(finished) -> None:
    evidence = str(failures(finished[0])["no_memory"].evidence)
    assert "one_sample" in evidence and "submission 3" in evidence
    assert "Out of memory allocating" in evidence


def test_what_crashed_was_tried_twice_and_the_signal_is_named(finished) -> None:
    row = failures(finished[0])["crashes"]
    assert row.stage == "featurise"
    assert "tried 2 times" in row.evidence and "SIGSEGV" in row.evidence


def test_no_good_job_was_computed_twice(finished) -> None:
    counts: dict[str, int] = {}
    for path in finished[0].glob("logs/*/*.journal"):
        for line in read_lines(path):
            if line.event == "done":
                key = f"{path.parent.name} {line.item} {json.dumps(line.made_from)}"
                counts[key] = counts.get(key, 0) + 1
    assert set(counts.values()) == {1}
