"""Snakemake that looks at its cluster jobs every second.

    python -m tests.slurm.impatient [Snakemake's options]

After every look that finds no job ended, the Slurm plugin waits ten seconds longer
before the next. On a cluster that is polite; here a job of 8 s would take 36.
"""

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

RemoteExecutor.next_seconds_between_status_checks = property(
    lambda executor: 1.0, lambda executor, seconds: None
)

if __name__ == "__main__":
    main()
