"""Scores the predictions of a batch, relaxed or not.

    python -m workflow.score --batch ID

writes `results/score/ID.scores.parquet` and `results/score/ID.interfaces.parquet`.
"""

from af3_core.contracts import INTERFACES, PREDICTIONS, SCORES
from af3_core.scores.rows import score_prediction
from af3_core.structures.structure import chemistry_of
from workflow.campaign import Campaign, split_item
from workflow.engine.items import Task, commit_outcomes, go_through, unfinished
from workflow.results.features_file import read_features
from workflow.results.ranking import rank_rows
from workflow.results.references import read_reference
from workflow.results.relaxed import read_relaxed
from workflow.settings import Score
from workflow.step import (
    Row,
    job_of,
    parse_step,
    read_job_rows,
    read_plan,
    read_planned_settings,
    run_step,
)
from workflow.tables import read_rows, write_table


def main(argv: list[str] | None = None) -> int:
    """Scores one batch."""
    arguments = parse_step("score", __doc__, argv)
    return run_step(lambda: score_batch(Campaign(), arguments.batch))


def score_batch(campaign: Campaign, batch: str) -> None:
    """Scores every prediction there is and writes the batch's tables."""
    settings = read_planned_settings(campaign).score
    planned = read_plan(campaign).jobs[batch]
    jobs = read_job_rows(campaign, {split_item(item)[0] for item in planned.items})
    blocked = unfinished(campaign.outcomes("predict", batch))
    scores: list[Row] = []
    interfaces: list[Row] = []

    def score(task: Task) -> None:
        found = score_item(campaign, task.name, jobs[str(task.job_id)], settings)
        scores.extend(found[0])
        interfaces.extend(found[1])

    tasks = [Task(item, split_item(item)[0]) for item in planned.items]
    outcomes = go_through(campaign, "score", batch, tasks, score, blocked=blocked)
    ranked = rank_rows(scores, settings.rank_by)
    write_table(campaign.scores(batch), SCORES, SCORES.table(ranked))
    pairs = INTERFACES.table(interfaces)
    write_table(campaign.interfaces(batch), INTERFACES, pairs)
    commit_outcomes(campaign, "score", batch, outcomes)


def score_item(
    campaign: Campaign, item: str, job: Row, settings: Score
) -> tuple[list[Row], list[Row]]:
    """Rows of `scores` (not yet ranked) and `interfaces` of one (job, seed)."""
    features = read_features(campaign.features(str(job["job_id"])))
    chemistry = chemistry_of(features, job_of(job).user_ccd)
    table = read_relaxed(campaign, item)
    rows = [] if table is None else table.to_pylist()
    relaxed = {row["sample"]: row for row in rows}
    reference = read_reference(settings.references, str(job["name"]))
    scores, interfaces = [], []
    for sample in read_rows(campaign.prediction(item), PREDICTIONS):
        row, pairs = score_prediction(
            sample, features, chemistry, relaxed.get(sample["sample"]), reference
        )
        scores.append(row | {"name": job["name"], "rank": 0})
        interfaces += pairs
    return scores, interfaces


if __name__ == "__main__":
    raise SystemExit(main())
