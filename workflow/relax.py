"""Relaxes the predictions of a batch.

    python -m workflow.relax --batch ID --threads N

Which samples of every (job, seed) are relaxed is the setting `relax.samples`. The
outcome of each is a row of `results/relaxed/BATCH.parquet`: a structure that cannot be
relaxed has a status and a reason, and stops nothing.
"""

import numpy as np
import pyarrow as pa

from af3_core.contracts import PREDICTIONS, RELAXED
from af3_core.relax.relax import relax, relaxed_columns
from af3_core.structures.structure import chemistry_of, structure_of
from workflow.campaign import Campaign, split_item
from workflow.engine.items import (
    Item,
    commit_outcomes,
    items_from,
    log,
    unfinished,
    work_through,
)
from workflow.results.features_file import read_features
from workflow.results.relaxed import join_relaxed, part_relaxed
from workflow.settings import Relax, digest_of
from workflow.step import (
    Row,
    job_of,
    parse_step,
    read_job_rows,
    read_plan,
    read_planned_settings,
    run_step,
)
from workflow.tables import read_rows


def main(argv: list[str] | None = None) -> int:
    """Relaxes one batch."""
    arguments = parse_step("relax", __doc__, argv)
    return run_step(lambda: relax_batch(Campaign(), arguments.batch))


def relax_batch(campaign: Campaign, batch: str) -> None:
    """Relaxes what is missing and writes the batch's outcomes."""
    settings = read_planned_settings(campaign).relax
    plan = read_plan(campaign)
    planned = plan.jobs[batch]
    jobs = read_job_rows(campaign, {split_item(item)[0] for item in planned.items})
    key = digest_of(RELAXED.version, settings.model_dump())
    items = items_from(
        planned.items, campaign.prediction, campaign.relaxed, RELAXED, key
    )

    def make(item: Item) -> pa.Table:
        return RELAXED.table(_relax_item(campaign, item, jobs, settings))

    part_relaxed(campaign, batch, plan.jobs)
    blocked = unfinished(campaign.outcomes("predict", batch))
    rows = work_through(campaign, "relax", batch, items, make, blocked=blocked)
    join_relaxed(campaign.relaxed(batch), items)
    commit_outcomes(campaign, "relax", batch, rows)


def _relax_item(
    campaign: Campaign, item: Item, jobs: dict[str, Row], settings: Relax
) -> list[Row]:
    job_id, _ = split_item(item.name)
    features = read_features(campaign.features(job_id))
    chemistry = chemistry_of(features, job_of(jobs[job_id]).user_ccd)
    rows = []
    for sample in choose_samples(
        read_rows(campaign.prediction(item.name), PREDICTIONS), settings.samples
    ):
        positions = np.asarray(sample["positions"], np.float64).reshape(-1, 3)
        structure = structure_of(features, positions)
        relaxed = relax(
            structure,
            chemistry,
            max_seconds=settings.max_seconds,
            keep_hydrogens=settings.keep_hydrogens,
            platform=settings.platform,
        )
        log(f"{item.name} sample {sample['sample']}: {relaxed.status}")
        key = {name: sample[name] for name in RELAXED.key}
        rows.append(key | relaxed_columns(relaxed))
    return rows


def choose_samples(samples: list[Row], which: str) -> list[Row]:
    """The best sample of a seed, all of them, or none."""
    if which == "none":
        return []
    if which == "all":
        return samples
    return [max(samples, key=lambda row: row["ranking_score"])]


if __name__ == "__main__":
    raise SystemExit(main())
