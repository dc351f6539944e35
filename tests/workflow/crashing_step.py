"""A step whose items do what their names say, to see what is left of its batch.

python -m tests.workflow.crashing_step --batch well,segfault,memory [--attempt 1]

With an attempt it runs under the supervisor, as that submission of the batch.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from af3_core.contracts import OUTCOMES
from af3_core.job import InputError
from workflow.campaign import Campaign
from workflow.engine.items import Item, commit_outcomes, outcome, work_through
from workflow.engine.journal import Journal
from workflow.engine.supervise import supervise

HERE = Campaign()
"""The campaign in the current folder."""

STAGE = "crashing_step"


def make(item: Item) -> pa.Table:
    """Does what the item's name says before making its table."""
    match item.name.rstrip("0123456789"):
        case "segfault":
            signal.raise_signal(signal.SIGSEGV)
        case "killed":  # as the kernel does it
            os.kill(os.getpid(), signal.SIGKILL)
        case "once":
            first_time = Path(f"{item.name}.tried")
            if not first_time.exists():
                first_time.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        case "memory":
            np.ones(2**34)
        case "defect":
            raise TypeError("a bug of our own")
        case "bad":
            raise InputError("bad.json", "name", "?", "letters")
        case "device":
            raise RuntimeError("INTERNAL: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal…")
        case "slow":
            time.sleep(600)
        case "child":  # as MMseqs2 does
            subprocess.Popen(["sleep", "600"], start_new_session=True)
            time.sleep(600)
    return OUTCOMES.table([outcome("test", "batch", item.name)])


def work_through_batch(batch: str) -> None:
    """Works through the items that the batch's name lists."""
    items = [
        Item(name, name, Path(f"{name}.parquet"), OUTCOMES, made_from="v1")
        for name in batch.split(",")
    ]
    commit_outcomes(HERE, STAGE, batch, work_through(HERE, STAGE, batch, items, make))


def main() -> int:
    """Runs the step or its supervisor."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", required=True)
    parser.add_argument("--attempt", type=int)
    parser.add_argument("--minutes", type=float)
    arguments = parser.parse_args()
    if arguments.attempt is None:
        work_through_batch(arguments.batch)
        return 0
    module = f"tests.workflow.{STAGE}"
    command = [sys.executable, "-X", "faulthandler", "-m", module]
    command += ["--batch", arguments.batch]
    path = HERE.journal(STAGE, arguments.batch)
    journal = Journal(path, arguments.attempt)
    return supervise(command, journal, minutes=arguments.minutes)


if __name__ == "__main__":
    raise SystemExit(main())
