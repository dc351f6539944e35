"""Groups the work of a campaign into batches.

Batching is a pure function of the jobs, the settings and the batches before. What was
planned stays as it was: a job that is added gets new batches, so nothing that exists
is computed again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from af3_core.chemistry.residues import query_sequence
from af3_core.features.assembly import ChemistryError, is_unknown
from af3_core.features.chains import chains_of
from af3_core.job import InputError, Job, Ligand, Polymer, job_digest, sanitise_name
from workflow.batches import About, Batch, Plan, batch_id
from workflow.needs import (
    DEEP_ROWS,
    SHALLOW_ROWS,
    ChainNeeds,
    chain_needs,
    padded_rows,
)
from workflow.planning.buckets import CostModel, bucket_for, choose_buckets
from workflow.settings import Settings
from workflow.stages import STAGES

SAVED_BY_DEPTH = 0.05
"""Share of an item's work that goes to alignment rows, at a few hundred tokens."""
_GROWTH = 1.25
_MOST_GROWTH = 100.0


@dataclass(frozen=True)
class PlannedJob:
    """One job that can run, without its alignments, templates and components."""

    job_id: str
    name: str
    source: str
    job: Job
    num_tokens: int
    needs: tuple[ChainNeeds, ...]
    msa_rows: int
    dropped_chains: tuple[str, ...] = ()
    """Chains of unknown residues alone, which AlphaFold 3 leaves out."""
    notes: tuple[str, ...] = ()
    """What a user should know of it; see `job_notes`."""

    @property
    def items(self) -> tuple[str, ...]:
        """One name per seed."""
        return tuple(f"{self.job_id}.{seed}" for seed in self.job.seeds)


@dataclass(frozen=True)
class Refusal:
    """An input, or a job in one, that cannot run, and why."""

    source: str
    error: InputError

    @property
    def problem(self) -> str:
        """What is wrong with it, in two words."""
        if self.error.field == "name":
            return "names taken"
        if self.error.value.endswith(" tokens"):
            return "too large"
        return "unreadable or wrong"


@dataclass(frozen=True)
class SearchTarget:
    """A database as planning sees it: its name, and which sequences go through it."""

    name: str
    kind: str
    role: str
    is_filtered: bool = False
    """Whether that is done by a stage of its own, ahead of the search."""


@dataclass(frozen=True)
class Aims:
    """How large new batches should be."""

    sequences: int
    """In a batch of searches."""
    seconds: float
    """Device time of a batch of predictions."""
    buckets: tuple[int, ...] | None
    """Padded sizes; None: those that waste least."""


def plan_job(
    source: str,
    job: Job,
    count_tokens: Callable[[Job], int],
    max_tokens: int,
    limit: str = "predict.max_tokens",
) -> PlannedJob:
    """Gives a job its id, label, size and needs.

    Raises:
        InputError: it is larger than `max_tokens`, of the setting `limit`, or its
            chemistry is impossible.
    """
    try:
        num_tokens = count_tokens(job)
    except ChemistryError as error:
        allowed = "chains that AlphaFold 3 can build"
        raise InputError(source, "sequences", str(error), allowed) from error
    if num_tokens > max_tokens:
        allowed = f"at most {max_tokens} tokens ({limit})"
        raise InputError(source, "sequences", f"{num_tokens} tokens", allowed)
    name = sanitise_name(job.name)
    job_id = job_digest(replace(job, name=name, seeds=()))[:16]
    needs = chain_needs(job)
    msa_rows = padded_rows(job, needs)
    entities = tuple(
        entity if isinstance(entity, Ligand) else _without_evidence(entity)
        for entity in job.entities
    )
    if entities != job.entities:
        needs = [
            replace(need, polymer=_without_evidence(need.polymer)) for need in needs
        ]
    light = replace(job, entities=entities, user_ccd=None)
    return PlannedJob(
        *(job_id, name, source, light, num_tokens, tuple(needs)),
        msa_rows=msa_rows,
        dropped_chains=tuple(_dropped_chains(light)),
    )


def _dropped_chains(job: Job) -> Iterator[str]:
    suspects = [e for e in job.entities if isinstance(e, Ligand) or _is_monotonous(e)]
    for chain in chains_of(replace(job, entities=tuple(suspects), bonds=())):
        if is_unknown(chain):
            yield chain.chain_id


def _is_monotonous(polymer: Polymer) -> bool:
    """Whether all its residues may be of one kind."""
    return bool(polymer.modifications) or len(set(query_sequence(polymer))) == 1


def _without_evidence(polymer: Polymer) -> Polymer:
    """A chain without alignments and templates, which may take megabytes."""
    if (polymer.unpaired_msa, polymer.paired_msa, polymer.templates) == (None,) * 3:
        return polymer
    return replace(polymer, unpaired_msa=None, paired_msa=None, templates=None)


def plan_batches(
    jobs: Sequence[PlannedJob],
    targets: Sequence[SearchTarget],
    settings: Settings,
    costs: CostModel,
    *,
    before: Plan | None = None,
) -> Plan:
    """Groups the work of all jobs into batches, keeping the batches there were.

    Batches grow where there would be more cluster jobs than the settings allow.
    """
    before, growth = before or Plan(), 1.0
    while True:
        aims = Aims(
            sequences=int(growth * settings.search.batch_size),
            seconds=growth * 60 * settings.predict.batch_minutes,
            buckets=settings.predict.buckets,
        )
        plan = _group(jobs, targets, aims, costs, before)
        too_many = count_cluster_jobs(plan) / settings.plan.max_cluster_jobs
        if too_many <= 1 or growth > _MOST_GROWTH:
            return replace(plan, about={job.job_id: _about(job) for job in jobs})
        # Some do not become fewer, so that batches are never made too large at once.
        growth *= max(_GROWTH, too_many)


def count_cluster_jobs(plan: Plan) -> int:
    """Jobs that a cluster is given if nothing is done yet."""
    return sum(len(plan.of_kind(stage.kind)) for stage in STAGES)


def _group(
    jobs: Sequence[PlannedJob],
    targets: Sequence[SearchTarget],
    aims: Aims,
    costs: CostModel,
    before: Plan,
) -> Plan:
    # What was begun of either is a batch of both.
    begun = before.filter | before.search
    search = _search_batches(jobs, targets, aims, begun)
    filtered = {target.name for target in targets if target.is_filtered}
    paired = {target.name for target in targets if target.role == "paired"}
    unpaired = {n: batch for n, batch in search.items() if batch.database not in paired}
    templates = _template_batches(jobs, unpaired, aims, before.templates)
    return Plan(
        filter={n: batch for n, batch in search.items() if batch.database in filtered},
        search=search,
        templates=templates,
        jobs=_job_batches(jobs, search, templates, aims, costs, before.jobs),
    )


def _about(job: PlannedJob) -> About:
    roles = set()
    for need in job.needs:
        if need.search_unpaired:
            roles.add("rna" if need.polymer.kind == "rna" else "unpaired")
        if need.search_paired:
            roles.add("paired")
        if need.search_templates:
            roles.add("templates")
    return About(job.name, tuple(sorted(roles)))


def _keep(
    wanted: Sequence[str], before: Iterable[Batch]
) -> tuple[list[Batch], list[str]]:
    """Earlier batches with the items still wanted, and the items in none of them."""
    open_items = dict.fromkeys(wanted)
    kept = []
    for batch in before:
        items = tuple(item for item in batch.members if item in open_items)
        for item in items:
            del open_items[item]
        if items:
            kept.append(replace(batch, items=items))
    return kept, list(open_items)


def _split(items: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Parts of at most `size` items that differ by one item at most."""
    parts = max(1, -(-len(items) // size))
    cuts = [len(items) * part // parts for part in range(parts + 1)]
    return [tuple(items[i:j]) for i, j in pairwise(cuts) if i < j]


def _search_batches(
    jobs: Sequence[PlannedJob],
    targets: Sequence[SearchTarget],
    aims: Aims,
    before: dict[str, Batch],
) -> dict[str, Batch]:
    """Distinct sequences × databases; long sequences together, so batches are even."""
    lengths: dict[tuple[str, str], dict[str, int]] = {}
    for need in (need for job in jobs for need in job.needs):
        kind, length = need.polymer.kind, len(need.polymer.sequence)
        role = "rna" if kind == "rna" else "unpaired"
        if need.search_unpaired:
            lengths.setdefault((kind, role), {})[need.sequence_id] = length
        if need.search_paired:
            lengths.setdefault((kind, "paired"), {})[need.sequence_id] = length
    batches = {}
    for target in targets:
        wanted = lengths.get((target.kind, target.role), {})
        kept, new = _keep(
            list(wanted), [b for b in before.values() if b.database == target.name]
        )
        new.sort(key=lambda name: (wanted[name], name))
        kept += [
            Batch(items=items, members=items, database=target.name)
            for items in _split(new, aims.sequences)
        ]
        for batch in kept:
            longest = max(wanted[item] for item in batch.items)
            name = f"{target.name}.{batch_id(batch.members)}"
            batches[name] = replace(batch, longest=longest)
    return batches


def _template_batches(
    jobs: Sequence[PlannedJob],
    search: dict[str, Batch],
    aims: Aims,
    before: dict[str, Batch],
) -> dict[str, Batch]:
    found_in = _batches_of_items(search)
    wanted: dict[str, ChainNeeds] = {}
    for need in (need for job in jobs for need in job.needs):
        if need.template_id is not None:
            wanted[need.template_id] = need
    kept, new = _keep(list(wanted), before.values())
    new.sort(key=lambda name: (len(wanted[name].polymer.sequence), name))
    kept += [Batch(items=items, members=items) for items in _split(new, aims.sequences)]
    batches = {}
    for batch in kept:
        needs = dict.fromkeys(
            name
            for item in batch.items
            if wanted[item].search_unpaired
            for name in found_in.get(wanted[item].sequence_id, ())
        )
        longest = max(len(wanted[item].polymer.sequence) for item in batch.items)
        name = batch_id(batch.members)
        batches[name] = replace(batch, needs=tuple(needs), longest=longest)
    return batches


def _job_batches(
    jobs: Sequence[PlannedJob],
    search: dict[str, Batch],
    templates: dict[str, Batch],
    aims: Aims,
    costs: CostModel,
    before: dict[str, Batch],
) -> dict[str, Batch]:
    """(job, seed) items in batches of one bucket, of about the time asked for."""
    owner = {item: job for job in jobs for item in job.items}
    fixed = aims.buckets
    usable = [b for b in before.values() if fixed is None or b.bucket in fixed]
    kept, new = _keep(list(owner), usable)
    for msa_rows, items in _by_depth(new, owner, costs).items():
        known = sorted({b.bucket for b in kept if b.msa_rows == msa_rows})
        kept += _by_bucket(items, owner, msa_rows, known, aims, costs)
    searched_in, templates_in = _batches_of_items(search), _batches_of_items(templates)
    batches = {}
    for batch in kept:
        chains = [need for item in batch.items for need in owner[item].needs]
        needs = dict.fromkeys(
            name
            for need in chains
            for name in (
                *_searches_of(need, searched_in, search),
                *templates_in.get(need.template_id or "", ()),
            )
        )
        longest = max(owner[item].num_tokens for item in batch.items)
        name = batch_id(batch.members, batch.bucket, batch.msa_rows)
        seconds = costs.batch_seconds(batch.bucket, len(batch.items))
        batches[name] = replace(
            batch, needs=tuple(needs), longest=longest, seconds=seconds
        )
    return batches


def _by_depth(
    items: Sequence[str], owner: Mapping[str, PlannedJob], costs: CostModel
) -> dict[int, list[str]]:
    """Items by padded depth of alignments: shallow ones apart where it saves time."""
    parts: dict[int, list[str]] = {}
    for item in items:
        parts.setdefault(owner[item].msa_rows, []).append(item)
    shallow = parts.get(SHALLOW_ROWS, [])
    work = sum(costs.seconds(owner[item].num_tokens) for item in shallow)
    if len(parts) > 1 and SAVED_BY_DEPTH * work < costs.compile + costs.start:
        return {DEEP_ROWS: list(items)}
    return parts


def _by_bucket(
    items: Sequence[str],
    owner: Mapping[str, PlannedJob],
    msa_rows: int,
    known: Sequence[int],
    aims: Aims,
    costs: CostModel,
) -> list[Batch]:
    """New batches for items whose alignments are padded to one depth."""
    buckets = aims.buckets or choose_buckets(
        [owner[item].num_tokens for item in items],
        costs,
        existing=known,
        batch_seconds=aims.seconds,
    )
    by_bucket: dict[int, list[str]] = {}
    for item in sorted(items, key=lambda name: (owner[name].num_tokens, name)):
        bucket = bucket_for(owner[item].num_tokens, sorted(buckets))
        by_bucket.setdefault(bucket, []).append(item)
    return [
        Batch(items=part, members=part, bucket=bucket, msa_rows=msa_rows)
        for bucket, wanted in sorted(by_bucket.items())
        for part in _split(wanted, costs.batch_size(bucket, aims.seconds))
    ]


def _batches_of_items(batches: dict[str, Batch]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, batch in batches.items():
        for item in batch.items:
            found.setdefault(item, []).append(name)
    return found


def _searches_of(
    need: ChainNeeds, searched_in: dict[str, list[str]], search: dict[str, Batch]
) -> list[str]:
    if not (need.search_unpaired or need.search_paired):
        return []
    return searched_in.get(need.sequence_id, [])
