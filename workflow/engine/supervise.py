"""Runs a step in a process of its own, and deals with that process's death.

    python -m workflow.engine.supervise STAGE --batch ID [--attempt N] [--minutes M] …

A segmentation fault, the kernel's out-of-memory killer, a poisoned device context or an
item that does not end takes a process, not the batch: the item in flight is blamed in
the journal and the step starts again, which tries it last and alone, and in the end
leaves it as a row. Exit status 75 asks Snakemake to submit the batch again, with more
memory and time.
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

from workflow.campaign import Campaign
from workflow.engine.attempts import (
    EXIT_DEVICE,
    EXIT_POSTPONE,
    EXIT_RESTART,
    EXIT_UNIFIED,
)
from workflow.engine.failures import Failure, classify_death, failure
from workflow.engine.journal import (
    Follower,
    Journal,
    Line,
    in_flight,
    name_process,
    read_lines,
)
from workflow.engine.ladder import RETRIES
from workflow.engine.scheduler import is_in_slurm, this_slurm_job

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
_LAST_SECONDS = 3.0
"""For which Slurm is asked why a step has to end: there may be five in all."""
_OUT_OF_TIME = signal.SIGUSR2
"""What LSF sends at a job's run limit, ten minutes before it kills the job."""
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, _OUT_OF_TIME)
_LAST_LINES = 60
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_SET_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_POLL_SECONDS = 0.05
_SECONDS_BETWEEN_READS = 0.5
"""Of the journal, to see what is in flight."""

_SHARE_OF_ITEM = 0.25
"""The share of a job's time after which an item for which others wait is ended. What a
job asks for is far more than its items take, but for predictions: see the next."""
_SHARES: Mapping[str, float | None] = {
    # Half as much again as the plan reckons for all items together.
    "predict": 0.5,
    # All sequences of a batch go through a database at once.
    "filter": None,
    "search": None,
    "templates": None,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one step to its end."""
    parser = argparse.ArgumentParser(
        prog="workflow.engine.supervise", description=__doc__
    )
    parser.add_argument("stage")
    parser.add_argument("--batch", required=True)
    parser.add_argument("--attempt", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="that the job may take")
    arguments, rest = parser.parse_known_args(argv)
    module = f"workflow.{arguments.stage}"
    command = [sys.executable, "-X", "faulthandler", "-m", module]
    command += ["--batch", arguments.batch, *rest]
    path = Campaign().journal(arguments.stage, arguments.batch)
    return supervise(
        command,
        Journal(path, arguments.attempt),
        minutes=arguments.minutes,
        share_of_item=_SHARES.get(arguments.stage, _SHARE_OF_ITEM),
    )


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    status: int
    last_words: str = ""
    oom_kills: int = 0
    stopped: Failure | None = None
    """Set where it was told to end."""
    overdue: Failure | None = None
    """Set where it was ended because an item did not end."""
    in_flight: tuple[Line, ...] = ()
    """The items that it had begun and not ended."""
    has_moved: bool = False
    """It had brought an item to its end."""


def supervise(
    command: Sequence[str],
    journal: Journal,
    *,
    minutes: float | None = None,
    share_of_item: float | None = _SHARE_OF_ITEM,
) -> int:
    """Runs a command until it has dealt with every item of a batch.

    Args:
        command: the step.
        journal: where the step says what it does.
        minutes: that the job may take; Slurm is asked where it is not given.
        share_of_item: of that time, for an item for which others wait. None where all
            items go together: then none has a limit, and none is given up for time.

    Returns:
        The step's exit status: 0 when what became of every item is written.
    """
    journal.write("launched", restarts=_num_restarts(journal))
    _prctl(_SET_SUBREAPER, 1)
    # What all items do at once is worth another run of the campaign, not rows.
    may_abandon = journal.attempt > RETRIES and share_of_item is not None
    known = find_time_of_job(minutes)
    stop = Stop.install(known, is_last_attempt=may_abandon)
    time_of_job = None if share_of_item is None else known
    environment: Mapping[str, str] = {}
    num_idle = 0
    while True:
        patience = Patience(journal.path, time_of_job, share_of_item or 0.0)
        ended = run_once(command, environment, stop, patience)
        environment = UNIFIED_MEMORY if ended.status == EXIT_UNIFIED else {}
        if ended.status == 0:
            return 0
        if ended.stopped is not None:
            for began in ended.in_flight:
                journal.end("stopped", began, ended.stopped)
            if not stop.is_deadline:
                return 128 + signal.SIGTERM
            return _abandon(command, journal, ended.stopped)
        if ended.status == EXIT_POSTPONE:
            return EXIT_POSTPONE
        is_request = ended.status in (EXIT_RESTART, EXIT_UNIFIED)
        why = _judge(ended)
        if not is_request:
            _say(f"{why.cause}: {why.evidence}")
            for began in ended.in_flight:
                journal.end("died", began, why)
        is_blamed = bool(ended.in_flight) or is_request and why.cause != "device"
        num_idle = 0 if ended.has_moved or is_blamed else num_idle + 1
        if _is_hopeless(ended) or num_idle >= _MAX_IDLE_STARTS:
            return _end(command, journal, ended, why, may_abandon=may_abandon)


@dataclass(frozen=True)
class JobTime:
    """When a job began and has to end, in seconds since the epoch."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.end - self.start

    @property
    def deadline(self) -> float:
        """When to end what is under way, so that there is time to say so."""
        return self.end - min(120.0, 0.1 * self.seconds)


def find_time_of_job(minutes: float | None = None) -> JobTime | None:
    """The time that this job has; None where nobody says."""
    if minutes is not None:
        now = time.time()
        return JobTime(now, now + 60 * minutes)
    job = this_slurm_job()
    return None if job is None else JobTime(job.start, job.end)


class Patience:
    """How long a process may take over an item before the item is called hung.

    Counted from the last word of the process in the journal, for where several items
    are under way each waits for those before it. An item for which no other waits may
    take what is left of the job's time.
    """

    def __init__(self, journal: Path, job: JobTime | None, share: float) -> None:
        self.job, self.share = job, share
        self.lines: list[Line] = []
        self._follower = Follower(journal)
        self._heard = self._asked = time.monotonic()

    def listen(self, process: str) -> None:
        """Reads what the process has written since."""
        self._asked = time.monotonic()
        lines = [x for x in self._follower.new_lines() if x.process == process]
        if lines:
            self._heard = self._asked
            self.lines += lines

    def overdue(self, process: str) -> Failure | None:
        """Why the process has to end now; None: it may go on."""
        if self.job is None:
            return None
        if time.monotonic() - self._asked < _SECONDS_BETWEEN_READS:
            return None
        self.listen(process)
        items = in_flight(self.lines, process)
        waited = self._asked - self._heard
        allowed = max([self.share * self.job.seconds, *(x.patience for x in items)])
        if not items or waited < allowed:
            return None
        is_only = items[-1].last and len(items) <= items[-1].together
        if is_only and time.time() < self.job.deadline:
            return None
        names = ", ".join(line.item for line in items)
        return failure("time_limit", f"{names} did not end within {waited:.0f} s")


def _num_restarts(journal: Journal) -> int:
    """How often the scheduler has put this job back into its queue by itself."""
    has_history = bool(read_lines(journal.path))
    job = this_slurm_job() if has_history else None
    return 0 if job is None else job.num_restarts


def _judge(ended: Ended) -> Failure:
    if ended.overdue is not None:
        return ended.overdue
    if ended.status == EXIT_DEVICE:
        said = [line for line in ended.last_words.splitlines() if line.strip()]
        return failure("device", said[-1] if said else "the device was refused")
    return classify_death(ended.status, ended.last_words, oom_kills=ended.oom_kills)


def _is_hopeless(ended: Ended) -> bool:
    """A refused device, or a step that ended by itself without taking up an item."""
    has_ended_itself = ended.status in (1, 2) and not ended.in_flight
    return ended.status == EXIT_DEVICE or has_ended_itself


def _end(
    command: Sequence[str],
    journal: Journal,
    ended: Ended,
    why: Failure,
    *,
    may_abandon: bool,
) -> int:
    """Leaves a batch that this job cannot work on to the next; the last gives up.

    A defect or a wrong setting is the same in every job: it stays an error.
    """
    if ended.status in (1, 2):
        return ended.status
    if may_abandon:
        return _abandon(command, journal, why)
    journal.write("postponed")
    return EXIT_POSTPONE


def _abandon(command: Sequence[str], journal: Journal, why: Failure) -> int:
    """Has the step write a row for everything that is not done."""
    journal.write("abandoned", why=why)
    return run_once(command, {}, Stop(), Patience(journal.path, None, 0.0)).status


@dataclass
class Stop:
    """Whether the step has to end, by a signal or because its time is nearly up."""

    deadline: float | None = None
    signals: list[int] = field(default_factory=list)
    job: JobTime | None = None
    """As far as is known without asking anybody."""

    @classmethod
    def install(cls, known: JobTime | None, *, is_last_attempt: bool) -> "Stop":
        """Catches what Slurm and users end jobs with.

        The last submission of a batch ends itself a little before its limit, so that
        what it could not finish becomes rows. Those before leave that to the next.
        """
        job = find_time_of_job() if is_last_attempt else None
        stop = cls(None if job is None else job.deadline, job=known)

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
            return self.explain(self.signals[0])
        if self.deadline is not None and time.time() > self.deadline:
            return failure("time_limit", "the last submission's time ran out")
        return None

    def explain(self, number: int) -> Failure:
        """What a signal stands for, by what Slurm says of the job.

        A controller that is busy may not answer in the seconds that are left; then it
        is the time that has passed which tells.
        """
        name = signal.Signals(number).name
        said = this_slurm_job(_LAST_SECONDS)
        if said is not None:
            is_over = said.is_out_of_time
        else:
            is_over = (
                is_in_slurm()
                and self.job is not None
                and time.time() > self.job.deadline
            )
        if number == _OUT_OF_TIME or is_over:
            return failure("time_limit", f"{name} as the job's time ran out")
        return failure("preemption", f"{name}: cancelled or pre-empted")


def run_once(
    command: Sequence[str],
    environment: Mapping[str, str],
    stop: Stop,
    patience: Patience,
) -> Ended:
    """Runs a process to its end, or ends it when told to; passes on what it says.

    Nothing that the process started outlives it.
    """
    oom_kills = _oom_kills()
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        preexec_fn=_die_with_parent,
    )
    name = name_process(process.pid)
    last_lines: deque[bytes] = deque(maxlen=_LAST_LINES)
    relay = threading.Thread(target=_relay, args=(process.stderr, last_lines))
    relay.start()
    stopped = overdue = None
    while process.poll() is None:
        stopped, overdue = stop.reason, patience.overdue(name)
        if stopped is not None or overdue is not None:
            _end_process(process)
            break
        time.sleep(_POLL_SECONDS)
    status = process.wait()
    _end_orphans()
    relay.join(timeout=_GRACE)
    if stopped is None and -status in _STOPS and overdue is None:
        # The signal was sent to the whole job, and reached the step first.
        time.sleep(0.1)
        stopped = stop.reason or stop.explain(-status)
    patience.listen(name)
    return Ended(
        status,
        b"".join(last_lines).decode(errors="replace"),
        _oom_kills() - oom_kills,
        stopped,
        None if stopped else overdue,
        tuple(in_flight(patience.lines, name)),
        any(line.event in ("done", "passed") for line in patience.lines),
    )


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value)


def _die_with_parent() -> None:
    """In the child: whatever ends the supervisor ends the step."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def _end_process(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def _end_orphans() -> None:
    """Ends what a step has left running: as their reaper, this process inherits it."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    while children.exists() and (numbers := children.read_text("ascii").split()):
        for number in numbers:
            os.kill(int(number), signal.SIGKILL)
            os.waitpid(int(number), 0)


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
