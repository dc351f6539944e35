"""What Slurm's job arrays do in Snakemake's plugin, on a Slurm of one node.

    python -m benchmarks.job_arrays            (as root, with slurm-wlm and munge)

Jobs write their own number and where they ran, so that it shows which of them ran.
Markdown goes to benchmarks/results/job_arrays.md.
"""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.page import RESULTS, publish
from tests.slurm.node import one_node_cluster

PAGE = RESULTS / "job_arrays.md"
_SNAKEFILE = """\
rule all:
    input:
        expand(config["wanted"] + "/{i}.txt", i=range(config["num"])),

rule second:
    input:
        "first/{i}.txt",
    output:
        "second/{i}.txt",
    shell:
        "cp {input} {output}"

def is_odd(wildcards):
    return config["mixed"] and int(wildcards.i) % 2

rule first:
    output:
        "first/{i}.txt",
    resources:
        runtime=10,
        mem_mb=lambda wildcards: 400 if is_odd(wildcards) else 300,
        slurm_partition=lambda wildcards: "gpu" if is_odd(wildcards) else "cpu",
    shell:
        "echo {wildcards.i} {resources.slurm_partition} {resources.mem_mb} > {output}"
"""
_OPTIONS = (
    *("--executor", "slurm", "--cores", "1000", "--scheduler", "greedy"),
    *("--keep-going", "--latency-wait", "10", "--slurm-array-jobs", "all"),
    *("--slurm-status-command", "squeue", "--max-status-checks-per-second", "1"),
    *("--slurm-init-seconds-before-status-checks", "2"),
)


@dataclass(frozen=True)
class Case:
    """One workflow, and how it is run."""

    what: str
    num: int
    mixed: bool = False
    wanted: str = "first"
    seconds: float = 300.0
    """It is stopped then."""
    options: tuple[str, ...] = ()


CASES = (
    Case("300 equal jobs, 200 at a time", 300, seconds=90, options=("--jobs", "200")),
    Case(
        "300 equal jobs, 40 in an array",
        300,
        seconds=120,
        options=("--jobs", "400", "--slurm-array-limit", "40"),
    ),
    Case("24 jobs, every other one for `gpu`", 24, True, options=("--jobs", "400")),
    Case("6 jobs in two stages", 6, wanted="second", options=("--jobs", "400")),
)


def main() -> None:
    """Runs all cases; prints and writes the page."""
    rows = [run(case) for case in CASES]
    versions = ", ".join(
        f"{name} {version(name)}"
        for name in (
            "snakemake",
            "snakemake-executor-plugin-slurm",
            "snakemake-executor-plugin-slurm-jobstep",
        )
    )
    query = ["dpkg-query", "--show", "--showformat=${Version}", "slurm-wlm"]
    slurm = subprocess.run(query, capture_output=True, text=True)
    heading = (
        *("case", "exit status", "calls of sbatch", "tasks by partition and memory"),
        *("completed, by Slurm", "first outputs there"),
    )
    page = "\n".join(
        [
            "# Job arrays of Snakemake's plugin for Slurm",
            "",
            f"`python -m benchmarks.job_arrays`: {versions}, slurm-wlm {slurm.stdout}.",
            "",
            f"| {' | '.join(heading)} |",
            "| --- " * len(heading) + "|",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
        ]
    )
    publish(PAGE, page.splitlines())


def run(case: Case) -> Sequence[str]:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Snakefile").write_text(_SNAKEFILE, encoding="utf-8")
        calls = folder / "calls"
        sbatch = folder / "bin/sbatch"
        sbatch.parent.mkdir()
        sbatch.write_text(f'#!/bin/sh\necho >>{calls}\nexec /usr/bin/sbatch "$@"\n')
        sbatch.chmod(0o755)
        environment = {**os.environ, "PATH": f"{sbatch.parent}:{os.environ['PATH']}"}
        environment.pop("SLURM_JOB_ID", None)
        with one_node_cluster(folder / "slurm") as node:
            command = [sys.executable, "-m", "snakemake", *_OPTIONS, *case.options]
            config = (f"num={case.num}", f"mixed={case.mixed}", f"wanted={case.wanted}")
            with (folder / "log").open("w") as log:
                process = subprocess.Popen(
                    [*command, "--config", *config],
                    cwd=folder,
                    env=environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
                try:
                    status = str(process.wait(case.seconds))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    status = f"stopped after {case.seconds:.0f} s"
            fields = "--Format=Partition:|,MinMemory:|,State:|"
            lines = node.run("squeue", "--states=all", "--noheader", "--array", fields)
        tasks = [line.split("|")[:3] for line in lines.splitlines()]
        asked = Counter(f"{partition} {memory}" for partition, memory, _ in tasks)
        completed = sum(state == "COMPLETED" for *_, state in tasks)
        there = len(list((folder / "first").glob("*.txt")))
        return (
            *(case.what, status, str(len(calls.read_text().splitlines()))),
            ", ".join(f"{count} × {what}" for what, count in asked.items()),
            *(str(completed), f"{there} of {case.num}"),
        )


if __name__ == "__main__":
    main()
