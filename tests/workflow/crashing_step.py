"""A step whose items do what their names say, to see what is left of its batch.

python -m tests.workflow.crashing_step --batch well,segfault,memory
"""

import argparse
import os
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from af3_core.contracts import OUTCOMES
from af3_core.job import InputError
from workflow.running.items import Item, commit_outcomes, outcome, work_through

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
            time.sleep(60)
    return OUTCOMES.table([outcome("test", "batch", item.name)])


def main() -> None:
    """Works through the items that the batch's name lists."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", required=True)
    batch = parser.parse_args().batch
    items = [
        Item(name, name, Path(f"{name}.parquet"), OUTCOMES, made_from="v1")
        for name in batch.split(",")
    ]
    commit_outcomes(STAGE, batch, work_through(STAGE, batch, items, make))


if __name__ == "__main__":
    main()
