"""What a campaign came to, in a table and one sentence."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from af3_core.contracts import JOBS, OUTCOMES, SCORES
from workflow.campaign import PLAN, REPORT, TABLES
from workflow.manifest import load_manifest
from workflow.planning.costs import campaign_timings, find_costs
from workflow.planning.forecast import FORECAST, read_forecast, with_costs
from workflow.planning.forecast_view import print_forecast
from workflow.pooling import mixtures
from workflow.step import read_planned_settings
from workflow.tables import read_rows, read_table

_SHOWN_ROWS = 20
FAILURES = TABLES / "failures.parquet"


@dataclass(frozen=True)
class Verdict:
    """How many jobs have results, and how many do not."""

    done: int
    failed: int

    @property
    def sentence(self) -> str:
        """One line that says it."""
        total = self.done + self.failed
        if not self.failed:
            return f"All {total} jobs have results."
        return (
            f"{self.done} of {total} jobs have results; {self.failed} failed: "
            f"cause and remedy of each are in {FAILURES} and the report."
        )


def read_verdict(tables: Path = TABLES) -> Verdict:
    """Counts jobs with and without results from the campaign's tables.

    A job counts as failed if any of its seeds did; a refused input counts as one.
    """
    scored = set(read_table(tables / "scores.parquet", SCORES)["job_id"].to_pylist())
    failures = read_rows(tables / "failures.parquet", OUTCOMES)
    failed = {row["job_id"] or f"{row['stage']}/{row['item']}" for row in failures}
    return Verdict(done=len(scored - failed), failed=len(failed))


def print_results(console: Console) -> None:
    """Shows the ranked results, what failed, and where the report is."""
    scores = TABLES / "scores.parquet"
    if not scores.is_file():
        _print_refusals(console)
        return
    rows = [row for row in read_rows(scores, SCORES) if row["rank"] == 1]
    if rows:
        console.print(_results_table(rows[:_SHOWN_ROWS]))
    if len(rows) > _SHOWN_ROWS:
        console.print(f"… and {len(rows) - _SHOWN_ROWS} more in the report")
    for row in read_rows(FAILURES, OUTCOMES)[:_SHOWN_ROWS]:
        console.print(f"failed ({row['cause']}): {row['evidence']}", markup=False)
    for sentence in mixtures(TABLES.parent.parent):
        console.print(f"[yellow]Not comparable: {escape(sentence)}", soft_wrap=True)
    console.print(read_verdict().sentence, soft_wrap=True)
    console.print(f"Report: {REPORT.resolve()}", soft_wrap=True)


def print_plan(console: Console) -> None:
    """Shows what the plan comes to, and what it refused."""
    manifest = load_manifest()
    if manifest is None or not FORECAST.is_file():
        return
    settings, jobs = read_planned_settings(), read_table(PLAN / "jobs.parquet", JOBS)
    num_seeds = pc.list_value_length(jobs["seeds"]).to_numpy()
    tokens = np.repeat(jobs["num_tokens"].to_numpy(), num_seeds).tolist()
    # Batches may have been timed since the plan was made.
    costs = find_costs(settings.plan, campaign_timings())
    known = read_forecast()
    print_forecast(with_costs(known, manifest, tokens, costs, settings), console)
    _print_refusals(console)


def _print_refusals(console: Console) -> None:
    """What planning refused, where nothing came of the campaign yet."""
    refused = PLAN / "outcomes.parquet"
    if refused.is_file():
        for row in read_rows(refused, OUTCOMES)[:_SHOWN_ROWS]:
            console.print(f"refused: {row['evidence']}", markup=False, soft_wrap=True)


def _results_table(rows: list[dict[str, object]]) -> Table:
    """As wide as a terminal of 80 columns: where there are references, how near the
    predictions come to them takes the place of their clashes."""
    table = Table(title="Best sample of each job", title_justify="left", box=SIMPLE)
    table.add_column("job", overflow="fold", min_width=16)
    is_compared = any(row["reference"] for row in rows)
    quality = "lDDT" if is_compared else "clashes"
    for heading in ("tokens", "ranking", "pTM", "ipTM", "pLDDT", quality, "relaxed"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            str(row["name"]),
            str(row["num_tokens"]),
            _shown(row["ranking_score"]),
            _shown(row["ptm"]),
            _shown(row["iptm"]),
            _shown(row["mean_plddt"], digits=1),
            _shown(row["lddt"]) if is_compared else str(row["clashes"]),
            str(row["relax_status"] or "–"),
        )
    return table


def _shown(value: object, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
