"""Which GPU a process takes where nobody gave it one."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.workflow.campaigns import ROOT
from workflow.inference.devices import VISIBLE, claim_device, visible_devices

CLAIM = """
from workflow.inference.devices import claim_device, visible_devices
print(claim_device(visible_devices()), flush=True)
input()
"""


def start_process(folder: Path) -> subprocess.Popen[str]:
    """Claims one of two devices and holds it until it is told to end."""
    return subprocess.Popen(
        [sys.executable, "-c", CLAIM],
        env={**os.environ, VISIBLE: "0,1", "TMPDIR": str(folder)},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_take_two_devices_and_a_third_waits_for_one(
    tmp_path: Path,
) -> None:
    first, second = start_process(tmp_path), start_process(tmp_path)
    claimed = {first.stdout.readline(), second.stdout.readline()}
    assert claimed == {"0\n", "1\n"}
    third = start_process(tmp_path)
    assert "all 2 devices are taken" in third.stderr.readline()
    first.kill()
    assert third.stdout.readline() in claimed
    for process in (first, second, third):
        process.kill()
        process.communicate()


@pytest.mark.parametrize("given", ["", "3", "GPU-12ab"])
def test_what_slurm_gave_is_taken_as_it_is(given: str, monkeypatch) -> None:
    monkeypatch.setenv(VISIBLE, given)
    assert claim_device(visible_devices()) is None
    assert os.environ[VISIBLE] == given


def test_the_device_that_is_taken_is_the_only_visible_one(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv(VISIBLE, "GPU-a,GPU-b")
    assert claim_device(visible_devices()) == os.environ[VISIBLE] == "GPU-a"
