"""Steps that crash: real processes, real signals, a real memory limit."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from af3_core.contracts import OUTCOMES
from tests.workflow.campaigns import ROOT
from tests.workflow.crashing_step import STAGE
from tests.workflow.engine.test_scheduler import RUNNING, TIMED_OUT
from tests.workflow.kill_campaign import count_done, processes_in
from workflow.campaign import Campaign
from workflow.engine.attempts import EXIT_POSTPONE
from workflow.engine.journal import (
    Line,
    key_of,
    read_history,
    read_lines,
)
from workflow.engine.ladder import MAX_LOSSES, RETRIES
from workflow.engine.supervise import JobTime, Stop
from workflow.tables import read_rows

HERE = Campaign()
"""The campaign in the current folder."""

pytestmark = pytest.mark.slow


def command(batch: str, attempt: int) -> list[str]:
    """One submission of a batch, under the supervisor."""
    step = [sys.executable, "-m", f"tests.workflow.{STAGE}"]
    return [*step, "--batch", batch, "--attempt", str(attempt)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.fixture
def slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes this process one of a Slurm job of which `scontrol` says what is given."""
    bin_ = folder / "bin"
    bin_.mkdir()
    monkeypatch.setenv("PATH", f"{bin_}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "1")

    def says(line: str) -> None:
        (bin_ / "scontrol").write_text(f"#!/bin/sh\necho '{line}'\n")
        (bin_ / "scontrol").chmod(0o755)

    return says


def launch(
    batch: str,
    attempt: int = 1,
    *,
    memory: int | None = None,
    minutes: float | None = None,
) -> int:
    """Supervises one submission of a batch, under a limit of memory in bytes, in a job
    of so many minutes."""
    options = [] if minutes is None else ["--minutes", str(minutes)]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    return subprocess.run(
        [*command(batch, attempt), *options],
        preexec_fn=limit if memory else None,
        timeout=120,
        check=False,
    ).returncode


def results(batch: str) -> dict[str, tuple[str, str | None]]:
    """Status and cause of every item."""
    rows = read_rows(HERE.outcomes(STAGE, batch), OUTCOMES)
    return {row.item: (row.status, row.cause) for row in rows}


def test_what_crashes_is_quarantined_and_the_rest_is_done_once() -> None:
    batch = "well1,segfault,well2,defect,bad,once,well3"
    assert launch(batch) == 0
    assert results(batch) == {
        **{name: ("done", None) for name in ("well1", "well2", "well3", "once")},
        "segfault": ("failed", "unknown"),
        "defect": ("failed", "defect"),
        "bad": ("failed", "input"),
    }
    done = count_done(HERE.journal(STAGE, batch))
    assert done == {
        key_of(name, "v1"): 1 for name in ("well1", "well2", "well3", "once")
    }
    evidence = {
        row.item: row.evidence
        for row in read_rows(HERE.outcomes(STAGE, batch), OUTCOMES)
    }
    assert "tried 2 times" in evidence["segfault"] and "SIGSEGV" in evidence["segfault"]
    assert "TypeError: a bug of our own" in evidence["defect"]


def test_an_item_that_does_not_end_stops_no_other_of_the_first_submission() -> None:
    """Also beside one that exhausts memory and one with a defect."""
    batch = "well1,slow,memory,defect,well2"
    memory = 4 * 2**30
    assert launch(batch, memory=memory, minutes=0.5) == EXIT_POSTPONE
    done = count_done(HERE.journal(STAGE, batch))
    assert done == {key_of(name, "v1"): 1 for name in ("well1", "well2")}
    for attempt in range(2, RETRIES + 2):
        status = launch(batch, attempt, memory=memory, minutes=0.3)
    assert status == 0
    assert results(batch) == {
        "well1": ("done", None),
        "well2": ("done", None),
        "slow": ("failed", "time_limit"),
        "memory": ("failed", "host_memory"),
        "defect": ("failed", "defect"),
    }
    assert count_done(HERE.journal(STAGE, batch)) == done


def test_what_was_in_flight_when_a_submission_ended_goes_last_in_the_next() -> None:
    """However the submission ended, and whether or not Snakemake lived on."""
    batch = "slow,well1,well2"
    for attempt, end in ((1, os.kill), (2, os.killpg)):
        process = subprocess.Popen(command(batch, attempt), start_new_session=True)
        _wait_for(batch, "began", "slow", attempt)
        end(process.pid, signal.SIGTERM if end is os.kill else signal.SIGKILL)
        process.wait(20)
    began = [
        x.item for x in read_lines(HERE.journal(STAGE, batch)) if x.event == "began"
    ]
    assert began == ["slow", "well1", "well2", "slow"]


def test_nothing_that_a_step_started_outlives_it() -> None:
    process = subprocess.Popen(command("child", 1))
    _wait_for("child", "began", "child", 1)
    time.sleep(0.5)
    process.terminate()
    process.wait(20)
    assert not [said for said in processes_in(Path.cwd()) if "sleep" in said]


def test_what_more_memory_or_another_node_may_help_is_submitted_again() -> None:
    """The kernel's killer, a real limit of memory, and a poisoned device."""
    batch = "killed,memory,device,well"
    statuses = [launch(batch, n, memory=4 * 2**30) for n in (1, 2, 3)]
    assert statuses == [EXIT_POSTPONE] * RETRIES + [0]
    assert results(batch) == {
        "killed": ("failed", "host_memory"),
        "memory": ("failed", "host_memory"),
        "device": ("failed", "device"),
        "well": ("done", None),
    }


def test_an_item_in_flight_on_three_lost_nodes_is_quarantined() -> None:
    """Supervisor and step die together, as with their node; Snakemake lives on."""
    batch = "slow,well"
    for attempt in range(1, MAX_LOSSES + 1):
        process = subprocess.Popen(command(batch, attempt), start_new_session=True)
        _wait_for(batch, "began", "slow", attempt)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert launch(batch, MAX_LOSSES + 1) == 0
    assert results(batch) == {
        "slow": ("failed", "lost_node"),
        "well": ("done", None),
    }


def test_a_signal_stops_the_step_and_blames_nobody() -> None:
    process = subprocess.Popen(command("slow", 1))
    _wait_for("slow", "began", "slow", 1)
    process.terminate()
    assert process.wait(20) == 128 + signal.SIGTERM
    assert _stopped("slow").cause == "preemption"


def test_a_signal_at_the_end_of_a_job_s_time_is_told_from_others(
    slurm: Callable[[str], None],
) -> None:
    slurm(TIMED_OUT)
    process = subprocess.Popen(command("slow", 1))
    _wait_for("slow", "began", "slow", 1)
    process.terminate()
    assert process.wait(20) == 128 + signal.SIGTERM
    assert _stopped("slow").cause == "time_limit"


def test_where_slurm_does_not_answer_the_time_that_has_passed_tells(
    slurm: Callable[[str], None],
) -> None:
    now = time.time()
    late = Stop(job=JobTime(now - 100, now + 5))
    early = Stop(job=JobTime(now - 100, now + 500))
    slurm("")
    assert late.explain(signal.SIGTERM).cause == "time_limit"
    assert early.explain(signal.SIGTERM).cause == "preemption"
    assert Stop().explain(signal.SIGTERM).cause == "preemption"
    slurm(RUNNING)
    assert late.explain(signal.SIGTERM).cause == "preemption"


def test_an_item_that_takes_its_node_away_is_blamed_in_the_requeued_job(
    slurm: Callable[[str], None],
) -> None:
    process = subprocess.Popen(command("slow,well", 1), start_new_session=True)
    _wait_for("slow,well", "began", "slow", 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    slurm(RUNNING.replace("Restarts=0", "Restarts=1"))
    process = subprocess.Popen(command("slow,well", 1))
    _wait_for("slow,well", "launched", "", 1, count=2)
    history = read_history(read_lines(HERE.journal(STAGE, "slow,well")))
    process.terminate()
    process.wait(20)
    (trial,) = history.trials[key_of("slow", "v1")]
    assert trial.cause == "lost_node"


def test_the_last_submission_leaves_rows_before_its_time_is_up(
    slurm: Callable[[str], None],
) -> None:
    now = int(time.time())
    slurm(f"Reason=None Restarts=0 StartTime={now} EndTime={now + 30}")
    assert launch("well,slow", RETRIES + 1) == 0
    assert results("well,slow") == {
        "well": ("done", None),
        "slow": ("failed", "time_limit"),
    }


def _stopped(batch: str) -> Line:
    lines = read_lines(HERE.journal(STAGE, batch))
    (stopped,) = (line for line in lines if line.event == "stopped")
    return stopped


def _wait_for(
    batch: str, event: str, item: str, attempt: int, *, count: int = 1
) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        lines = read_lines(HERE.journal(STAGE, batch))
        said = [(line.event, line.item, line.attempt) for line in lines]
        if said.count((event, item, attempt)) >= count:
            return
        time.sleep(0.02)
    raise RuntimeError(f"{item} never {event}")
