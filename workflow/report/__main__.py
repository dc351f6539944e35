"""Writes a campaign's report: `python -m workflow.report --results results`."""

import argparse
import sys
from pathlib import Path

from workflow.report.write import DEFAULT_BUDGET, write_report


def main(argv: list[str] | None = None) -> int:
    """Command line of the report step."""
    options = _parser().parse_args(argv)
    try:
        summary = write_report(
            options.results,
            options.out,
            title=options.title,
            jobs=tuple(options.jobs),
            budget=round(options.budget_mb * 1e6),
        )
    except ValueError as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    print(
        f"{summary.path}: {summary.jobs} jobs, {summary.detailed} with structure, "
        f"{summary.size / 1e6:.1f} MB"
    )
    if summary.unreadable:
        print(f"{summary.unreadable} jobs have files that are gone, broken or outdated")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workflow.report")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--out", type=Path, default=Path("results/report.html"))
    parser.add_argument("--title", default="Foldmill campaign")
    parser.add_argument(
        "--jobs", nargs="*", default=[], help="names or ids of the only jobs to show"
    )
    parser.add_argument(
        "--budget-mb",
        type=float,
        default=DEFAULT_BUDGET / 1e6,
        help="megabytes of structures and PAE to embed, best jobs first",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
