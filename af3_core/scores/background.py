"""What a score of a pair means beside those of pairs that should not bind.

Scores of interfaces change with the size of what meets, whether it binds or not
(Todor et al. 2026, doi:10.1038/s44320-026-00189-7). The trend is learnt from a
reference: a screen's background pairs, or, where most pairs asked for bind as little,
these.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

FEWEST_PAIRS = 20
"""A reference of fewer pairs says nothing of a trend."""
_ROUNDS = 20
_CUT = 4.685
"""Of Tukey's biweight, in standard deviations: 95 % as efficient as least squares."""


@dataclass(frozen=True)
class Calibrated:
    """Scores of all pairs, and what they are among those of the reference."""

    corrected: Float[ndarray, "p"]
    """As if all pairs were of the reference's middle size; NaN if there is no trend."""
    share_above: Float[ndarray, "p"]
    """Share of the reference that scores as high or higher, sizes corrected; a pair is
    not compared with itself. NaN likewise."""
    num_reference: int
    """Pairs that the trend and the share are from."""


def calibrate(
    scores: Float[ndarray, "p"],
    tokens_1: Float[ndarray, "p"],
    tokens_2: Float[ndarray, "p"],
    is_reference: Bool[ndarray, "p"],
) -> Calibrated:
    """Takes the trend with size out of scores, and ranks them within the reference.

    Args:
        scores: higher is better; NaN where there is none.
        tokens_1: of one partner of each pair.
        tokens_2: of the other; which is which does not matter.
        is_reference: pairs that should not bind, or most of which should not.
    """
    used = is_reference & ~np.isnan(scores)
    num_reference = int(used.sum())
    nothing = np.full(len(scores), np.nan)
    if num_reference < FEWEST_PAIRS:
        return Calibrated(nothing, nothing, num_reference)
    terms = _size_terms(tokens_1, tokens_2)
    # Each term by its spread, so that one that does not vary takes no part.
    centre = np.median(terms[used], axis=0)
    spread = terms[used].std(axis=0)
    terms = np.where(spread > 1e-9, (terms - centre) / np.maximum(spread, 1e-9), 0.0)
    slope = _robust_slope(terms[used], scores[used])
    corrected = scores - terms @ slope
    return Calibrated(corrected, _share_above(corrected, used), num_reference)


def _size_terms(
    tokens_1: Float[ndarray, "p"], tokens_2: Float[ndarray, "p"]
) -> Float[ndarray, "p 2"]:
    """Logarithms of the size of a pair and of how unequal its partners are."""
    first, second = np.log(tokens_1), np.log(tokens_2)
    return np.stack([first + second, np.abs(first - second)], axis=1)


def _robust_slope(
    terms: Float[ndarray, "r 2"], scores: Float[ndarray, "r"]
) -> Float[ndarray, "2"]:
    """How scores change with size; pairs far off, as binders are, count little."""
    columns = np.column_stack([np.ones(len(terms)), terms])
    weights = np.ones(len(scores))
    fitted = np.zeros(columns.shape[1])
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)
        before = fitted
        fitted = np.linalg.lstsq(columns * root[:, None], scores * root, rcond=None)[0]
        rest = scores - columns @ fitted
        # The median deviation of a normal distribution is 0.6745 standard deviations.
        scale = np.median(np.abs(rest - np.median(rest))) / 0.6745
        if scale < 1e-9 or np.allclose(fitted, before, atol=1e-9):
            break
        weights = np.clip(1 - (rest / (_CUT * scale)) ** 2, 0.0, None) ** 2
    return fitted[1:]


def _share_above(
    values: Float[ndarray, "p"], is_reference: Bool[ndarray, "p"]
) -> Float[ndarray, "p"]:
    ordered = np.sort(values[is_reference])
    above = len(ordered) - np.searchsorted(ordered, values, side="left")
    share = (above - is_reference) / np.maximum(len(ordered) - is_reference, 1)
    return np.where(np.isnan(values), np.nan, share)
