"""Makes the features of every job of a batch, once, on a CPU.

    python -m workflow.featurise --batch ID

What was found for each chain is put into the job; its features and the reference
conformers of all its seeds are committed to `results/features/JOB.parquet`.
"""

from collections.abc import Mapping
from functools import partial

import pyarrow as pa

from af3_core.chemistry.dictionary import Components
from af3_core.contracts import FEATURES, JobRow
from af3_core.features.featurise import embed_references, featurise
from af3_core.features.options import AS_PUBLISHED, FeatureOptions
from af3_core.job import Job
from workflow.campaign import Campaign, split_item
from workflow.engine.guard import log
from workflow.engine.items import Item, commit_outcomes, find_item, work_through
from workflow.needs import chain_needs
from workflow.results.features_file import features_table
from workflow.searching.again import with_searches
from workflow.searching.evidence import add_evidence, evidence_keys, search_facts
from workflow.settings import Settings, digest_of
from workflow.step import (
    job_of,
    parse_step,
    read_job_rows,
    read_plan,
    read_planned_settings,
    run_step,
)


def features_key(row: JobRow, settings: Settings) -> str:
    """Names everything a job's features are made from."""
    job = job_of(row)
    found = with_searches(
        partial(evidence_keys, job, settings), chain_needs(job), settings.search
    )
    keys = [key.digest for key in found]
    chosen = settings.feature_options()
    return digest_of(FEATURES.version, row.json, keys, repr(chosen))


def make_features(
    job: Job, search: Mapping[str, object], options: FeatureOptions = AS_PUBLISHED
) -> pa.Table:
    """Features and the conformers of every seed, as rows of the contract.

    `search` says what alignments and templates come from.
    """
    components = Components.load(job.user_ccd)
    features = featurise(job, components, options)
    positions = {}
    for seed in job.seeds:
        positions[seed], fallbacks = embed_references(
            features, components, seed, options.conformers
        )
        for fallback in fallbacks:
            log(f"{job.name}, seed {seed}: {fallback}")
    return features_table(features, positions, search)


def main(argv: list[str] | None = None) -> int:
    """Featurises one batch."""
    arguments = parse_step("featurise", __doc__, argv)
    return run_step(lambda: featurise_batch(Campaign(), arguments.batch))


def featurise_batch(campaign: Campaign, batch: str) -> None:
    """Makes what is missing and writes the batch's outcomes."""
    settings, plan = read_planned_settings(campaign), read_plan(campaign)
    job_ids = {split_item(item)[0] for item in plan.jobs[batch].items}
    rows = read_job_rows(campaign, job_ids)
    items = [
        find_item(
            job_id,
            campaign.features(job_id),
            FEATURES,
            partial(features_key, row, settings),
        )
        for job_id, row in sorted(rows.items())
    ]
    options = settings.feature_options()

    def make(item: Item) -> pa.Table:
        job = job_of(rows[item.name])
        complete = with_searches(
            partial(add_evidence, job, settings), chain_needs(job), settings.search
        )
        return make_features(complete, search_facts(job, settings), options)

    outcomes = work_through(campaign, "featurise", batch, items, make)
    commit_outcomes(campaign, "featurise", batch, outcomes)


if __name__ == "__main__":
    raise SystemExit(main())
