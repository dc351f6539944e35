"""Makes the features of every job of a batch, once, on a CPU.

    python -m workflow.featurise --batch ID

What was found for each chain is put into the job; its features and the reference
conformers of all its seeds are committed to `results/features/JOB.parquet`.
"""

from collections.abc import Mapping
from functools import partial

import pyarrow as pa

from af3_core.chemistry.dictionary import Components
from af3_core.contracts import FEATURES
from af3_core.features.featurise import embed_references, featurise
from af3_core.features.options import AS_PUBLISHED, FeatureOptions
from af3_core.job import Job
from workflow.campaign import Campaign
from workflow.engine.guard import log
from workflow.engine.items import Item, work_through
from workflow.keys import read_keys
from workflow.needs import chain_needs
from workflow.results.features_file import features_table
from workflow.searching.again import with_searches
from workflow.searching.evidence import add_evidence, search_facts
from workflow.step import (
    job_of,
    parse_step,
    read_job_rows,
    run_step,
)
from workflow.survey import commit_batch


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
    keys = read_keys(campaign)
    settings = keys.settings
    wanted = keys.items("featurise", keys.plan.batch("jobs", batch))
    rows = read_job_rows(campaign, set(wanted))
    items = [
        Item(job_id, job_id, campaign.features(job_id), FEATURES, key)
        for job_id, key in wanted.items()
    ]
    options = settings.feature_options()

    def make(item: Item) -> pa.Table:
        job = job_of(rows[item.name])
        complete = with_searches(
            partial(add_evidence, job, settings), chain_needs(job), settings.search
        )
        return make_features(complete, search_facts(job, settings), options)

    outcomes = work_through(campaign, "featurise", batch, items, make)
    commit_batch(campaign, keys, "featurise", batch, outcomes)


if __name__ == "__main__":
    raise SystemExit(main())
