"""What a plan will cost, before anything runs: time, memory, disk, files."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from af3_core.features.buckets import AF3_BUCKETS
from af3_core.inputs.listing import find_ignored
from workflow.batches import Batch, Plan
from workflow.campaign import Campaign
from workflow.databases.manifest import SEARCHED, Database
from workflow.planning.batching import PlannedJob, Refusal, count_cluster_jobs
from workflow.planning.buckets import CostModel, padding_waste
from workflow.planning.costs import Costs
from workflow.planning.memory import device_memory_gb
from workflow.planning.search_costs import SearchCost, search_cost
from workflow.resources import predict_mem_mb
from workflow.settings import Settings
from workflow.tables import read_json

CELLS_PER_SECOND = {"protein": 4e10, "rna": 4e9}
"""Query residues × database residues that one core searches in a second.

Measured for jackhmmer, see benchmarks/results/search_throughput.md; for nhmmer a
tenth of it is assumed.
"""
FILES_PER_EXPORT, FILES_PER_SAMPLE = 6, 3
"""Of an AlphaFold 3 folder: structure, two confidences, input, ranking, terms; and
structure and confidences of every further sample."""
_FILES_PER_BATCH = {"filter": 5, "search": 5, "templates": 5, "jobs": 35}
"""Outcomes, timings, relaxed structures, logs, benchmarks, progress, journals, and
Snakemake's notes on outputs, of all stages of a batch."""
_FILES_PER_CAMPAIGN = 50
_FEATURE_BYTES_PER_TOKEN = 4_000
"""Compressed, with a deep alignment."""
_PAIR_CHANNELS = {"embeddings": 128, "distogram": 64}
"""Of what can be kept of the trunk."""


@dataclass(frozen=True)
class BucketForecast:
    """All batches of one padded size."""

    bucket: int
    batches: int
    items: int
    device_hours: float
    device_memory_gb: float
    host_memory_gb: float


@dataclass(frozen=True)
class Forecast:
    """What a campaign needs that was planned, and what it leaves behind."""

    costs: Costs
    buckets: list[BucketForecast]
    num_jobs: int
    num_items: int
    cluster_jobs: int
    waste: float
    """Share of the device time for padding, compilations and starts."""
    waste_af3: float
    """Likewise, with AlphaFold 3's default buckets."""
    num_sequences: int
    """Distinct ones that are searched."""
    search_hours: Mapping[str, float]
    """CPU hours by database, at jackhmmer's own speed; what the store has already is
    not taken off."""
    disk_gb: float
    files_at_rest: int
    """Of the campaign itself, with logs, without AlphaFold 3's folders."""
    files_exported: int
    """In AlphaFold 3's folders."""
    files_in_store: int
    """At most; shared by campaigns."""
    refused: Mapping[str, int]
    """Inputs that cannot run, by what is wrong."""
    dropped_chains: Sequence[str]
    """Of jobs that run without them: `JOB: chains`."""
    notes: Sequence[str]
    """What should be known of jobs: `JOB: note`."""
    ignored: Mapping[str, int]
    """Files in the inputs' folders that are not read, by folder and ending."""
    of_proteins: SearchCost = SearchCost()
    """What of the search has a filter that a GPU can compute."""
    screens: Sequence[str] = ()
    """What of each screen is computed, in a sentence."""

    @property
    def device_hours(self) -> float:
        """Of all batches."""
        return sum(row.device_hours for row in self.buckets)


def forecast(
    plan: Plan,
    jobs: Sequence[PlannedJob],
    refusals: Sequence[Refusal],
    databases: Sequence[Database],
    costs: Costs,
    settings: Settings,
) -> Forecast:
    """Adds up what a plan will need."""
    tokens = [job.num_tokens for job in jobs for _ in job.job.seeds]
    found = {entry for batch in plan.search.values() for entry in batch.items}
    buckets = forecast_buckets(plan, costs.model)
    waste, waste_af3 = _wastes(tokens, buckets, costs.model, settings)
    return Forecast(
        costs=costs,
        buckets=buckets,
        num_jobs=len(jobs),
        num_items=len(tokens),
        cluster_jobs=count_cluster_jobs(plan),
        waste=waste,
        waste_af3=waste_af3,
        num_sequences=len(found),
        search_hours=search_hours(jobs, databases),
        of_proteins=protein_cost(plan, jobs, databases),
        disk_gb=disk_gb(tokens, settings),
        files_at_rest=files_at_rest(plan, len(jobs), settings),
        files_exported=files_exported(settings, len(jobs), len(tokens)),
        files_in_store=_stored(plan),
        refused=count_refusals(refusals),
        dropped_chains=[
            f"{job.name}: {', '.join(job.dropped_chains)}"
            for job in jobs
            if job.dropped_chains
        ],
        notes=[f"{job.name}: {note}" for job in jobs for note in job.notes],
        ignored=find_ignored(settings.inputs),
    )


def with_costs(
    known: Forecast,
    plan: Plan,
    token_counts: Sequence[int],
    costs: Costs,
    settings: Settings,
) -> Forecast:
    """The same forecast by other costs, as there are once batches have been timed."""
    buckets = forecast_buckets(plan, costs.model)
    waste, waste_af3 = _wastes(token_counts, buckets, costs.model, settings)
    return replace(
        known, costs=costs, buckets=buckets, waste=waste, waste_af3=waste_af3
    )


def _wastes(
    token_counts: Sequence[int],
    buckets: Sequence[BucketForecast],
    costs: CostModel,
    settings: Settings,
) -> tuple[float, float]:
    """Wasted share of the device time, with these buckets and AlphaFold 3's."""
    if not token_counts:
        return 0.0, 0.0
    waste_of = functools.partial(
        padding_waste,
        token_counts,
        costs=costs,
        batch_seconds=60.0 * settings.predict.batch_minutes,
    )
    theirs = [*AF3_BUCKETS, max(token_counts)]
    return waste_of([row.bucket for row in buckets]), waste_of(theirs)


def forecast_buckets(plan: Plan, costs: CostModel) -> list[BucketForecast]:
    """One row per padded size, smallest first."""
    by_bucket: dict[int, list[Batch]] = {}
    for batch in plan.jobs.values():
        by_bucket.setdefault(batch.bucket, []).append(batch)
    return [
        _forecast(bucket, batches, costs)
        for bucket, batches in sorted(by_bucket.items())
    ]


def _forecast(bucket: int, batches: list[Batch], costs: CostModel) -> BucketForecast:
    items = sum(len(batch.items) for batch in batches)
    seconds = costs.compile + len(batches) * costs.start + items * costs.seconds(bucket)
    return BucketForecast(
        bucket=bucket,
        batches=len(batches),
        items=items,
        device_hours=seconds / 3600,
        device_memory_gb=device_memory_gb(bucket),
        host_memory_gb=max(predict_mem_mb(batch, 1) for batch in batches) / 1000,
    )


def search_hours(
    jobs: Sequence[PlannedJob], databases: Sequence[Database]
) -> dict[str, float]:
    """CPU hours of searching every distinct sequence, by database."""
    residues, hours = _residues_by_role(jobs), {}
    for database in databases:
        if total := residues.get(database.role):
            cells = total * sum(shard.residues for shard in database.shards)
            hours[database.name] = cells / CELLS_PER_SECOND[database.kind] / 3600
    return hours


def protein_cost(
    plan: Plan, jobs: Sequence[PlannedJob], databases: Sequence[Database]
) -> SearchCost:
    """What searches with a filter cost, each batch reading its database once."""
    residues, total = _residues_by_role(jobs), SearchCost()
    for database in databases:
        if database.has_filter:
            names = [b.database for b in plan.search.values()]
            total += search_cost(
                residues.get(database.role, 0),
                sum(shard.residues for shard in database.shards),
                sum(shard.sequences for shard in database.shards),
                names.count(database.name),
            )
    return total


def _residues_by_role(jobs: Sequence[PlannedJob]) -> dict[str, int]:
    """Residues of all distinct sequences that are searched, by the databases' role."""
    lengths: dict[str, dict[str, int]] = {role: {} for role in SEARCHED}
    for need in (need for job in jobs for need in job.needs):
        length = len(need.polymer.sequence)
        if need.search_unpaired:
            role = "rna" if need.polymer.kind == "rna" else "unpaired"
            lengths[role][need.sequence_id] = length
        if need.search_paired:
            lengths["paired"][need.sequence_id] = length
    return {role: sum(known.values()) for role, known in lengths.items()}


def disk_gb(token_counts: Sequence[int], settings: Settings) -> float:
    """Room for features, predictions and relaxed structures, and what else is kept.

    Per sample, positions and pLDDT of about 8 atoms a token, and 2 bytes per pair of
    tokens for PAE and contacts after compression. Embeddings and distogram, in
    float16, have 128 and 64 channels per pair of tokens.
    """
    num_samples = settings.model.num_samples or 5
    channels = sum(_PAIR_CHANNELS[kind] for kind in settings.predict.trunk_files)
    of_trunk = 2 * channels * sum(n * n for n in token_counts)
    per_sample = sum(8 * 32 * n + 2 * n * n for n in token_counts)
    features = _FEATURE_BYTES_PER_TOKEN * sum(token_counts)
    return (num_samples * per_sample + features + of_trunk) / 1e9


def files_at_rest(plan: Plan, num_jobs: int, settings: Settings) -> int:
    """Features of every job, the files of every (job, seed), some of every batch."""
    items = sum(len(batch.items) for batch in plan.jobs.values())
    items *= 1 + len(settings.predict.trunk_files)
    of_batches = sum(
        count * len(getattr(plan, stage)) for stage, count in _FILES_PER_BATCH.items()
    )
    return num_jobs + items + of_batches + _FILES_PER_CAMPAIGN


def files_exported(settings: Settings, num_jobs: int, num_items: int) -> int:
    """Files in AlphaFold 3's folders, without relaxed structures and other formats."""
    if settings.export.samples == "none":
        return 0
    if settings.export.zip:
        return num_jobs
    samples = num_items * (settings.model.num_samples or 5)
    further = FILES_PER_SAMPLE * samples if settings.export.samples == "all" else 0
    return FILES_PER_EXPORT * num_jobs + further


def _stored(plan: Plan) -> int:
    """Entries of the search store: one per sequence and database or template search."""
    batches = (*plan.search.values(), *plan.templates.values())
    return sum(len(batch.items) for batch in batches)


def count_refusals(refusals: Sequence[Refusal]) -> dict[str, int]:
    """How many inputs cannot run, by what is wrong with them."""
    counts: dict[str, int] = {}
    for refusal in refusals:
        counts[refusal.problem] = counts.get(refusal.problem, 0) + 1
    return counts


def forecast_path(campaign: Campaign) -> Path:
    """Where planning writes its forecast."""
    return campaign.plan / "forecast.json"


def read_forecast(path: Path) -> Forecast:
    """The forecast that planning wrote."""
    return TypeAdapter(Forecast).validate_python(read_json(path))
