"""A score beside those of pairs that should not bind."""

import numpy as np
import pytest
from jaxtyping import Bool, Float
from numpy import ndarray

from af3_core.scores.background import FEWEST_PAIRS, calibrate


def screen(
    number: int, seed: int = 0
) -> tuple[Float[ndarray, "4 p"], Bool[ndarray, "p"]]:
    """Scores with a trend in size and 5 % of binders; tokens; and who binds."""
    random = np.random.default_rng(seed)
    tokens = np.exp(random.normal(5.7, 0.6, (2, number)))
    binds = random.random(number) < 0.05
    trend = 0.1 * (np.log(tokens).sum(axis=0) - 11.4)
    scores = 0.3 + trend + random.normal(0, 0.03, number) + 0.2 * binds
    return np.stack([scores, *tokens, trend]), binds


def area_under_curve(scores: Float[ndarray, "p"], binds: Bool[ndarray, "p"]) -> float:
    """Chance that a binder scores higher than another pair."""
    return float(np.mean(scores[binds][:, None] > scores[~binds][None, :]))


def test_the_trend_with_size_is_taken_out_and_binders_stay() -> None:
    (scores, first, second, trend), binds = screen(2000)
    found = calibrate(scores, first, second, np.ones(2000, bool))
    size = np.log(first * second)
    assert np.corrcoef(scores[~binds], size[~binds])[0, 1] > 0.8
    assert abs(np.corrcoef(found.corrected[~binds], size[~binds])[0, 1]) < 0.05
    difference = found.corrected - (scores - trend)
    assert np.ptp(difference) < 0.02
    assert area_under_curve(scores, binds) < 0.95
    assert area_under_curve(found.corrected, binds) > 0.995


def test_a_background_of_its_own_is_what_scores_are_compared_with() -> None:
    (scores, first, second, _), _ = screen(300)
    is_background = np.arange(300) < 100
    scores[100:] += 1.0
    found = calibrate(scores, first, second, is_background)
    assert found.num_reference == 100
    assert (found.share_above[100:] == 0).all()
    # A background pair is not compared with itself, so that their mean is a half.
    assert found.share_above[:100].mean() == pytest.approx(0.5)


def test_the_share_is_that_of_counting() -> None:
    random = np.random.default_rng(1)
    scores, tokens = random.normal(size=50), np.full(50, 100.0)
    is_background = np.arange(50) < 30
    found = calibrate(scores, tokens, tokens, is_background)
    background = scores[:30]
    assert found.corrected == pytest.approx(scores)
    expected = [np.mean(background >= score) for score in scores[30:]]
    assert found.share_above[30:] == pytest.approx(expected)


def test_which_partner_comes_first_does_not_matter() -> None:
    (scores, first, second, _), _ = screen(200)
    one = calibrate(scores, first, second, np.ones(200, bool))
    other = calibrate(scores, second, first, np.ones(200, bool))
    assert one.corrected == pytest.approx(other.corrected)


def test_too_few_pairs_say_nothing() -> None:
    scores = np.linspace(0, 1, 30)
    is_reference = np.arange(30) < FEWEST_PAIRS - 1
    found = calibrate(scores, scores + 50, scores + 50, is_reference)
    assert np.isnan(found.corrected).all() and np.isnan(found.share_above).all()
    assert found.num_reference == FEWEST_PAIRS - 1


def test_scores_that_are_missing_stay_missing() -> None:
    (scores, first, second, _), _ = screen(100)
    scores[::2] = np.nan
    found = calibrate(scores, first, second, np.ones(100, bool))
    assert found.num_reference == 50
    assert (np.isnan(found.corrected) == np.isnan(scores)).all()
    assert (np.isnan(found.share_above) == np.isnan(scores)).all()


def test_scores_that_are_mostly_zero_have_no_trend_and_keep_their_order() -> None:
    scores = np.zeros(100)
    scores[:5] = 0.5
    tokens = np.linspace(50, 500, 100)
    found = calibrate(scores, tokens, tokens[::-1], np.ones(100, bool))
    assert (found.corrected[:5] > found.corrected[5:].max()).all()
