"""Ranks the samples of every job, over all its seeds."""

import numpy as np

from af3_core.ranking import rank_samples
from workflow.step import Row


def rank_rows(rows: list[Row]) -> list[Row]:
    """Rows of `scores` with their rank among the samples of the same job."""
    by_job: dict[str, list[Row]] = {}
    for row in rows:
        by_job.setdefault(str(row["job_id"]), []).append(row)
    ranked = []
    for samples in by_job.values():
        samples = sorted(samples, key=lambda row: (row["seed"], row["sample"]))
        ranks = rank_samples(np.array([float(s["ranking_score"]) for s in samples]))
        ranked += [
            {**sample, "rank": int(rank)}
            for sample, rank in zip(samples, ranks, strict=True)
        ]
    return ranked
