"""Runs a step in a process of its own, and deals with that process's death.

    python -m workflow.running.supervise STAGE --batch ID [--attempt N] [OPTION …]

A segmentation fault, the kernel's out-of-memory killer or a poisoned device context
ends a process, not the batch: the item in flight is blamed in the journal and the step
starts again, which tries it last and alone, and in the end leaves it as a row.
Exit status 75 asks Snakemake to submit the batch again, with more memory and time.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from workflow.running.attempts import (
    EXIT_DEVICE,
    EXIT_POSTPONE,
    EXIT_RESTART,
    EXIT_UNIFIED,
)
from workflow.running.failures import Failure, classify_death, failure
from workflow.running.journal import (
    Event,
    Journal,
    Line,
    journal_path,
    read_history,
    read_lines,
)
from workflow.running.ladder import RETRIES
from workflow.running.scheduler import this_slurm_job

UNIFIED_MEMORY = {
    "TF_FORCE_UNIFIED_MEMORY": "1",
    "XLA_CLIENT_MEM_FRACTION": "3.2",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
"""Environment in which XLA's device memory overflows into the host's. The fraction is
the one that AlphaFold 3's documentation recommends (docs/performance.md, v3.0.4)."""

_MAX_IDLE_STARTS = 3
"""Processes in a row that got nothing done and blamed no item."""
_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL for a step that has to end."""
_OUT_OF_TIME = signal.SIGUSR2
"""What LSF sends at a job's run limit, ten minutes before it kills the job."""
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, _OUT_OF_TIME)
_LAST_LINES = 60
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one step to its end."""
    parser = argparse.ArgumentParser(
        prog="workflow.running.supervise", description=__doc__
    )
    parser.add_argument("stage")
    parser.add_argument("--batch", required=True)
    parser.add_argument("--attempt", type=int, default=1)
    arguments, rest = parser.parse_known_args(argv)
    module = f"workflow.{arguments.stage}"
    command = [sys.executable, "-X", "faulthandler", "-m", module]
    command += ["--batch", arguments.batch, *rest]
    path = journal_path(arguments.stage, arguments.batch)
    return supervise(command, Journal(path, arguments.attempt))


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    status: int
    last_words: str = ""
    oom_kills: int = 0
    stopped: Failure | None = None
    """Set where it was told to end."""


def supervise(command: Sequence[str], journal: Journal) -> int:
    """Runs a command until it has dealt with every item of a batch.

    Returns:
        The step's exit status: 0 when what became of every item is written.
    """
    journal.write("launched", restarts=_num_restarts(journal))
    stop = Stop.install(is_last_attempt=journal.attempt > RETRIES)
    environment: Mapping[str, str] = {}
    num_idle = 0
    while True:
        num_lines = len(read_lines(journal.path))
        ended = run_once(command, environment, stop)
        environment = UNIFIED_MEMORY if ended.status == EXIT_UNIFIED else {}
        if ended.status == 0:
            return 0
        lines = read_lines(journal.path)
        open_items = read_history(lines).open
        if ended.stopped is not None:
            _note(journal, "stopped", open_items, ended.stopped)
            if not stop.is_deadline:
                return 128 + signal.SIGTERM
            return _abandon(command, journal, ended.stopped)
        if ended.status == EXIT_POSTPONE:
            return EXIT_POSTPONE
        is_request = ended.status in (EXIT_RESTART, EXIT_UNIFIED)
        why = _judge(ended)
        if not is_request:
            _say(f"{why.cause}: {why.evidence}")
            _note(journal, "died", open_items, why)
        has_moved = any(line.event == "done" for line in lines[num_lines:])
        is_blamed = bool(open_items) or is_request and why.cause != "device"
        num_idle = 0 if has_moved or is_blamed else num_idle + 1
        if _is_hopeless(ended, open_items) or num_idle >= _MAX_IDLE_STARTS:
            return _end(command, journal, ended, why)


def _num_restarts(journal: Journal) -> int:
    """How often the scheduler has put this job back into its queue by itself."""
    has_history = bool(read_lines(journal.path))
    job = this_slurm_job() if has_history else None
    return 0 if job is None else job.num_restarts


def _judge(ended: Ended) -> Failure:
    if ended.status == EXIT_DEVICE:
        said = [line for line in ended.last_words.splitlines() if line.strip()]
        return failure("device", said[-1] if said else "the device was refused")
    return classify_death(ended.status, ended.last_words, oom_kills=ended.oom_kills)


def _is_hopeless(ended: Ended, open_items: Sequence[Line]) -> bool:
    """A refused device, or a step that ended by itself without taking up an item."""
    return ended.status == EXIT_DEVICE or (ended.status in (1, 2) and not open_items)


def _end(command: Sequence[str], journal: Journal, ended: Ended, why: Failure) -> int:
    """Leaves a batch that this job cannot work on to the next; the last gives up.

    A defect or a wrong setting is the same in every job: it stays an error.
    """
    if ended.status in (1, 2):
        return ended.status
    if journal.attempt <= RETRIES:
        journal.write("postponed")
        return EXIT_POSTPONE
    return _abandon(command, journal, why)


def _abandon(command: Sequence[str], journal: Journal, why: Failure) -> int:
    """Has the step write a row for everything that is not done."""
    journal.write("abandoned", why=why)
    return run_once(command, {}, Stop()).status


def _note(journal: Journal, event: Event, items: Sequence[Line], why: Failure) -> None:
    for began in items:
        item, made_from, rung = began.item, began.made_from, began.rung
        journal.note(event, item, made_from, rung, alone=began.alone, why=why)


@dataclass
class Stop:
    """Whether the step has to end, by a signal or because its time is nearly up."""

    deadline: float | None = None
    signals: list[int] = field(default_factory=list)

    @classmethod
    def install(cls, *, is_last_attempt: bool) -> "Stop":
        """Catches what Slurm and users end jobs with.

        The last submission of a batch ends itself a little before its limit, so that
        what it could not finish becomes rows. Those before leave that to the next.
        """
        stop = cls(_deadline() if is_last_attempt else None)

        def note(number: int, frame: FrameType | None) -> None:
            stop.signals.append(number)

        for number in _STOPS:
            # nohup and background jobs of a shell ignore some, and that is to stay.
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, note)
        return stop

    @property
    def is_deadline(self) -> bool:
        """Whether it is our own deadline, not somebody's signal."""
        return not self.signals and self.deadline is not None

    @property
    def reason(self) -> Failure | None:
        """Why to end now; None: go on."""
        if self.signals:
            return _why_stopped(self.signals[0])
        if self.deadline is not None and time.time() > self.deadline:
            return failure("time_limit", "the last submission's time ran out")
        return None


def _why_stopped(number: int) -> Failure:
    """What a signal stands for, by what Slurm says of the job."""
    name, job = signal.Signals(number).name, this_slurm_job()
    if number == _OUT_OF_TIME or (job is not None and job.is_out_of_time):
        return failure("time_limit", f"{name} as the job's time ran out")
    return failure("preemption", f"{name}: cancelled or pre-empted")


def _deadline() -> float | None:
    job = this_slurm_job()
    return None if job is None else job.end - min(120.0, 0.1 * (job.end - job.start))


def run_once(
    command: Sequence[str], environment: Mapping[str, str], stop: Stop
) -> Ended:
    """Runs a process to its end, or ends it when told to; passes on what it says."""
    oom_kills = _oom_kills()
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        preexec_fn=_die_with_parent,
    )
    last_lines: deque[bytes] = deque(maxlen=_LAST_LINES)
    relay = threading.Thread(target=_relay, args=(process.stderr, last_lines))
    relay.start()
    stopped = None
    while process.poll() is None:
        stopped = stop.reason
        if stopped is not None:
            _end_process(process)
            break
        time.sleep(0.05)
    status = process.wait()
    relay.join(timeout=_GRACE)
    if stopped is None and -status in _STOPS:
        # The signal was sent to the whole job, and reached the step first.
        time.sleep(0.1)
        stopped = stop.reason or _why_stopped(-status)
    words = b"".join(last_lines).decode(errors="replace")
    return Ended(status, words, _oom_kills() - oom_kills, stopped)


def _die_with_parent() -> None:
    """In the child: whatever ends the supervisor ends the step."""
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def _end_process(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def _relay(source: IO[bytes], last_lines: deque[bytes]) -> None:
    for line in source:
        last_lines.append(line)
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()


def _oom_kills() -> int:
    """Processes of this control group that the kernel has killed for memory."""
    try:
        group = Path("/proc/self/cgroup").read_text(encoding="ascii").split("::")[-1]
        events = Path("/sys/fs/cgroup") / group.strip().lstrip("/") / "memory.events"
        counts = dict(line.split() for line in events.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(counts.get("oom_kill", 0))


def _say(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
