"""Runs Snakemake for a command: its options, its log, and what it says of failures.

Snakemake's own output goes to a log of the command's own under `logs/foldmill/`; what
went wrong is repeated where people look, with the last words of the steps concerned.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from workflow.campaign import Campaign
from workflow.driver import drive
from workflow.installation import PROFILES, SNAKEFILE
from workflow.progress import watch

_SHOWN_FAILURES, _SHOWN_LINES, _SHOWN_ROOM = 10, 8, 20
_ROOM_LOG = re.compile(r"logs/make_room/\w+\.log")


@dataclass(frozen=True)
class Launched:
    """How a run of Snakemake ended."""

    status: int
    log: Path
    is_stopped: bool = False
    """Whether a signal ended it."""

    @property
    def text(self) -> str:
        """What Snakemake said."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def had_nothing_to_do(self) -> bool:
        """Whether everything was there and current."""
        return self.status == 0 and "Nothing to be done" in self.text

    @property
    def has_verdict(self) -> bool:
        """Whether it came as far as to say what has results and what has not."""
        return self.status == 0 or "Error in rule verdict" in self.text


def run_snakemake(
    campaign: Campaign,
    config: Path,
    options: Sequence[str],
    shown: Console | None,
    *,
    name: str = "run",
) -> Launched:
    """Runs Snakemake in the campaign's folder until it ends, or is told to.

    Args:
        campaign: whose folder it runs in.
        config: the configuration file.
        options: Snakemake's own.
        shown: where progress goes, if anywhere.
        name: of the command, for its log.
    """
    command = [
        # --configfile takes any number of files, so another flag has to follow it.
        *("--configfile", str(config.resolve())),
        *("--snakefile", str(SNAKEFILE)),
        *("--directory", str(campaign.root)),
        *_find_profiles(options, campaign.root),
    ]
    log = _log_path(campaign, name)

    def wait(process: subprocess.Popen[bytes]) -> int:
        return watch(campaign, process, shown) if shown else process.wait()

    ended = drive(command, log, wait)
    if ended.signal is not None:
        return Launched(128 + ended.signal, log, is_stopped=True)
    return Launched(ended.status, log)


def _log_path(campaign: Campaign, name: str) -> Path:
    """A log that no other command has."""
    stem = f"{name}.{time.strftime('%Y%m%dT%H%M%S')}.{os.getpid()}"
    return campaign.root / "logs/foldmill" / f"{stem}.log"


def _find_profiles(options: Sequence[str], folder: Path) -> list[str]:
    """`--profile NAME` means the campaign's of that name, else the one we bring."""
    found = list(options)
    for index, flag in enumerate(options[:-1]):
        if flag == "--profile":
            found[index + 1] = str(find_profile(options[index + 1], folder))
    return found


def find_profile(name: str, folder: Path) -> Path | str:
    """The folder of a profile: the campaign's, the user's, the site's, or ours."""
    own, site = Path.home() / ".config/snakemake", Path("/etc/xdg/snakemake")
    for place in (folder / name, own / name, site / name, PROFILES / name):
        if place.is_dir():
            return place.resolve()
    return name


def print_room(ended: Launched, folder: Path, console: Console) -> None:
    """Says what was removed to be made again, and why: the words of `make_room`."""
    for name in dict.fromkeys(_ROOM_LOG.findall(ended.text)):
        path = folder / name
        if not path.is_file():
            continue
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines[:_SHOWN_ROOM]:
            console.print(line, markup=False, soft_wrap=True)
        if more := len(lines[_SHOWN_ROOM:]):
            console.print(f"… and {more} more: {path}", markup=False, soft_wrap=True)


@dataclass(frozen=True)
class Failure:
    """One thing that went wrong, in words."""

    what: str
    said: list[str]
    log: Path | None = None


def find_failures(ended: Launched, folder: Path) -> list[Failure]:
    """What Snakemake says went wrong, with the last words of the steps concerned."""
    lines = ended.text.splitlines()
    found = [*_input_errors(lines), *_rule_errors(lines, folder)]
    return found or [*_other_errors(lines)]


def print_failures(ended: Launched, folder: Path, console: Console) -> None:
    """Repeats them where people look."""
    failures = find_failures(ended, folder)
    for failure in failures[:_SHOWN_FAILURES]:
        if failure.what:
            console.print(failure.what, style="red", markup=False, soft_wrap=True)
        for line in failure.said[-_SHOWN_LINES:]:
            style = None if failure.what else "red"
            console.print(line, style=style, markup=False, soft_wrap=True)
        if failure.log is not None:
            console.print(f"  all of it: {failure.log}", markup=False, soft_wrap=True)
    if more := len(failures[_SHOWN_FAILURES:]):
        console.print(f"… and {more} more")
    console.print(f"Snakemake's own output: {ended.log}", markup=False, soft_wrap=True)


def _input_errors(lines: Sequence[str]) -> Iterator[Failure]:
    """What ended the reading of the Snakefile; a refusal is a sentence already."""
    for heading, line in zip(lines, lines[1:], strict=False):
        match = re.match(r"(\w+) in file ", heading)
        # Snakemake calls it so when a step fails: that is told by its log.
        if match and match[1] != "CalledProcessError":
            is_refusal = match[1] == "InputError"
            yield Failure("" if is_refusal else heading, [line.strip()])


def _rule_errors(lines: Sequence[str], folder: Path) -> Iterator[Failure]:
    """Steps that failed, each once, however often they were tried."""
    seen: set[str] = set()
    for index, line in enumerate(lines):
        if not (match := re.match(r"Error in rule (\w+)[,:]", line)):
            continue
        block = _block(lines[index + 1 :])
        logs = [part for part in block if part.startswith("log:")]
        path = logs[0].removeprefix("log:").partition("(")[0].strip() if logs else ""
        told = [
            part for part in block if part.startswith(("message:", "error_message"))
        ]
        told = [part for part in told if not part.endswith(": None")]
        key = path or line
        if key in seen:
            continue
        seen.add(key)
        log = folder / path if path else None
        yield Failure(f"{match[1]} failed:", [*told, *_last_words(log)], log)


def _block(lines: Sequence[str]) -> list[str]:
    """The indented lines that come next."""
    block = []
    for line in lines:
        if not line.startswith(" "):
            break
        block.append(line.strip())
    return block


def _last_words(log: Path | None) -> list[str]:
    """The end of a step's log, without the frames of tracebacks."""
    if log is None or not log.is_file():
        return []
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    told = [
        line
        for line in lines
        if line.strip() and not line.startswith((" ", "Traceback"))
    ]
    return [f"  {line}" for line in told[-3:]]


_MARKS = re.compile(
    r"Error|error:|Exception|refused|denied|No space left|not found|invalid|"
    r"unrecognized"
)


def _other_errors(lines: Sequence[str]) -> Iterator[Failure]:
    """Whatever else was said: a wrong option, a refusing scheduler, a full disk."""
    told = [
        line.strip()
        for line in lines
        if _MARKS.search(line) and not line.lstrip().startswith(("File ", "at "))
    ]
    if told:
        yield Failure("", list(dict.fromkeys(told)))
    elif lines:
        yield Failure("", [line.strip() for line in lines[-3:]])
