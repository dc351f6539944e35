"""Features beside AlphaFold 3's, and how long commands and steps take to start.

    python -m benchmarks.bench_start [--repeats 5] [--alphafold3 FOLDER]
        [--alphafold3-python PYTHON]

FOLDER has AlphaFold 3 v3.0.4's source as it is installed, that is with its compiled
extension and its dictionary of components beside the Python modules in `src`; PYTHON
has the packages that it needs. Features are those of barnase and barstar, 201 tokens,
with made-up alignments of 16,384 rows each, padded to 256; both sides read the same
job, and their arrays are compared. Every repeat is a process of its own, the sides in
turns.

Steps are started as Snakemake starts them, in copies of a small campaign that has run,
without the results of the stage: from the start of the process to the first item, with
the demo's small weights. Keep the machine quiet.

Markdown goes to benchmarks/results/start.md.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import yaml

from benchmarks.page import RESULTS, command_line, machine, publish
from workflow.campaign import Campaign
from workflow.engine.journal import read_lines
from workflow.init import write_demo

ROOT = Path(__file__).resolve().parents[1]
PAGE = RESULTS / "start.md"
QUERIES = ROOT / "config/demo/databases/queries.fasta"
ROWS = 16_384
LETTERS = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY-", np.uint8)
EQUAL = 1e-5
"""Relative; of floats, among them the positions of conformers. Others are the same."""
STAGES: Mapping[str, Sequence[str]] = {
    "search": ("results/search", "results/store"),
    "featurise": ("results/featurise", "results/features"),
    "predict": ("results/predict", "results/predictions"),
    "relax": ("results/relax", "results/relaxed"),
    "score": ("results/score",),
    "export": ("results/export", "results/alphafold3"),
}
"""What is taken away before a stage is started again."""
LONGEST_START = 120.0
_TABLES_OF_SCORE = [".scores"], [".interfaces"]
"""Stand beside the outcomes of that stage."""


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, and of processors."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Side:
    """Who makes features, and how a process that does is started."""

    name: str
    side: str
    """As `one_featurisation` calls it."""
    python: Path
    source: Path
    threads: int = 1

    def run(self, job: Path, result: Path) -> list[Cost]:
        """The costs of the first seed and of the second; the arrays go to `result`.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        script = Path(__file__).with_name("one_featurisation.py")
        done = subprocess.run(
            [
                *(self.python, "-P", script, self.side, job, result),
                *("--threads", str(self.threads)),
            ],
            env={
                **os.environ,
                "PYTHONPATH": str(self.source),
                "JAX_PLATFORMS": "cpu",
            },
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}:\n{done.stderr[-4000:]}")
        with np.load(result) as arrays:
            costs = json.loads(str(arrays["__costs__"]))
        return [Cost(*each) for each in costs]


def write_job(path: Path) -> None:
    """Barnase and barstar with deep alignments, as AlphaFold 3's JSON."""
    lines = QUERIES.read_text(encoding="utf-8").split()
    known = dict(zip(lines[::2], lines[1::2], strict=True))
    rng = np.random.default_rng(0)
    sequences = [
        {
            "protein": {
                "id": chain_id,
                "sequence": known[name],
                "unpairedMsa": make_alignment(known[name], rng),
                "pairedMsa": "",
                "templates": [],
            }
        }
        for chain_id, name in (("A", ">barnase"), ("B", ">barstar"))
    ]
    job = {
        "name": "barnase_barstar",
        "modelSeeds": [1],
        "sequences": sequences,
        "dialect": "alphafold3",
        "version": 1,
    }
    path.write_text(json.dumps(job), encoding="utf-8")


def make_alignment(sequence: str, rng: np.random.Generator) -> str:
    """A3M: in every row half of the letters differ, and there is an insertion."""
    query = np.frombuffer(sequence.encode(), np.uint8)
    rows = [f">query\n{sequence}\n"]
    for number in range(1, ROWS):
        other = rng.choice(LETTERS, len(query))
        row = np.where(rng.random(len(query)) < 0.5, other, query).tobytes().decode()
        cut = int(rng.integers(len(row)))
        rows.append(f">{number}\n{row[:cut]}gsg{row[cut:]}\n")
    return "".join(rows)


def compare_arrays(theirs: Path, ours: Path) -> str:
    """Which arrays of a batch are the same, as a sentence."""
    same, different = 0, []
    with np.load(theirs) as one, np.load(ours) as other:
        # Our batch does not have the shapes that AlphaFold 3's layouts are taken from.
        names = sorted(
            name
            for name in set(one.files) & set(other.files) - {"__costs__"}
            if not name.endswith(":input_shape")
        )
        for name in names:
            a, b = one[name], other[name]
            exact = not np.issubdtype(b.dtype, np.floating)
            if a.shape == b.shape and (
                np.array_equal(a, b) if exact else _are_close(a, b)
            ):
                same += 1
            else:
                different.append(name)
    said = f"Of the {len(names)} arrays that both make, {same} are equal"
    return (
        f"{said}; these are not: {', '.join(different)}." if different else f"{said}."
    )


def _are_close(first: np.ndarray, second: np.ndarray) -> bool:
    apart = np.linalg.norm((first - second).ravel())
    return bool(apart <= EQUAL * max(1e-30, np.linalg.norm(first.ravel())))


def time_features(arguments: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Both sides in turns; without AlphaFold 3, ours alone."""
    job = folder / "job.json"
    write_job(job)
    here, cores = Path(sys.executable), len(os.sched_getaffinity(0))
    sides = [
        Side(f"Foldmill, {threads} thread{'s' if threads > 1 else ''}", "foldmill",
             here, ROOT, threads)
        for threads in dict.fromkeys((1, cores))
    ]  # fmt: skip
    if arguments.alphafold3:
        # The interpreter of an environment is a link that must not be followed.
        python = arguments.alphafold3_python.absolute()
        source = arguments.alphafold3.resolve() / "src"
        sides.insert(0, Side("AlphaFold 3", "alphafold3", python, source))
    found: dict[str, list[list[Cost]]] = {side.name: [] for side in sides}
    for number in range(arguments.repeats):
        for side in sides:
            costs = side.run(job, folder / f"{side.side}.npz")
            found[side.name].append(costs)
            shown = ", ".join(f"{cost.wall:.2f}" for cost in costs)
            print(f"features {number + 1} {side.name}: {shown} s", flush=True)
    yield from ("## Features of 201 tokens, two alignments of 16,384 rows", "")
    yield "| | first seed, s | processor, s | further seed, s | processor, s |"
    yield "| --- | --: | --: | --: | --: |"
    for name, repeats in found.items():
        cells = [
            f"{median(getattr(costs[seed], what) for costs in repeats):.2f}"
            for seed in (0, 1)
            for what in ("wall", "processor")
        ]
        yield f"| {name} | {' | '.join(cells)} |"
    if arguments.alphafold3:
        theirs, *ours = found.values()
        for name, repeats in zip(list(found)[1:], ours, strict=True):
            ratios = [
                median(
                    b[seed].wall / a[seed].wall
                    for a, b in zip(theirs, repeats, strict=True)
                )
                for seed in (0, 1)
            ]
            yield ""
            yield (
                f"{name}: {ratios[0]:.3f} of AlphaFold 3's time for the first seed,"
                f" {ratios[1]:.3f} for a further one (medians of the pairs' ratios)."
            )
        yield ""
        yield compare_arrays(folder / "alphafold3.npz", folder / "foldmill.npz")
    yield from ("", "All repeats, first and further seed, s by the clock:", "")
    for name, repeats in found.items():
        shown = "; ".join(
            ", ".join(f"{cost.wall:.2f}" for cost in costs) for costs in repeats
        )
        yield f"- {name}: {shown}"
    yield ""


def make_campaign(folder: Path) -> None:
    """A campaign of one job, run to its end, with the demo's databases and network."""
    config = write_demo(folder)
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    sequence = QUERIES.read_text(encoding="utf-8").split()[1]
    (folder / "one.fasta").write_text(f">one\n{sequence}\n", encoding="utf-8")
    settings["inputs"] = ["one.fasta"]
    settings["search"]["store"] = "results/store"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    cores = str(len(os.sched_getaffinity(0)))
    command = ["run", "--directory", str(folder), "--cores", cores]
    started(command, check=False)


def started(command: Sequence[str], *, check: bool = True) -> Cost:
    """What a command of `foldmill` takes."""
    began, used = time.perf_counter(), _children_seconds()
    done = subprocess.run(
        [sys.executable, "-m", "workflow.cli", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise RuntimeError(f"foldmill {' '.join(command)}:\n{done.stderr[-4000:]}")
    return Cost(time.perf_counter() - began, _children_seconds() - used)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def first_item(campaign: Path, stage: str, scratch: Path) -> float:
    """Seconds from the start of a stage's step to its first item, in a copy.

    Raises:
        RuntimeError: it began none.
    """
    copy = scratch / "copy"
    shutil.copytree(campaign, copy, symlinks=True)
    outcomes = (copy / "results" / stage).glob("*.parquet")
    batch = min(p.stem for p in outcomes if p.suffixes[-2:-1] not in _TABLES_OF_SCORE)
    for name in STAGES[stage]:
        shutil.rmtree(copy / name, ignore_errors=True)
    journal = Campaign(copy).journal(stage, batch)
    journal.unlink(missing_ok=True)
    began = time.time()
    command = ["-m", "workflow.engine.supervise", stage, "--batch", batch]
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while time.time() < began + LONGEST_START:
            for line in read_lines(journal) if journal.exists() else ():
                if line.event == "began":
                    return line.time - began
            if process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"{stage}: no item was begun")
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(copy)


def time_starts(arguments: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Commands, and the first items of steps."""
    campaign, fresh = folder / "campaign", folder / "fresh"
    make_campaign(campaign)
    shutil.copytree(campaign, fresh, ignore=shutil.ignore_patterns("results", "logs"))
    commands = {
        "foldmill --help": ["--help"],
        "foldmill plan --help": ["plan", "--help"],
        "foldmill plan, one job": ["plan", "--directory", str(fresh)],
        "foldmill status": ["status", "--directory", str(campaign)],
    }
    yield from ("## Commands", "", "| | median, s | processor, s | all repeats, s |")
    yield "| --- | --: | --: | --- |"
    for name, command in commands.items():
        started(command)  # brings files into the cache
        costs = [started(command) for _ in range(arguments.repeats)]
        print(f"{name}: {median(cost.wall for cost in costs):.2f} s", flush=True)
        yield (
            f"| `{name}` | {median(cost.wall for cost in costs):.2f}"
            f" | {median(cost.processor for cost in costs):.2f}"
            f" | {', '.join(f'{cost.wall:.2f}' for cost in costs)} |"
        )
    yield from ("", "## Steps: from the start of the process to the first item", "")
    yield from ("| stage | median, s | all repeats, s |", "| --- | --: | --- |")
    for stage in STAGES:
        times = [first_item(campaign, stage, folder) for _ in range(arguments.repeats)]
        print(f"{stage}: {median(times):.2f} s", flush=True)
        shown = ", ".join(f"{seconds:.2f}" for seconds in times)
        yield f"| {stage} | {median(times):.2f} | {shown} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and writes the page."""
    parser = command_line("bench_start", __doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--alphafold3", type=Path, help="AlphaFold 3 as installed")
    parser.add_argument("--alphafold3-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--out", type=Path, default=PAGE)
    arguments = parser.parse_args(argv)
    page = [
        "# Features and start",
        "",
        f"`python -m benchmarks.bench_start` on {machine()}. Medians of"
        f" {arguments.repeats} processes each.",
        "",
    ]
    with tempfile.TemporaryDirectory() as temporary:
        page += time_features(arguments, Path(temporary))
        page += time_starts(arguments, Path(temporary))
    publish(arguments.out, page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
