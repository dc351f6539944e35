"""Makes the features of every job of a batch, once, on a CPU.

    python -m workflow.featurise --batch ID

What was found for each chain is put into the job; its features and the reference
conformers of all its seeds are committed to `results/features/JOB.parquet`.
"""

from collections.abc import Mapping
from functools import partial
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from af3_core.chemistry.dictionary import Components
from af3_core.contracts import CHAINS, FEATURES
from af3_core.features.featurise import embed_references, featurise
from af3_core.features.options import AS_PUBLISHED, FeatureOptions
from af3_core.features.values import Features
from af3_core.inputs.chemistry import standard_components
from af3_core.job import Job
from af3_core.recent import Recent
from workflow.campaign import Campaign
from workflow.engine.guard import log
from workflow.engine.items import Item, work_through
from workflow.first_pass import FirstFeatures, take_over
from workflow.keys import read_keys
from workflow.needs import chain_needs
from workflow.results.features_file import (
    features_table,
    read_features,
    read_search_facts,
)
from workflow.searching.again import with_searches
from workflow.searching.evidence import add_evidence, search_facts
from workflow.step import (
    job_of,
    parse_step,
    read_job_row,
    run_step,
)
from workflow.survey import commit_batch
from workflow.tables import read_columns

ROOM = 768 << 20
"""Bytes for chains that the next jobs may have too: some ten with deep alignments."""
_TILE = 4
"""Pairs are made tile by tile of so many chains on a side: all of them have room."""


def make_features(
    job: Job,
    search: Mapping[str, object],
    options: FeatureOptions = AS_PUBLISHED,
    recent: Recent | None = None,
    *,
    threads: int = 1,
) -> pa.Table:
    """Features and the conformers of every seed, as rows of the contract.

    `search` says what alignments and templates come from; `recent` knows the chains of
    other jobs. Conformers, which take most of the time, are embedded on all threads.
    """
    components = _components(job)
    features = featurise(job, components, options, recent)
    return _with_conformers(job, features, search, options, recent, threads)


def _components(job: Job) -> Components:
    if job.user_ccd is None:
        return standard_components()
    return Components.load(job.user_ccd)


def _with_conformers(
    job: Job,
    features: Features,
    search: Mapping[str, object],
    options: FeatureOptions,
    recent: Recent | None,
    threads: int,
) -> pa.Table:
    components, positions = _components(job), {}
    for seed in job.seeds:
        positions[seed], fallbacks = embed_references(
            features, components, seed, options.conformers, recent, threads=threads
        )
        for fallback in fallbacks:
            log(f"{job.name}, seed {seed}: {fallback}")
    return features_table(features, positions, search)


def main(argv: list[str] | None = None) -> int:
    """Featurises one batch."""
    arguments = parse_step("featurise", __doc__, argv)
    return run_step(
        lambda: featurise_batch(Campaign(), arguments.batch, arguments.threads)
    )


def featurise_batch(campaign: Campaign, batch: str, threads: int = 1) -> None:
    """Makes what is missing and writes the batch's outcomes."""
    keys = read_keys(campaign)
    settings = keys.settings
    wanted = keys.items("featurise", keys.plan.batch("jobs", batch))
    items = [
        Item(job_id, job_id, campaign.features(job_id), FEATURES, key)
        for job_id, key in in_tiles(campaign, wanted).items()
    ]
    options, recent = settings.feature_options(), Recent(ROOM)
    take_over(campaign, items)
    first = FirstFeatures(campaign, keys, wanted)

    def make(item: Item) -> pa.Table:
        job = job_of(read_job_row(campaign, item.name))
        if (path := first.find(item)) is not None:
            log(f"{item}: features of {path}")
            facts = read_search_facts(path)
            features = read_features(path)
            return _with_conformers(job, features, facts, options, recent, threads)
        complete = with_searches(
            partial(add_evidence, job, settings, recent),
            chain_needs(job),
            settings.search,
        )
        facts = search_facts(job, settings)
        return make_features(complete, facts, options, recent, threads=threads)

    outcomes = work_through(campaign, "featurise", batch, items, make)
    commit_batch(campaign, keys, "featurise", batch, outcomes)


def in_tiles(campaign: Campaign, wanted: Mapping[str, str]) -> dict[str, str]:
    """Jobs in an order in which those that share chains stand together."""
    path, ids = campaign.plan / "chains.parquet", pa.array(list(wanted), pa.string())
    columns = ["job_id", "sequence_id"]
    where = pc.field("job_id").isin(ids) & pc.field("sequence_id").is_valid()
    table = read_columns(path, CHAINS, columns, where)
    chains: dict[str, list[str]] = {job_id: [] for job_id in wanted}
    for job_id, sequence in zip(*table.to_pydict().values(), strict=True):
        chains[job_id].append(sequence)
    rank = {name: n for n, name in enumerate(sorted(set(chain(*chains.values()))))}

    def place(job_id: str) -> tuple[list[int], list[int], str]:
        ranks = sorted(rank[name] for name in chains[job_id])
        return [n // _TILE for n in ranks], ranks, job_id

    return {job_id: wanted[job_id] for job_id in sorted(wanted, key=place)}


if __name__ == "__main__":
    raise SystemExit(main())
