"""However a command is told to end, it ends all that it started, and says one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workflow.campaigns import (
    ENVIRONMENT,
    QUICK_COMPILE,
    ROOT,
    TINY,
    job,
    make_campaign,
    protein,
)
from tests.workflow.kill_campaign import processes_in

pytestmark = pytest.mark.slow


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """A campaign of one job with so many seeds that it takes a while."""
    text = job("one", protein("GSHMKNVTWY" * 10), modelSeeds=list(range(1, 200)))
    return make_campaign(tmp_path / "c", {"one.json": text}, network=TINY)


def start(folder: Path) -> subprocess.Popen[str]:
    """`foldmill run`, in a group of its own as in a terminal, when it is at work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "workflow.cli", "run", "--directory", str(folder)],
        cwd=ROOT,
        env={**ENVIRONMENT, **QUICK_COMPILE},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not any(folder.glob("logs/featurise/*.journal")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    return process


def told(process: subprocess.Popen[str]) -> list[str]:
    """The lines that a command said at its end, but for progress and warnings."""
    lines, _ = process.communicate(timeout=60)
    others = ("making", "careful: ")
    return [line for line in lines.splitlines() if not line.startswith(others)]


STOPPED = "Stopped. The same command goes on where this one ended."


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_command_alone_ends_all_of_the_campaign(
    number: signal.Signals, campaign: Path
) -> None:
    process = start(campaign)
    process.send_signal(number)
    assert told(process) == [STOPPED]
    assert process.returncode == 128 + number
    assert processes_in(campaign) == []


def test_a_campaign_under_nohup_outlives_its_terminal(campaign: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start(campaign)
    finally:
        signal.signal(signal.SIGHUP, before)
    os.killpg(process.pid, signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    process.terminate()
    assert told(process) == [STOPPED]


def test_ctrl_c_in_a_terminal_twice_ends_it_once(campaign: Path) -> None:
    """A terminal tells every process of the group."""
    process = start(campaign)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.3)
    assert told(process) == [STOPPED]
    assert processes_in(campaign) == []
    (log,) = (campaign / "logs/foldmill").iterdir()
    assert "Traceback" not in log.read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("no", "run"),
        ("no", "timeline"),
        ("a[/b]c", "run"),
        ("é[red]", "plan"),
    ],
)
def test_a_folder_without_a_campaign_is_told_in_one_sentence(
    name: str, command: str, tmp_path: Path
) -> None:
    folder = tmp_path / name
    if name != "no":
        folder.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-m", "workflow.cli", command, "--directory", str(folder)],
        cwd=ROOT,
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii", "COLUMNS": "400"},
        capture_output=True,
        text=True,
    )
    (line,) = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 2 and "allowed: " in line
    assert name.encode("ascii", "backslashreplace").decode() in line


def test_letters_that_the_terminal_lacks_stop_nothing(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", {}, search={"databases": "/é/[/b].tsv"})
    done = subprocess.run(
        [sys.executable, "-m", "workflow.cli", "plan", "--directory", str(folder)],
        cwd=ROOT,
        env={**ENVIRONMENT, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        encoding="latin-1",
    )
    assert done.returncode != 0 and "Traceback" not in done.stdout + done.stderr
    assert "/é/[/b].tsv" in done.stderr
