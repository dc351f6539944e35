"""What Slurm knows of the job that a step runs in: its limit, and why it has to end.

The plugin that submits jobs takes most of Slurm's variables out of a step's
environment, so Slurm itself is asked, as rarely as can be: by a job that is told to
end, by the last submission of a batch, and by one that takes up what another left.
"""

import os
import re
import subprocess
from dataclasses import dataclass

_PATIENCE = 5.0
"""Seconds that the controller may take."""


@dataclass(frozen=True)
class SlurmJob:
    """What the controller says of a job; times in seconds since the epoch."""

    reason: str
    """`TimeLimit` once its time ran out, also while it is being ended."""
    num_restarts: int
    """How often Slurm has put it back into the queue."""
    start: float
    end: float
    """When it ended or will have to."""

    @property
    def is_out_of_time(self) -> bool:
        """Whether the job ends because of its limit."""
        return self.reason == "TimeLimit"


def is_in_slurm() -> bool:
    """Whether this process is part of a Slurm job."""
    return bool(os.environ.get("SLURM_JOB_ID"))


def this_slurm_job(patience: float = _PATIENCE) -> SlurmJob | None:
    """The Slurm job of this process; None outside of one, or without an answer."""
    if not is_in_slurm():
        return None
    job_id = os.environ["SLURM_JOB_ID"]
    try:
        said = subprocess.run(
            ["scontrol", "--oneliner", "show", "job", job_id],
            capture_output=True,
            text=True,
            check=True,
            timeout=patience,
            env={**os.environ, "SLURM_TIME_FORMAT": "%s"},
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return read_slurm_job(said)


def read_slurm_job(said: str) -> SlurmJob | None:
    """Reads a line of `scontrol --oneliner show job`; None where it lacks something."""
    fields = dict(re.findall(r"(\w+)=(\S*)", said))
    try:
        return SlurmJob(
            fields["Reason"],
            int(fields["Restarts"]),
            float(fields["StartTime"]),
            float(fields["EndTime"]),
        )
    except (KeyError, ValueError):
        return None
