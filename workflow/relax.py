"""Relaxes the predictions of a batch.

    python -m workflow.relax --batch ID --threads N

Which samples of every (job, seed) are relaxed is the setting `relax.samples`. The
outcome of each is a row of `results/relaxed/BATCH.parquet`: a structure that cannot be
relaxed has a status and a reason, and stops nothing.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from af3_core.columns import Float as Number
from af3_core.columns import Floats, Int, column, row
from af3_core.contracts import PREDICTIONS, RELAXED, RelaxedRow
from af3_core.relax.relax import relax, relaxed_columns
from af3_core.structures.structure import chemistry_of, structure_of
from workflow.campaign import Campaign, split_item
from workflow.engine.items import (
    Item,
    items_from,
    log,
    unfinished,
    work_through,
)
from workflow.keys import read_keys
from workflow.results.batch_files import BatchFiles
from workflow.results.features_file import read_features
from workflow.settings import Relax
from workflow.step import parse_step, run_step
from workflow.survey import commit_batch
from workflow.tables import read_rows_of


@row
class Predicted:
    """What relaxation needs of a predicted sample."""

    sample: Int = column("0-based diffusion sample of the seed")
    positions: Floats = column("a × 3", "Å")
    ranking_score: Number = column("AF3's ranking score")


_MOST_SAMPLES = {"none": 0, "best": 1, "all": 5}
"""Samples that are relaxed of an item, for the time that it may take."""


def main(argv: list[str] | None = None) -> int:
    """Relaxes one batch."""
    arguments = parse_step("relax", __doc__, argv)
    return run_step(lambda: relax_batch(Campaign(), arguments.batch))


def relax_batch(campaign: Campaign, batch: str) -> None:
    """Relaxes what is missing and writes the batch's outcomes."""
    keys = read_keys(campaign)
    settings, planned = keys.settings.relax, keys.plan.batch("jobs", batch)
    items = items_from(keys.items("relax", planned), campaign.relaxed, RELAXED)

    def make(item: Item) -> pa.Table:
        return RELAXED.table(_relax_item(campaign, item, settings))

    files = BatchFiles(RELAXED, campaign.relaxed)
    files.part(batch)
    blocked = unfinished(campaign.outcomes("predict", batch))
    rows = work_through(
        *(campaign, "relax", batch, items, make),
        blocked=blocked,
        # Every sample may take its own limit before it is given up here.
        patience=1.2 * settings.max_seconds * _MOST_SAMPLES[settings.samples] + 60,
    )
    files.join(batch, planned.items)
    commit_batch(campaign, keys, "relax", batch, rows)


def _relax_item(campaign: Campaign, item: Item, settings: Relax) -> list[RelaxedRow]:
    job_id, seed = split_item(item.name)
    features = read_features(campaign.features(job_id))
    chemistry = chemistry_of(features)
    rows = []
    samples = read_rows_of(campaign.prediction(item.name), PREDICTIONS, Predicted)
    for sample in choose_samples(samples, settings.samples):
        positions = sample.positions.astype(np.float64).reshape(-1, 3)
        relaxed = relax(
            structure_of(features, positions),
            chemistry,
            max_seconds=settings.max_seconds,
            keep_hydrogens=settings.keep_hydrogens,
            platform=settings.platform,
        )
        log(f"{item.name} sample {sample.sample}: {relaxed.status}")
        columns = relaxed_columns(relaxed)
        rows.append(
            RelaxedRow(job_id=job_id, seed=seed, sample=sample.sample, **columns)
        )
    return rows


def choose_samples(samples: Sequence[Predicted], which: str) -> Sequence[Predicted]:
    """The sample of a seed with the highest ranking score, all of them, or none."""
    if which == "none":
        return []
    if which == "all":
        return samples
    return [max(samples, key=lambda sample: sample.ranking_score)]


if __name__ == "__main__":
    raise SystemExit(main())
