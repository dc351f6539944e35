"""The forecast of a plan as people read it in a terminal."""

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from workflow.planning.forecast import Forecast
from workflow.planning.search_costs import BYTES_PER_SECOND, CARD, SearchCost

_SHOWN, _FEW_HOURS = 20, 0.1


def print_forecast(forecast: Forecast, console: Console) -> None:
    """Shows what will run, what it needs and what it leaves."""
    console.print(_buckets_table(forecast))
    for line in describe(forecast):
        console.print(line, markup=False, soft_wrap=True)


def _buckets_table(forecast: Forecast) -> Table:
    table = Table(title="Predictions", title_justify="left", box=SIMPLE)
    headings = ("tokens", "batches", "jobs × seeds", "hours", "device GB", "host GB")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in forecast.buckets:
        table.add_row(
            f"≤ {row.bucket}",
            str(row.batches),
            str(row.items),
            f"{row.device_hours:.2f}",
            f"{row.device_memory_gb:.0f}",
            f"{row.host_memory_gb:.0f}",
        )
    return table


def describe(forecast: Forecast) -> list[str]:
    """The forecast in sentences, one per line."""
    costs, hours = forecast.costs, forecast.search_hours
    per_job = forecast.files_at_rest / max(1, forecast.num_jobs)
    lines = [
        *(f"Screen: {sentence}" for sentence in forecast.screens),
        f"Jobs: {forecast.num_jobs:,}, with seeds {forecast.num_items:,}",
        f"Cluster jobs: {forecast.cluster_jobs:,}",
        f"Device time: {forecast.device_hours:,.1f} hours of {costs.device} "
        f"({costs.source})",
        f"Spent on padding, compilations and starts: {forecast.waste:.1%}; "
        f"with AlphaFold 3's default buckets: {forecast.waste_af3:.1%}",
        f"Sequences to search: {forecast.num_sequences:,}",
    ]
    if hours:
        each = ", ".join(f"{name} {value:,.1f}" for name, value in hours.items())
        lines.append(f"Search: about {sum(hours.values()):,.1f} CPU hours ({each})")
    lines += _ways_to_search(forecast.of_proteins)
    lines += [
        f"Disk: about {forecast.disk_gb:,.1f} GB, without the search store",
        f"Files at rest: {forecast.files_at_rest:,} ({per_job:.1f} per job); "
        f"search store: up to {forecast.files_in_store:,}, shared",
    ]
    if forecast.files_exported:
        lines.append(
            f"AlphaFold 3's folders: {forecast.files_exported:,} files; "
            "none with export.samples: none"
        )
    if forecast.dropped_chains:
        shown = "; ".join(forecast.dropped_chains[:_SHOWN])
        more = len(forecast.dropped_chains) - _SHOWN
        lines.append(
            "Chains of unknown residues only, which AlphaFold 3 leaves out: "
            f"{shown}{f'; and {more} more jobs' if more > 0 else ''}"
        )
    if forecast.notes:
        more = len(forecast.notes) - _SHOWN
        lines += ["Notes on jobs:", *(f"  {note}" for note in forecast.notes[:_SHOWN])]
        lines += [f"  and {more} more; see results/plan/jobs.parquet"] * (more > 0)
    if forecast.ignored:
        each = ", ".join(f"{path} ({n})" for path, n in forecast.ignored.items())
        lines.append(f"Files that are not read, as their endings say: {each}")
    if forecast.refused:
        each = ", ".join(f"{count} {what}" for what, count in forecast.refused.items())
        total = sum(forecast.refused.values())
        lines.append(f"Refused inputs: {total} ({each}); see results/plan")
    return lines


def _ways_to_search(cost: SearchCost) -> list[str]:
    """Hours of both ways to search proteins, computed; none where they are minutes."""
    if cost.filtering + cost.aligning < _FEW_HOURS:
        return []

    def reading(times: int) -> str:
        read, hours = times * cost.bytes_read / 1e9, times * cost.reading
        at = f"{hours:,.1f} hours at {BYTES_PER_SECOND / 1e9:.0f} GB/s"
        return f"{read:,.1f} GB read, {at}"

    return [
        f"Of that proteins, {cost.cells:.1e} cells, computed for digitised databases:",
        f"  by processors: {cost.filtering:,.1f} core hours for the filter,"
        f" {cost.aligning:,.1f} for HMMER; {reading(1)}",
        f"  filtered ahead (search.filter: triton): {cost.card_hours:,.1f} hours of one"
        f" {CARD}, {cost.aligning:,.1f} core hours for HMMER; {reading(2)}",
    ]
