"""A damaged campaign is whole again after one run."""

import subprocess
import sys

import pytest

from tests.workflow.campaigns import ENVIRONMENT, QUICK_COMPILE, ROOT

pytestmark = pytest.mark.long


def test_a_run_mends_what_was_damaged_and_nothing_is_left_to_do_by_hand() -> None:
    """The short version: 200 damages are tried by the command alone."""
    command = [sys.executable, "-m", "tests.workflow.damage_campaign"]
    done = subprocess.run(
        [*command, "--damages", "30", "--runs", "1", "--one-process"],
        cwd=ROOT,
        env={**ENVIRONMENT, **QUICK_COMPILE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
