"""Ranks the samples of every job, over all its seeds."""

import numpy as np

from af3_core.scores.ranking import rank_samples
from workflow.step import Row


def rank_rows(rows: list[Row], by: str) -> list[Row]:
    """Rows of `scores` with their rank among the samples of the same job.

    Args:
        rows: of any jobs, in any order.
        by: column whose highest value is best; rows without it come last, by
            ranking_score.
    """
    by_job: dict[str, list[Row]] = {}
    for row in rows:
        by_job.setdefault(str(row["job_id"]), []).append(row)
    ranked = []
    for samples in by_job.values():
        samples = sorted(samples, key=lambda row: (row["seed"], row["sample"]))
        samples.sort(key=lambda row: -row["ranking_score"])
        values = [np.nan if row[by] is None else float(row[by]) for row in samples]
        ranked += [
            {**sample, "rank": int(rank)}
            for sample, rank in zip(
                samples, rank_samples(np.array(values)), strict=True
            )
        ]
    return ranked
