"""Scores the predictions of a batch, relaxed or not.

    python -m workflow.score --batch ID

writes `results/score/ID.scores.parquet` and `results/score/ID.interfaces.parquet`.
"""

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
    items_from,
    unfinished,
    work_through,
)
from workflow.keys import read_keys
from workflow.results.batch_files import BatchFiles
from workflow.results.features_file import read_features
from workflow.results.known_structures import read_reference
from workflow.stages import jobs_of
from workflow.step import (
    parse_step,
    run_step,
)
from workflow.survey import commit_batch
from workflow.tables import (
    is_current,
    read_rows,
    write_table,
)


def main(argv: list[str] | None = None) -> int:
    """Scores one batch."""
    arguments = parse_step("score", __doc__, argv)
    return run_step(lambda: score_batch(Campaign(), arguments.batch))


def score_batch(campaign: Campaign, batch: str) -> None:
    """Scores what is missing or was made from something else, and writes the tables."""
    keys = read_keys(campaign)
    settings, planned = keys.settings.score, keys.plan.batch("jobs", batch)
    known = keys.plan.contents.references
    names = {job_id: keys.plan.about[job_id].name for job_id in jobs_of(planned.items)}
    relaxed = BatchFiles(RELAXED, campaign.relaxed)
    scores = BatchFiles(SAMPLE_SCORES, campaign.scores)
    interfaces = BatchFiles(INTERFACES, campaign.interfaces)

    def make(item: Item) -> pa.Table:
        job_id, _ = split_item(item.name)
        name = names[job_id]
        reference = read_reference(settings.references, name, known.get(name))
        rows, pairs = _score_item(campaign, batch, item.name, name, relaxed, reference)
        # First, because the item is done when its scores are there.
        path = campaign.interfaces(item.name)
        table = INTERFACES.table(pairs)
        write_table(path, INTERFACES, table, made_from=item.made_from)
        return SAMPLE_SCORES.table(rows)

    scores.part(batch)
    interfaces.part(batch)
    items = items_from(keys.items("score", planned), campaign.scores, SAMPLE_SCORES)
    for item in items:
        path = campaign.interfaces(item.name)
        if not is_current(path, INTERFACES, made_from=item.made_from):
            item.path.unlink(missing_ok=True)
    blocked = unfinished(campaign.outcomes("predict", batch))
    outcomes = work_through(campaign, "score", batch, items, make, blocked=blocked)
    scores.join(batch, planned.items)
    interfaces.join(batch, planned.items)
    commit_batch(campaign, keys, "score", batch, outcomes)


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
