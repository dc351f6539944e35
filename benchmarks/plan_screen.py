"""What planning a large screen costs: all against all of a proteome, within a budget.

    python -m benchmarks.plan_screen [--proteins 5000] [--jobs 200000] [--folder FOLDER]

12.5 million pairs are counted and refused, then as many of them as the budget allows
are planned, and Snakemake looks at them, as in `benchmarks.plan_proteome`.

Markdown goes to benchmarks/results/plan_screen.md.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import yaml

from benchmarks.page import RESULTS, command_line, machine, publish
from benchmarks.plan_proteome import DATABASES, ROOT, Measurement, measure
from benchmarks.proteome import draw_proteome

PAGE = RESULTS / "plan_screen.md"
_LONGEST = 1200
"""Residues; longer proteins are left out, so that every pair can run."""
_COUNT = """
import resource, sys, time
from pathlib import Path
from af3_core.inputs.entities import Links
from af3_core.inputs.screen_file import read_screen
from af3_core.job import InputError
began = time.perf_counter()
screen = read_screen("all_against_all: proteome.fasta", "all.yaml", Links(Path()), (1,))
try:
    screen.choose()
except InputError as error:
    print(error)
print(time.perf_counter() - began)
print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def make_screen(folder: Path, num_proteins: int, num_jobs: int) -> None:
    """A campaign of one screen; its checkpoint is never read."""
    folder.mkdir(parents=True, exist_ok=True)
    proteins = (
        p
        for p in draw_proteome(2 * num_proteins, num_collisions=0)
        if len(p.sequence) <= _LONGEST
    )
    records = [f">{p.name}\n{p.sequence}\n" for p in islice(proteins, num_proteins)]
    (folder / "proteome.fasta").write_text("".join(records), encoding="ascii")
    (folder / "screen.yaml").write_text(
        "all_against_all: proteome.fasta\n"
        f"budget: {{complexes: {num_jobs}, over: sample}}\n",
        encoding="ascii",
    )
    (folder / "af3.bin").touch()
    settings = {
        "inputs": ["screen.yaml"],
        "search": {"databases": str(DATABASES)},
        "model": {"checkpoint": "af3.bin"},
        "export": {"samples": "none"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def count_all(folder: Path) -> tuple[str, float, int]:
    """What is said of all pairs, the seconds it took, and bytes of memory."""
    done = subprocess.run(
        [sys.executable, "-c", _COUNT],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    said, seconds, memory = done.stdout.splitlines()
    return said, float(seconds), int(memory)


def format_results(
    proteins: int, counted: tuple[str, float, int], found: Measurement
) -> str:
    """The page of results."""
    said, seconds, memory = counted
    cost = found.forecast
    scale = cost.num_jobs / 20_000
    rows = [
        ("counting and refusing all pairs", f"{seconds:.1f} s", "60 s"),
        ("likewise, peak memory", f"{memory / 1e9:.2f} GB", "1 GB"),
        ("jobs planned", f"{cost.num_jobs:,}", ""),
        ("plan, wall time", f"{found.plan.seconds:.0f} s", f"{15 * scale:.0f} s"),
        ("plan, processor time", f"{found.plan.processor:.0f} s", ""),
        ("plan, peak memory", f"{found.plan.memory / 1e9:.2f} GB", ""),
        ("`snakemake -n`", f"{found.dry_run.seconds:.1f} s", f"{10 * scale:.0f} s"),
        ("likewise, processor time", f"{found.dry_run.processor:.1f} s", ""),
        ("`snakemake -n`, peak memory", f"{found.dry_run.memory / 1e9:.2f} GB", ""),
        ("Snakefile, in the process started", f"{found.parse_main:.2f} s", ""),
        ("Snakefile, in every cluster job", f"{found.parse_job:.2f} s", "1 s"),
        ("plan.json", f"{found.plan_bytes / 1e6:.1f} MB", ""),
        ("cluster jobs", f"{cost.cluster_jobs:,}", "1,500"),
        (
            "files at rest per job: results/, logs/, .snakemake/",
            f"{cost.files_at_rest / cost.num_jobs:.2f}",
            "2.5",
        ),
    ]
    return "\n".join(
        [
            f"# All against all of {proteins:,} proteins",
            "",
            f"`python -m benchmarks.plan_screen` on {machine()}. "
            "Limits of time are those of 20,000 "
            "jobs, times as many.",
            "",
            "| what | measured | at most |",
            "| --- | --: | --: |",
            *(f"| {what} | {value} | {limit} |" for what, value, limit in rows),
            "",
            "What is said of all pairs:",
            "",
            f"> {said}",
            "",
            "What the plan says of the screen:",
            "",
            *(f"> {sentence}" for sentence in cost.screens),
            "",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and writes the page."""
    parser = command_line("plan_screen", __doc__)
    parser.add_argument("--proteins", type=int, default=5000)
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="keep the campaign here")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        make_screen(folder, arguments.proteins, arguments.jobs)
        counted = count_all(folder)
        text = format_results(arguments.proteins, counted, measure(folder))
    is_page = (arguments.proteins, arguments.jobs) == (5000, 200_000)
    publish(PAGE if is_page else Path(os.devnull), text.splitlines())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
