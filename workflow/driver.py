"""Starts Snakemake, and ends it and all that it runs at the first signal.

    python -m workflow.driver [Snakemake's own options]

Snakemake alone, told to end by SIGTERM, waits for its jobs to end by themselves; told
twice by Ctrl-C, it may leave cluster jobs uncancelled. So this module is run in its
place: there the first Ctrl-C counts and no other does, and the `foldmill` command turns
every signal into one of those, and ends the steps on this machine itself.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class Ended:
    """How Snakemake ended."""

    status: int
    signal: int | None = None
    """By which it was told to end, if it was."""


def drive(
    options: Sequence[str],
    log: Path,
    watch: Callable[[subprocess.Popen[bytes]], int],
) -> Ended:
    """Runs Snakemake to its end, or ends it at the first signal that comes.

    Args:
        options: Snakemake's.
        log: where its output goes.
        watch: waits for its end, and says with what status.
    """
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace"}
    signals: list[int] = []
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "workflow.driver", *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )

        def stop(number: int, frame: FrameType | None) -> None:
            if not signals:
                threading.Thread(target=_end, args=(process,)).start()
            signals.append(number)

        before = {
            number: signal.signal(number, stop)
            for number in _STOPS
            # What nohup and background jobs of a shell ignore stays ignored.
            if signal.getsignal(number) != signal.SIG_IGN
        }
        try:
            status = watch(process)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return Ended(status, signals[0] if signals else None)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupts Snakemake, and ends the steps that it has started here.

    On a cluster, Snakemake itself cancels what it has submitted.
    """
    told: set[int] = set()
    process.send_signal(signal.SIGINT)
    while process.poll() is None:
        for number in set(_steps_below(process.pid)) - told:
            told.add(number)
            _terminate(number)
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _terminate(number: int) -> None:
    try:
        os.kill(number, signal.SIGTERM)
    except ProcessLookupError:
        return  # ended by itself


def _steps_below(number: int) -> Iterator[int]:
    """Processes that run a step of ours, below a process."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text("utf-8", errors="replace")
        except OSError:
            continue  # ended meanwhile
        parent = int(status.rpartition(")")[2].split()[1])
        parents.setdefault(parent, []).append(int(folder.name))
    waiting = parents.get(number, [])
    while waiting:
        child = waiting.pop()
        waiting += parents.get(child, [])
        if _is_step(child):
            yield child


def _is_step(number: int) -> bool:
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    modules = [
        module for flag, module in zip(words, words[1:], strict=False) if flag == b"-m"
    ]
    return any(module.startswith(b"workflow.") for module in modules)


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Runs Snakemake; the first Ctrl-C ends it, and further ones change nothing."""
    # Imported here, for it takes a second that `drive` need not wait.
    from snakemake.cli import main as snakemake

    signal.signal(signal.SIGINT, _interrupt_once)
    # A terminal that is closed tells everybody; `foldmill` makes it an interrupt.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.argv[0] = "snakemake"  # whose words its messages are
    snakemake()


if __name__ == "__main__":
    main()
