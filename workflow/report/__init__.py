"""The report: one HTML page for a whole campaign, opened from disk, without network.

`write_report` reads the campaign's tables and writes the page. The table of jobs and
every failure are always inside; structures, PAE matrices and traces are embedded for
the jobs with the highest ranking scores until a byte budget is spent, so that a page of
20,000 jobs still opens at once. `python -m workflow.report` is the same as a command,
and with `--jobs` writes the page of chosen jobs.
"""

from workflow.report.write import write_report

__all__ = ["write_report"]
