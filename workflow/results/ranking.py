"""Ranks the samples of every job, over all its seeds."""

from collections.abc import Iterable

import numpy as np

from af3_core.contracts import SampleScoreRow, ScoreRow
from af3_core.scores.ranking import rank_samples


def rank_rows(rows: Iterable[SampleScoreRow], by: str) -> list[ScoreRow]:
    """Scores with their rank among the samples of the same job.

    Args:
        rows: of any jobs, in any order.
        by: column whose highest value is best; rows without it come last, by
            ranking_score.
    """
    by_job: dict[str, list[SampleScoreRow]] = {}
    for row in rows:
        by_job.setdefault(row.job_id, []).append(row)
    ranked = []
    for samples in by_job.values():
        samples.sort(key=lambda row: (-row.ranking_score, row.seed, row.sample))
        found = [getattr(row, by) for row in samples]
        values = np.array(
            [np.nan if value is None else value for value in found], float
        )
        ranked += [
            ScoreRow(**vars(sample), rank=int(rank))
            for sample, rank in zip(samples, rank_samples(values), strict=True)
        ]
    return ranked
