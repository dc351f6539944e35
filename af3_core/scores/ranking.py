"""Ranks of samples."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


def rank_samples(scores: Float[ndarray, "b"]) -> Int[ndarray, "b"]:
    """Rank of each sample, 1 the highest score; of equals the earlier wins.

    NaN comes last.
    """
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks
