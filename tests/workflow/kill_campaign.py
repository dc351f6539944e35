"""Kills a campaign over and over, and compares what is left with an undisturbed one.

    python -m tests.workflow.kill_campaign --kills 30 --seed 1

Everything that the campaign runs is killed at once, -9, after random times. In the end
the tables have to equal those of an undisturbed run, and no item may have been taken up
again after it was committed. Prints the figures; exit status 1 if either fails.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from tests.workflow.campaigns import (
    ENVIRONMENT,
    QUICK_COMPILE,
    ROOT,
    TINY,
    job,
    make_campaign,
    protein,
    run_campaign,
)
from workflow.engine.journal import key_of, read_lines

INPUTS = {
    "one.json": job("one", protein("GSHMKNVTWYCDSEELLKS")),
    "two.json": job("two", protein("MKTAYIAKQR", "A", "B"), modelSeeds=[1, 2]),
    "ligand.json": job(
        "ligand", protein("GSHMKNVTWY"), {"ligand": {"id": "B", "ccdCodes": ["ATP"]}}
    ),
    "searched.fasta": ">crambin\nTTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN\n"
    ">peptide\nGSHMK\n",
    "bad.json": "{",
}
"""Few and small, with something of every stage."""
_MEASURED = {"seconds", "start", "end", "compiled", "from_cache"}
_SHORTEST = 1.0


@dataclass(frozen=True)
class Outcome:
    """What a campaign that was killed came to."""

    num_kills: int
    num_finished: int
    """How often it ended by itself, and was begun anew to be killed again."""
    differing: tuple[str, ...]
    """Tables that are not those of the undisturbed run."""
    num_committed: int
    repeated: tuple[str, ...]
    """Items that were taken up after they had been committed."""


def kill_campaign(
    folder: Path, kills: int, seed: int, longest: float = 60.0
) -> Outcome:
    """Runs one campaign undisturbed and kills others `kills` times in all.

    They are killed at random, after `longest` seconds at most and in any case before
    most of the time is up that the undisturbed one took.
    """
    undisturbed = new_campaign(folder / "undisturbed")
    began = time.monotonic()
    run_campaign(undisturbed, environment=QUICK_COMPILE)
    longest = min(longest, 0.6 * (time.monotonic() - began))
    expected = tables_of(undisturbed)
    rng, num_kills, campaigns = random.Random(seed), 0, []
    while num_kills < kills:
        campaigns.append(new_campaign(folder / f"killed_{len(campaigns)}"))
        while num_kills < kills and kill_after(
            campaigns[-1], rng.uniform(_SHORTEST, longest)
        ):
            num_kills += 1
        run_campaign(campaigns[-1], environment=QUICK_COMPILE)
    differing = {
        f"{campaign.name}/{name}"
        for campaign in campaigns
        for found in [tables_of(campaign)]
        for name in expected.keys() | found.keys()
        if expected.get(name) != found.get(name)
    }
    repeated = [key for campaign in campaigns for key in repeats_in(campaign)]
    committed = sum(len(committed_in(campaign)) for campaign in campaigns)
    return Outcome(
        num_kills,
        len(campaigns) - 1,
        tuple(sorted(differing)),
        committed,
        tuple(repeated),
    )


def new_campaign(folder: Path) -> Path:
    """A small campaign with something of every stage."""
    return make_campaign(folder, INPUTS, network=TINY)


def kill_after(folder: Path, seconds: float) -> bool:
    """Runs the campaign for some time, then kills all of it; False if it had ended."""
    command = [sys.executable, "-m", "workflow.cli", "run", "--directory", str(folder)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**ENVIRONMENT, **QUICK_COMPILE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    has_ended = process.poll() is not None
    if not has_ended:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if survivors := processes_in(folder):
        raise RuntimeError(f"{survivors} outlived the campaign's process group")
    return not has_ended


def processes_in(folder: Path) -> list[str]:
    """Command lines of processes at work in a folder, after a moment to die."""
    for _ in range(20):
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").readlink() == folder.resolve():
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue  # gone meanwhile
        if not found:
            return []
        time.sleep(0.1)
    return found


def tables_of(folder: Path) -> dict[str, list[dict[str, str]]]:
    """All tables of a campaign's results, but for wall times."""
    return {
        str(path.relative_to(folder)): [
            {name: str(value) for name, value in row.items() if name not in _MEASURED}
            for row in pq.read_table(path).to_pylist()
        ]
        for path in sorted(folder.glob("results/**/*.parquet"))
        if "timings" not in path.parts
    }


def committed_in(folder: Path) -> set[str]:
    """Stage and name of every item that a journal calls committed."""
    return {
        f"{path.parent.name} {line.item}"
        for path in folder.glob("logs/*/*.journal")
        for line in read_lines(path)
        if line.event == "done"
    }


def count_done(journal: Path) -> Counter[str]:
    """How often each item, made from the same, was computed and committed."""
    return Counter(
        key_of(line.item, line.made_from)
        for line in read_lines(journal)
        if line.event == "done"
    )


def repeats_in(folder: Path) -> list[str]:
    """Items that some process took up after their result had been committed."""
    repeats = []
    for path in sorted(folder.glob("logs/*/*.journal")):
        done: set[str] = set()
        for line in read_lines(path):
            key = key_of(line.item, line.made_from)
            if line.event == "began" and key in done:
                repeats.append(f"{path.parent.name} {line.item}")
            if line.event == "done":
                done.add(key)
    return repeats


def main() -> int:
    """Prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=60.0, help="seconds")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kill_campaign_"))
    began = time.monotonic()
    outcome = kill_campaign(folder, arguments.kills, arguments.seed, arguments.longest)
    print(f"{outcome.num_kills} kills in {time.monotonic() - began:.0f} s")
    print(f"campaigns that ended before they were killed: {outcome.num_finished}")
    print(
        f"committed items: {outcome.num_committed}, of which computed twice: ", end=""
    )
    print(len(outcome.repeated), *outcome.repeated)
    print("tables that differ from an undisturbed run:", len(outcome.differing))
    for name in outcome.differing:
        print(f"    {name}")
    if outcome.differing or outcome.repeated:
        print(f"left in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
