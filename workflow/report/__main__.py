"""Writes a campaign's report: `python -m workflow.report --results results`."""

import argparse
import sys
from pathlib import Path

from workflow.campaign import Campaign
from workflow.report.write import DEFAULT_BUDGET, write_report


def main(argv: list[str] | None = None) -> int:
    """Command line of the report step."""
    options = _parser().parse_args(argv)
    campaign = Campaign.of_results(options.results)
    budget = round(options.budget_mb * 1e6)
    try:
        said = write_page(
            campaign,
            options.out,
            title=options.title,
            jobs=tuple(options.jobs),
            budget=budget,
        )
    except ValueError as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    print(said)
    return 0


def write_page(
    campaign: Campaign,
    out: Path,
    *,
    title: str | None = None,
    jobs: tuple[str, ...] = (),
    budget: int = DEFAULT_BUDGET,
    note: str = "",
) -> str:
    """Writes the page, and says in a sentence or two what is on it.

    Raises:
        ContractError, ValueError: as `write_report`.
    """
    summary = write_report(
        campaign.results,
        out,
        title=title,
        jobs=jobs,
        budget=budget,
        tables=campaign.tables,
        note=note,
    )
    said = (
        f"{summary.path}: {summary.jobs} jobs, {summary.detailed} with structure, "
        f"{summary.size / 1e6:.1f} MB"
    )
    if summary.unreadable:
        number = summary.unreadable
        said += f"\n{number} jobs have files that are gone, broken or outdated"
    return said


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workflow.report")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--out", type=Path, default=Path("results/report.html"))
    parser.add_argument("--title", help="instead of the name of the campaign's folder")
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
