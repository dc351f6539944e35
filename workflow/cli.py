"""The `foldmill` command: runs the workflow, and shows plans and results.

    foldmill run [--directory DIR] [--configfile FILE] [snakemake's own options]
    foldmill plan …      what would run, and what it will take
    foldmill retry …     run, and try again what failed for other causes than its input
    foldmill query SQL [FOLDER …]  asks the tables of campaigns; see docs/query.md
    foldmill timeline [BATCH …]   draws what the device did, and when it waited

Everything is Snakemake underneath: `snakemake` at the root of the clone does the same
with its own output.
"""

import argparse
import io
import os
import signal
import sys
from itertools import pairwise
from pathlib import Path

from rich.console import Console

from af3_core.job import InputError
from workflow.batches import load_plan
from workflow.campaign import Campaign
from workflow.driver import drive
from workflow.progress import watch
from workflow.query import main as query
from workflow.retry import withdraw_failures
from workflow.summary import print_plan, print_results
from workflow.timeline import main as draw_timelines

ROOT = Path(__file__).resolve().parent.parent
_LOG = Path("logs/snakemake.log")
_STOPPED = "Stopped. The same command goes on where this one ended."


def main(argv: list[str] | None = None) -> int:
    """Runs one of foldmill's commands; returns its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without a letter shows its number, and the command goes on.
            stream.reconfigure(errors="backslashreplace")
    # Names of files and jobs may look like markup.
    console = Console(highlight=False, markup=False)
    try:
        return _run_command(argv, console)
    except InputError as error:
        console.print(str(error), style="red", soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print(_STOPPED)
        return 128 + signal.SIGINT


def _run_command(argv: list[str] | None, console: Console) -> int:
    parser = argparse.ArgumentParser(
        prog="foldmill",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command", choices=["run", "plan", "retry", "timeline", "query"]
    )
    parser.add_argument("--directory", type=Path, default=Path.cwd())
    parser.add_argument("--configfile", type=Path)
    arguments, rest = parser.parse_known_args(argv)
    directory = arguments.directory.resolve()
    if not directory.is_dir():
        allowed = "the folder of a campaign"
        raise InputError(str(directory), "--directory", "no such folder", allowed)
    if arguments.command in ("timeline", "query"):
        os.chdir(directory)
        return (draw_timelines if arguments.command == "timeline" else query)(rest)
    config = _find_config(directory, arguments.configfile)
    os.chdir(directory)
    if arguments.command == "plan":
        return _plan(config, rest, console)
    if arguments.command == "retry":
        _retry(console)
    return _run(config, rest, console)


def _find_config(directory: Path, given: Path | None) -> Path:
    candidates = [directory / "config.yaml", directory / "config/config.yaml"]
    if given is not None:
        candidates = [given.resolve()]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    allowed = "a configuration file; copy config/config.yaml there and edit it"
    raise InputError(str(candidates[0]), "--configfile", "no such file", allowed)


def _plan(config: Path, options: list[str], console: Console) -> int:
    """Plans the campaign in the current folder and shows what would run."""
    quiet = Console(quiet=True)
    status, is_stopped = _snakemake(config, ["plan", *options], console, quiet)
    if status == 0:
        print_plan(Campaign(), console)
    return status


def _retry(console: Console) -> None:
    """Has failed items tried again by the run that follows."""
    plan = load_plan(Campaign())
    count = withdraw_failures(Campaign(), plan) if plan is not None else 0
    console.print(f"{count} failed items will be tried again.")


def _run(config: Path, options: list[str], console: Console) -> int:
    """Runs the campaign in the current folder and shows its results."""
    status, is_stopped = _snakemake(config, options, console, console)
    if not is_stopped:
        print_results(Campaign(), console)
    return status


def _snakemake(
    config: Path, options: list[str], console: Console, shown: Console
) -> tuple[int, bool]:
    """Runs Snakemake; its own output goes to a log, and its progress to `shown`.

    Returns:
        The exit status, and whether a signal ended it.
    """
    command = [
        # --configfile takes any number of files, so another flag has to follow it.
        *("--configfile", str(config)),
        *("--snakefile", str(ROOT / "Snakefile")),
        *_profile_of_clone(options),
    ]
    ended = drive(command, _LOG, lambda process: watch(Campaign(), process, shown))
    if ended.signal is not None:
        console.print(_STOPPED)
        return 128 + ended.signal, True
    if ended.status:
        _explain(console)
    elif "Nothing to be done" in _LOG.read_text(encoding="utf-8", errors="replace"):
        shown.print("Nothing to be done: all results are there and up to date.")
    return ended.status, False


def _explain(console: Console) -> None:
    """Repeats what the user can mend, and says where the rest is."""
    lines = _LOG.read_text(encoding="utf-8", errors="replace").splitlines()
    for heading, line in pairwise(lines):
        if heading.startswith("InputError in "):
            console.print(line, style="red", soft_wrap=True)
    console.print(f"Snakemake's own output: {_LOG}")


def _profile_of_clone(options: list[str]) -> list[str]:
    """`--profile NAME` means the clone's profile of that name, wherever one works."""
    found = list(options)
    for flag, name in zip(options, options[1:], strict=False):
        folder = ROOT / "config/profiles" / name
        if flag == "--profile" and not Path(name).exists() and folder.is_dir():
            found[found.index(name)] = str(folder)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
