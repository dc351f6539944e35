"""What planning a proteome costs, and how well its buckets fit.

    python -m benchmarks.plan_proteome [--jobs 20000] [--folder FOLDER]

makes a synthetic proteome (`benchmarks/proteome.py`), as one JSON file for each job,
and measures what a user waits for: planning, `snakemake -n`, and the Snakefile alone,
which Snakemake reads again inside every cluster job. Then it compares the padded work
of the planned buckets with that of AlphaFold 3's default ones.

Markdown goes to benchmarks/results/plan_proteome.md.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from af3_core.features.buckets import AF3_BUCKETS
from benchmarks.page import RESULTS, command_line, machine, publish
from benchmarks.proteome import draw_lengths, draw_proteome, write_json_files
from workflow.planning.buckets import CostModel, bucket_for, padding_waste
from workflow.planning.forecast import Forecast, read_forecast

ROOT = Path(__file__).resolve().parents[1]
PAGE = RESULTS / "plan_proteome.md"
DATABASES = ROOT / "tests/data/databases/databases.tsv"

# Times Snakemake's reading of the Snakefile, without starting Snakemake.
_TIMED_SNAKEMAKE = """
import sys, time
from snakemake.cli import main
from snakemake.workflow import Workflow
include, depth = Workflow.include, 0
def timed(*arguments, **options):
    global depth
    depth, began = depth + 1, time.perf_counter()
    try:
        return include(*arguments, **options)
    finally:
        depth -= 1
        if not depth:
            print(f"parsed in {time.perf_counter() - began:.3f} s", file=sys.stderr)
Workflow.include = timed
main(sys.argv[1:])
"""


@dataclass(frozen=True)
class Usage:
    """Wall time and processor time, s, and peak memory, bytes, of a process."""

    seconds: float
    processor: float
    memory: int
    output: str


@dataclass(frozen=True)
class Measurement:
    """All that is measured of one campaign."""

    plan: Usage
    dry_run: Usage
    parse_main: float
    """Seconds in the Snakefile, in the process that a user starts."""
    parse_job: float
    """Likewise, inside a cluster job."""
    forecast: Forecast
    plan_bytes: int


def make_proteome(folder: Path, num_jobs: int) -> None:
    """A campaign of that many jobs; its checkpoint is never read."""
    write_json_files(folder / "inputs", draw_proteome(num_jobs))
    (folder / "af3.bin").touch()
    settings = {
        "inputs": ["inputs"],
        "search": {"databases": str(DATABASES)},
        "model": {"checkpoint": "af3.bin"},
        "export": {"samples": "none"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def measure(folder: Path) -> Measurement:
    """Plans the campaign and lets Snakemake look at it."""
    plan = _run(folder, "-m", "workflow.plan", "--configfile", "config.yaml")
    # The rule `plan` as Snakemake would have run it.
    dry_run = _run(folder, "-m", "snakemake", "-n", *_snakemake_options())
    parse = ("-c", _TIMED_SNAKEMAKE, "--list", *_snakemake_options())
    return Measurement(
        plan=plan,
        dry_run=dry_run,
        parse_main=_parsed_in(_run(folder, *parse)),
        parse_job=_parsed_in(_run(folder, *parse, "--mode", "subprocess")),
        forecast=read_forecast(folder / "results/plan/forecast.json"),
        plan_bytes=(folder / "results/plan/plan.json").stat().st_size,
    )


def _snakemake_options() -> tuple[str, ...]:
    return "--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml"


def _run(folder: Path, *arguments: str) -> Usage:
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{arguments} failed:\n{output[-3000:]}")
    processor = usage.ru_utime + usage.ru_stime
    seconds = time.perf_counter() - began
    return Usage(seconds, processor, 1024 * usage.ru_maxrss, output)


def _parsed_in(usage: Usage) -> float:
    line = next(x for x in usage.output.splitlines() if x.startswith("parsed in"))
    return float(line.split()[2])


def waste_rows(num_jobs: int, forecast: Forecast) -> list[str]:
    """Padded work of the planned buckets and of AlphaFold 3's, by two measures."""
    lengths = [n for n in draw_lengths(num_jobs) if n <= AF3_BUCKETS[-1]]
    ours = [row.bucket for row in forecast.buckets]
    costs = forecast.costs.model
    largest = AF3_BUCKETS[-1]
    cubic = CostModel(
        constant=0,
        quadratic=0,
        cubic=costs.seconds(largest) / largest**3,
        compile=costs.compile,
        start=0,
    )
    rows = []
    for name, model in (("device time", costs), ("n³ alone", cubic)):
        cells = [
            f"{padding_waste(lengths, buckets, model):.1%}"
            for buckets in (ours, list(AF3_BUCKETS))
        ]
        rows.append(f"| {name}, with compilations | {' | '.join(cells)} |")
    counts = [
        len({bucket_for(n, sorted(buckets)) for n in lengths})
        for buckets in (ours, list(AF3_BUCKETS))
    ]
    rows.append(f"| buckets compiled | {counts[0]} | {counts[1]} |")
    return rows


def format_results(num_jobs: int, found: Measurement) -> str:
    """The page of results."""
    cost = found.forecast
    per_job = cost.files_at_rest / cost.num_jobs
    tables = 1 + cost.num_items / cost.num_jobs
    stored = cost.files_in_store / cost.num_jobs
    rows = [
        ("plan, wall time", f"{found.plan.seconds:.1f} s", "15 s"),
        ("plan, peak memory", f"{found.plan.memory / 1e9:.2f} GB", "2 GB"),
        ("`snakemake -n`", f"{found.dry_run.seconds:.1f} s", "10 s"),
        ("`snakemake -n`, peak memory", f"{found.dry_run.memory / 1e9:.2f} GB", ""),
        ("Snakefile, in the process started", f"{found.parse_main:.2f} s", "1 s"),
        ("Snakefile, in every cluster job", f"{found.parse_job:.2f} s", "1 s"),
        ("plan.json", f"{found.plan_bytes / 1e6:.1f} MB", ""),
        ("cluster jobs", f"{cost.cluster_jobs:,}", "1,500"),
        (
            "files at rest per job: results/, logs/, .snakemake/",
            f"{per_job:.2f}",
            "2.5",
        ),
        ("of them features and prediction", f"{tables:.2f}", ""),
        ("files in the search store per job, shared", f"{stored:.2f}", ""),
        ("likewise, packed", f"{3 * 256 / cost.num_jobs:.2f}", ""),
        ("inputs refused", _listed(cost.refused), ""),
    ]
    return "\n".join(
        [
            f"# A proteome of {num_jobs:,} jobs",
            "",
            f"`python -m benchmarks.plan_proteome --jobs {num_jobs}` on "
            f"{machine()}. "
            f"Times of {cost.costs.device} ({cost.costs.source}).",
            "",
            "| what | measured | at most |",
            "| --- | --: | --: |",
            *(f"| {what} | {value} | {limit} |" for what, value, limit in rows),
            "",
            "Share of the work that is not the jobs' own:",
            "",
            "| measure | planned buckets | AlphaFold 3's default buckets |",
            "| --- | --: | --: |",
            *waste_rows(num_jobs, cost),
            "",
        ]
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and writes the page."""
    parser = command_line("plan_proteome", __doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="keep the campaign here")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        make_proteome(folder, arguments.jobs)
        text = format_results(arguments.jobs, measure(folder))
    publish(PAGE, text.splitlines())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
