"""The `foldmill` command: runs the workflow, and shows plans and results.

    foldmill run [--directory DIR] [--configfile FILE] [snakemake's own options]
    foldmill plan …      what would run
    foldmill demo        three small jobs, with an untrained toy model

Everything is Snakemake underneath: `snakemake` at the root of the clone does the same
with its own output.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from af3_core.job import InputError
from workflow.demo import prepare_demo
from workflow.progress import watch
from workflow.summary import print_results

ROOT = Path(__file__).resolve().parent.parent
_LOG = Path("logs/snakemake.log")


def main(argv: list[str] | None = None) -> int:
    """Runs one of foldmill's commands; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="foldmill",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=["run", "plan", "demo"])
    parser.add_argument("--directory", type=Path, default=Path.cwd())
    parser.add_argument("--configfile", type=Path)
    arguments, rest = parser.parse_known_args(argv)
    console = Console(highlight=False)
    try:
        directory = arguments.directory.resolve()
        config = _find_config(directory, arguments.configfile)
        os.chdir(directory)
        if arguments.command == "demo":
            prepare_demo(console)
        if arguments.command == "plan":
            rest = ["plan", *rest]
        return _run_workflow(config, rest, console)
    except InputError as error:
        console.print(f"[red]{error}", soft_wrap=True)
        return 2


def _find_config(directory: Path, given: Path | None) -> Path:
    candidates = [directory / "config.yaml", directory / "config/config.yaml"]
    if given is not None:
        candidates = [given.resolve()]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    allowed = "a configuration file; copy config/config.yaml there and edit it"
    raise InputError(str(candidates[0]), "--configfile", "no such file", allowed)


def _run_workflow(config: Path, options: list[str], console: Console) -> int:
    """Runs Snakemake on the campaign in the current folder and shows its progress."""
    command = [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(ROOT / "Snakefile")),
        *("--configfile", str(config)),
        *options,
    ]
    _LOG.parent.mkdir(exist_ok=True)
    with _LOG.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            status = watch(process, console)
        except KeyboardInterrupt:
            process.wait()
            console.print("Stopped. The same command goes on where this one ended.")
            return 130
    print_results(console)
    if status:
        console.print(f"Snakemake's own output: {_LOG}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
