"""What a plan will cost, before anything runs: time, memory, disk, files."""

from dataclasses import dataclass

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from workflow.buckets import CostModel, bucket_for
from workflow.manifest import Batch, Manifest
from workflow.resources import predict_mem_mb

FILES_PER_ITEM = 3
"""Features, prediction, relaxed structure."""


@dataclass(frozen=True)
class BucketForecast:
    """All batches of one padded size."""

    bucket: int
    batches: int
    items: int
    device_hours: float
    device_memory_gb: float
    host_memory_gb: float


def forecast_buckets(manifest: Manifest, costs: CostModel) -> list[BucketForecast]:
    """One row per padded size, smallest first; hours are those of an A100."""
    by_bucket: dict[int, list[Batch]] = {}
    for batch in manifest.jobs.values():
        by_bucket.setdefault(batch.bucket, []).append(batch)
    return [
        _forecast(bucket, batches, costs)
        for bucket, batches in sorted(by_bucket.items())
    ]


def _forecast(bucket: int, batches: list[Batch], costs: CostModel) -> BucketForecast:
    items = sum(len(batch.items) for batch in batches)
    seconds = len(batches) * costs.compile + items * costs.seconds(bucket)
    return BucketForecast(
        bucket=bucket,
        batches=len(batches),
        items=items,
        device_hours=seconds / 3600,
        device_memory_gb=device_memory_gb(bucket),
        host_memory_gb=predict_mem_mb(batches[0], 1) / 1000,
    )


def device_memory_gb(bucket: int) -> float:
    """Device memory of one prediction.

    Fits, within 7 %, what AF3Parallel measured for AlphaFold 3
    on an 80 GB card: 2.8 GB at 257 tokens, 17.2 at 2,053, 69 at 5,123.
    """
    return 1.8 + 3.2e-3 * bucket + 2.09e-6 * bucket**2


def disk_gb(token_counts: list[int], num_samples: int) -> float:
    """Room for features, predictions and relaxed structures.

    Per sample, positions and pLDDT of about 8 atoms a token, and 2 bytes per pair of
    tokens for PAE and contacts after compression.
    """
    per_sample = sum(8 * 32 * n + 2 * n * n for n in token_counts)
    return num_samples * per_sample / 1e9


def padding_waste(
    token_counts: list[int], buckets: list[int], costs: CostModel
) -> float:
    """Share of the device time that goes to padding and compilations."""
    needed = sum(costs.seconds(n) for n in token_counts)
    spent = sum(costs.seconds(bucket_for(n, buckets)) for n in token_counts)
    used = {bucket_for(n, buckets) for n in token_counts}
    spent += costs.compile * len(used)
    return 1 - needed / spent


def print_forecast(
    manifest: Manifest, token_counts: list[int], num_refused: int, console: Console
) -> None:
    """Shows what will run."""
    costs = CostModel()
    rows = forecast_buckets(manifest, costs)
    table = Table(title="Predictions", title_justify="left", box=SIMPLE)
    for heading in ("tokens", "batches", "jobs × seeds", "A100 hours", "device GB"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            f"≤ {row.bucket}",
            str(row.batches),
            str(row.items),
            f"{row.device_hours:.2f}",
            f"{row.device_memory_gb:.0f}",
        )
    console.print(table)
    sequences = {item for batch in manifest.search.values() for item in batch.items}
    num_jobs = len(manifest.search) + len(manifest.templates) + 5 * len(manifest.jobs)
    items = sum(row.items for row in rows)
    console.print(f"Sequences to search: {len(sequences)}")
    console.print(f"Cluster jobs: {num_jobs}")
    console.print(f"Files at rest: about {FILES_PER_ITEM * items}")
    console.print(
        f"Device time: {sum(row.device_hours for row in rows):.1f} A100 hours"
    )
    if token_counts:
        ours = padding_waste(token_counts, [row.bucket for row in rows], costs)
        console.print(f"Spent on padding and compilation: {ours:.1%}")
    if num_refused:
        console.print(f"Refused inputs: {num_refused}; see results/plan")
