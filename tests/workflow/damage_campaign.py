"""Damages a finished campaign over and over, and compares what a run makes of it.

    python -m tests.workflow.damage_campaign --damages 200 --runs 10 [--one-process]

One bit of one byte is flipped, anywhere in any file of the results or of the store, so
often, then comes `foldmill run`, and nothing by hand. Every run has to end with
status 0 and leave all tables and exported structures as they were. Prints the figures;
exit status 1 if one does not.

With `--one-process` the steps that Snakemake would start are called one after the other
in this process: most of the time of a small run goes into starting them.
"""

import argparse
import contextlib
import importlib
import io
import random
import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import jax

from tests.workflow.campaigns import (
    QUICK_COMPILE,
    ROOT,
    TINY,
    job,
    make_campaign,
    protein,
    run_campaign,
)
from tests.workflow.finished import HERE, settings_here
from tests.workflow.kill_campaign import tables_of
from workflow.plan import write_plan
from workflow.sources import current_plan, find_damage
from workflow.stages import STAGES
from workflow.survey import make_room, survey, verdict_path

INPUTS = {
    "one.json": job("one", protein("GSHMKNVTWY"), modelSeeds=[1, 2]),
    "two.json": job(
        "two", protein("MKTAYIAKQR", "A", "B"), {"ligand": {"id": "L", "smiles": "CCO"}}
    ),
    "searched.fasta": ">crambin\nTTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN\n",
}
REFERENCE = ROOT / "config/demo/references/crambin.cif"


@dataclass
class Outcome:
    """What became of the damages."""

    num_damages: int = 0
    by_folder: Counter[str] = field(default_factory=Counter)
    said: int = 0
    """Files that the runs said were damaged."""
    failed: list[str] = field(default_factory=list)
    """Runs that did not end well, and what they said."""
    differing: list[str] = field(default_factory=list)
    """What is not as it was."""


def new_campaign(folder: Path) -> Path:
    """A small campaign that leaves files of every kind."""
    made = make_campaign(
        folder,
        INPUTS,
        network=TINY,
        predict={"buckets": [64], "save_embeddings": True, "save_distogram": True},
        score={"references": "references"},
        export={"samples": "all", "formats": ["bcif"]},
    )
    (made / "references").mkdir()
    shutil.copy(REFERENCE, made / "references")
    return made


type Run = Callable[[Path], tuple[int, str]]
"""Runs a campaign; exit status, and what was said."""


def run_command(folder: Path) -> tuple[int, str]:
    """`foldmill run`."""
    done = run_campaign(folder, environment=QUICK_COMPILE)
    return done.returncode, done.stdout + done.stderr


def run_in_one_process(folder: Path) -> tuple[int, str]:
    """What `foldmill run` comes to, by the same steps."""
    said = io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(said),
    ):
        try:
            return _run_steps(), said.getvalue()
        except Exception:  # noqa: BLE001
            return 1, said.getvalue() + traceback.format_exc()


def _run_steps() -> int:
    """Calls what is missing or stale; the largest exit status."""
    settings = settings_here()
    plan = current_plan(HERE, settings)
    if find_damage(HERE):
        write_plan(HERE, settings, plan.id)
    seen = survey(HERE, plan, settings)
    if seen.digest:
        make_room(HERE, seen)
    ended = [
        step(stage.name, "--batch", name)
        for stage in STAGES
        for name in plan.of_kind(stage.kind)
        if not HERE.outcomes(stage.name, name).exists()
    ]
    if ended or not (HERE.tables / "scores.parquet").exists():
        ended.append(step("collect"))
    if not verdict_path(HERE).exists():
        ended.append(step("report.__main__", "--out", str(HERE.report)))
        ended.append(step("verdict", "--out", str(verdict_path(HERE))))
    return max(ended, default=0)


def step(name: str, *arguments: str) -> int:
    """Runs the program of a step here, as in a new process: what is compiled for one
    network is not known to the next, or nobody would see which kernels it has."""
    jax.clear_caches()
    return importlib.import_module(f"workflow.{name}").main(list(arguments))


def damage_campaign(
    folder: Path, damages: int, runs: int, seed: int, run: Run = run_command
) -> Outcome:
    """Finishes a campaign, then damages it in so many portions, each with a run."""
    chosen, outcome = random.Random(seed), Outcome()
    new_campaign(folder)
    _run(run, folder, "the first run", outcome)
    if outcome.failed:
        return outcome
    expected = _content(folder)
    for number in range(runs):
        for _ in range(damages // runs):
            path = damage(folder, chosen)
            outcome.by_folder["/".join(path.parts[:2])] += 1
            outcome.num_damages += 1
        _run(run, folder, f"run {number + 1}", outcome)
        found = _content(folder)
        outcome.differing += [
            f"{name} after run {number + 1}"
            for name in sorted(expected.keys() | found.keys())
            if found.get(name) != expected.get(name)
        ]
    return outcome


def damage(folder: Path, chosen: random.Random) -> Path:
    """Flips one bit of a file and names it, relative to the campaign's folder."""
    path = chosen.choice(sorted(_files(folder)))
    content = bytearray(path.read_bytes())
    content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
    with path.open("r+b") as file:  # in place, as a disk does it
        file.write(content)
    return path.relative_to(folder)


def _files(folder: Path) -> Iterator[Path]:
    """All of results and store that hold a byte."""
    for root in (folder / "results", folder / "store"):
        yield from (p for p in root.rglob("*") if p.is_file() and p.stat().st_size)


def _run(run: Run, folder: Path, name: str, outcome: Outcome) -> None:
    status, said = run(folder)
    outcome.said += said.count("damaged, removed: ")
    if status:
        outcome.failed.append(f"{name}: {said}")


def _content(folder: Path) -> dict[str, object]:
    """Rows of all tables, and all that is written for other programs."""
    exported = (folder / "results/alphafold3").rglob("*")
    relaxed = (folder / "results/relaxed_models").rglob("*")
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in (*exported, *relaxed)
        if path.is_file()
    }
    return {**tables_of(folder), **files}


def main() -> int:
    """Prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--damages", type=int, default=200)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one-process", action="store_true")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="damage_campaign_"))
    began = time.monotonic()
    outcome = damage_campaign(
        *(folder / "c", arguments.damages, arguments.runs, arguments.seed),
        run_in_one_process if arguments.one_process else run_command,
    )
    took = time.monotonic() - began
    print(f"{outcome.num_damages} damages in {arguments.runs} runs, {took:.0f} s")
    for name, count in sorted(outcome.by_folder.items()):
        print(f"    {name}: {count}")
    print(f"files that were called damaged: {outcome.said}")
    print("runs that did not end well:", len(outcome.failed), *outcome.failed)
    print("tables and exports that differ:", len(outcome.differing))
    for name in outcome.differing:
        print(f"    {name}")
    if outcome.failed or outcome.differing:
        print(f"left in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
