"""The best of a campaign by any score: pairs of screens, else jobs."""

import csv
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from af3_core.contracts import SCORES, SCREEN
from af3_core.inputs.screen_best import best_first
from af3_core.job import InputError
from workflow.campaign import Campaign
from workflow.pooling import caution
from workflow.tables import read_table

if TYPE_CHECKING:
    from rich.console import Console

_PAIR = ("partner_1", "partner_2")
_SHOWN_OF_PAIRS = ("iptm", "ipsae", "pae_min", "interface_plddt", "contacts")
_SHOWN_OF_JOBS = ("ranking_score", "iptm", "ptm", "mean_plddt", "ipsae")


def find_best(campaign: Campaign, by: str | None, top: int) -> tuple[pa.Table, str]:
    """Rows of pairs that were asked for, or of jobs where there is no screen.

    Returns:
        The best `top` rows of `screen` or `scores`, and the column they are sorted by.

    Raises:
        InputError: there is no such column of numbers.
    """
    tables = campaign.tables
    table = read_table(tables / "screen.parquet", SCREEN)
    if table.num_rows:
        table, by = table.filter(pc.field("kind") != "background"), by or "ipsae"
    else:
        scores = read_table(tables / "scores.parquet", SCORES)
        table, by = scores.filter(pc.field("rank") == 1), by or "ranking_score"
    numbers = [
        field.name
        for field in table.schema
        if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
    ]
    if by not in numbers:
        raise InputError("foldmill", "--by", by, f"one of {', '.join(numbers)}")
    return best_first(table, by).slice(0, top), by


def print_best(
    campaign: Campaign, console: "Console", *, by: str | None, top: int
) -> None:
    """Shows the best rows, as wide as a terminal."""
    from rich.box import SIMPLE
    from rich.table import Table

    rows, by = find_best(campaign, by, top)
    is_screen = "partner_1" in rows.column_names
    names = _PAIR if is_screen else ("name",)
    shown = _SHOWN_OF_PAIRS if is_screen else _SHOWN_OF_JOBS
    columns = list(dict.fromkeys([by, *_background_of(rows, by), *shown]))
    table = Table(box=SIMPLE)
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right")
    table.add_column("job", overflow="fold")
    for row in rows.to_pylist():
        cells = [str(row[name]) for name in names]
        table.add_row(*cells, *(_cell(row[name]) for name in columns), row["name"])
    console.print(table)
    items = (f"{row['job_id']}.{row['seed']}" for row in rows.to_pylist())
    if said := caution(campaign, items):
        console.print(said, style="yellow", soft_wrap=True)


def write_best(campaign: Campaign, *, by: str | None, top: int) -> None:
    """Writes the best rows with all their columns as CSV."""
    rows, _ = find_best(campaign, by, top)
    writer = csv.writer(sys.stdout)
    writer.writerow(rows.column_names)
    writer.writerows(list(row.values()) for row in rows.to_pylist())


def _background_of(rows: pa.Table, by: str) -> Sequence[str]:
    """The share of background beside the score, where there is one."""
    return [name for name in (f"{by}_above",) if name in rows.column_names]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
