"""Scores the predictions of a batch, relaxed or not.

    python -m workflow.score --batch ID

writes `results/score/ID.scores.parquet` and `results/score/ID.interfaces.parquet`.
"""

from functools import partial

import pyarrow as pa

from af3_core.contracts import (
    INTERFACES,
    PREDICTIONS,
    RELAXED,
    SAMPLE_SCORES,
    InterfaceRow,
    SampleScoreRow,
)
from af3_core.scores.rows import Reference, score_prediction
from af3_core.structures.structure import chemistry_of
from workflow.campaign import Campaign, split_item
from workflow.engine.items import (
    Item,
    commit_outcomes,
    find_item,
    unfinished,
    work_through,
)
from workflow.results.batch_files import BatchFiles
from workflow.results.features_file import read_features
from workflow.results.references import find_reference, read_reference
from workflow.settings import digest_of
from workflow.step import (
    parse_step,
    read_job_names,
    read_plan,
    read_planned_settings,
    run_step,
)
from workflow.tables import (
    digest_file,
    is_current,
    read_made_from,
    read_rows,
    write_table,
)


def main(argv: list[str] | None = None) -> int:
    """Scores one batch."""
    arguments = parse_step("score", __doc__, argv)
    return run_step(lambda: score_batch(Campaign(), arguments.batch))


def score_batch(campaign: Campaign, batch: str) -> None:
    """Scores what is missing or was made from something else, and writes the tables."""
    settings = read_planned_settings(campaign).score
    planned = read_plan(campaign).jobs[batch]
    names = read_job_names(campaign, {split_item(item)[0] for item in planned.items})
    references = {
        job_id: find_reference(settings.references, name)
        for job_id, name in names.items()
    }
    relaxed = BatchFiles(RELAXED, campaign.relaxed)
    scores = BatchFiles(SAMPLE_SCORES, campaign.scores)
    interfaces = BatchFiles(INTERFACES, campaign.interfaces)

    def key_of(name: str) -> str:
        job_id, _ = split_item(name)
        reference = references[job_id]
        return digest_of(
            SAMPLE_SCORES.version,
            INTERFACES.version,
            names[job_id],
            read_made_from(campaign.prediction(name)),
            relaxed.made_from(batch, name),
            None if reference is None else digest_file(reference),
        )

    def make(item: Item) -> pa.Table:
        job_id, _ = split_item(item.name)
        reference = read_reference(references[job_id])
        rows, pairs = _score_item(
            campaign, batch, item.name, names[job_id], relaxed, reference
        )
        # First, because the item is done when its scores are there.
        path = campaign.interfaces(item.name)
        table = INTERFACES.table(pairs)
        write_table(path, INTERFACES, table, made_from=item.made_from)
        return SAMPLE_SCORES.table(rows)

    scores.part(batch)
    interfaces.part(batch)
    items = [
        find_item(name, campaign.scores(name), SAMPLE_SCORES, partial(key_of, name))
        for name in planned.items
    ]
    for item in items:
        path = campaign.interfaces(item.name)
        if not is_current(path, INTERFACES, made_from=item.made_from):
            item.path.unlink(missing_ok=True)
    blocked = unfinished(campaign.outcomes("predict", batch))
    outcomes = work_through(campaign, "score", batch, items, make, blocked=blocked)
    scores.join(batch, planned.items)
    interfaces.join(batch, planned.items)
    commit_outcomes(campaign, "score", batch, outcomes)


def _score_item(
    campaign: Campaign,
    batch: str,
    item: str,
    name: str,
    relaxed: BatchFiles,
    reference: Reference | None,
) -> tuple[list[SampleScoreRow], list[InterfaceRow]]:
    """Scores of all samples of one (job, seed), and of their interfaces."""
    features = read_features(campaign.features(split_item(item)[0]))
    chemistry = chemistry_of(features)
    relaxed_by_sample = {row.sample: row for row in relaxed.rows(batch, item)}
    scores, interfaces = [], []
    for sample in read_rows(campaign.prediction(item), PREDICTIONS):
        row, pairs = score_prediction(
            sample,
            name,
            features,
            chemistry,
            relaxed_by_sample.get(sample.sample),
            reference,
        )
        scores.append(row)
        interfaces += pairs
    return scores, interfaces


if __name__ == "__main__":
    raise SystemExit(main())
