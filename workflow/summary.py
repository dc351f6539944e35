"""What a campaign came to, in a table and one sentence."""

from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from af3_core.contracts import OUTCOMES, SCORES, ScoreRow
from workflow.batches import load_plan
from workflow.campaign import Campaign
from workflow.dry_run import describe_made_again
from workflow.plan import make_plan
from workflow.planning.forecast_view import print_forecast
from workflow.pooling import caution, mixtures
from workflow.settings import Settings
from workflow.tables import DamagedFile, read_rows, read_table

_SHOWN_ROWS = 20


@dataclass(frozen=True)
class Verdict:
    """How many jobs have results, and how many do not."""

    done: int
    failed: int
    failures: Path
    """The table of what failed."""

    @property
    def sentence(self) -> str:
        """One line that says it."""
        total = self.done + self.failed
        if not self.failed:
            return f"All {total} jobs have results."
        return (
            f"{self.done} of {total} jobs have results; {self.failed} failed: "
            f"cause and remedy of each are in {self.failures} and the report."
        )


def read_verdict(campaign: Campaign) -> Verdict:
    """Counts jobs with and without results from the campaign's tables.

    A job counts as failed if any of its seeds did; a refused input counts as one.
    """
    scored = set(
        read_table(campaign.tables / "scores.parquet", SCORES)["job_id"].to_pylist()
    )
    path = campaign.tables / "failures.parquet"
    failures = read_rows(path, OUTCOMES)
    failed = {row.job_id or f"{row.stage}/{row.item}" for row in failures}
    return Verdict(len(scored - failed), len(failed), path)


def print_results(
    campaign: Campaign, console: Console, *, is_complete: bool = True
) -> None:
    """Shows the ranked results, what failed, and where the report is.

    `is_complete`: whether the run came to its verdict. If not, the tables are those of
    an earlier one.
    """
    try:
        scores = read_rows(campaign.tables / "scores.parquet", SCORES)
        failures = read_rows(campaign.tables / "failures.parquet", OUTCOMES)
    except (FileNotFoundError, DamagedFile):
        _print_refusals(campaign, console)
        return
    rows = [row for row in scores if row.rank == 1]
    if rows:
        console.print(_results_table(rows[:_SHOWN_ROWS]))
    if len(rows) > _SHOWN_ROWS:
        console.print(f"… and {len(rows) - _SHOWN_ROWS} more in the report")
    if said := caution(campaign, (f"{row.job_id}.{row.seed}" for row in rows)):
        console.print(said, style="yellow", soft_wrap=True)
    for row in failures[:_SHOWN_ROWS]:
        console.print(f"failed ({row.cause}): {row.evidence}", markup=False)
    for sentence in mixtures(campaign):
        console.print(f"Not comparable: {sentence}", style="yellow", soft_wrap=True)
    if is_complete:
        console.print(read_verdict(campaign).sentence, soft_wrap=True)
    else:
        console.print(
            "This run did not come to its end; what is shown is of an earlier one.",
            soft_wrap=True,
        )
    console.print(f"Report: {campaign.report.resolve()}", soft_wrap=True)


def print_plan(campaign: Campaign, settings: Settings, console: Console) -> None:
    """Shows what a plan of the inputs as they are comes to, and what it refuses.

    Nothing is written.

    Raises:
        InputError: see `make_plan`.
    """
    made = make_plan(campaign, settings, load_plan(campaign))
    print_forecast(made.forecast, console)
    for refusal in made.refusals[:_SHOWN_ROWS]:
        console.print(f"refused: {refusal.error}", markup=False, soft_wrap=True)
    if load_plan(campaign) is not None:
        for line in describe_made_again(campaign, settings):
            console.print(line, markup=False, soft_wrap=True)


def _print_refusals(campaign: Campaign, console: Console) -> None:
    """What planning refused, where nothing came of the campaign yet."""
    refused = campaign.plan / "outcomes.parquet"
    if refused.is_file():
        for row in read_rows(refused, OUTCOMES)[:_SHOWN_ROWS]:
            console.print(f"refused: {row.evidence}", markup=False, soft_wrap=True)


def _results_table(rows: list[ScoreRow]) -> Table:
    """As wide as a terminal of 80 columns: where there are references, how near the
    predictions come to them takes the place of their clashes."""
    table = Table(title="Best sample of each job", title_justify="left", box=SIMPLE)
    table.add_column("job", overflow="fold", min_width=16)
    is_compared = any(row.reference for row in rows)
    quality = "lDDT" if is_compared else "clashes"
    for heading in ("tokens", "ranking", "pTM", "ipTM", "pLDDT", quality, "relaxed"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            str(row.name),
            str(row.num_tokens),
            _shown(row.ranking_score),
            _shown(row.ptm),
            _shown(row.iptm),
            _shown(row.mean_plddt, digits=1),
            _shown(row.lddt) if is_compared else str(row.clashes),
            str(row.relax_status or "–"),
        )
    return table


def _shown(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
