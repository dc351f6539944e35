"""Least-squares superposition, and the one that maximises the TM-score."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

_FEWEST = 4
"""Residues of the smallest fragment that a superposition is begun with."""
_MAX_ROUNDS = 20
_STARTS_PER_LENGTH = 60


@dataclass(frozen=True, eq=False)
class Motion:
    """A rotation and then a translation."""

    rotation: Float[ndarray, "3 3"]
    translation: Float[ndarray, "3"]
    """Å."""

    def apply(self, positions: Float[ndarray, "*a 3"]) -> Float[ndarray, "*a 3"]:
        """Moves points."""
        return positions @ self.rotation + self.translation


def superpose(mobile: Float[ndarray, "a 3"], fixed: Float[ndarray, "a 3"]) -> Motion:
    """The motion that brings points nearest to others (Kabsch 1976).

    doi:10.1107/S0567739476001873.
    """
    centres = mobile.mean(axis=0), fixed.mean(axis=0)
    u, _, vt = np.linalg.svd((mobile - centres[0]).T @ (fixed - centres[1]))
    hand = np.sign(np.linalg.det(u @ vt)) or 1.0
    rotation = u @ np.diag([1.0, 1.0, hand]) @ vt
    return Motion(rotation, centres[1] - centres[0] @ rotation)


def rmsd(first: Float[ndarray, "a 3"], second: Float[ndarray, "a 3"]) -> float:
    """Root mean square distance of points as they lie, Å."""
    return float(np.sqrt(np.mean(np.sum((first - second) ** 2, axis=-1))))


def tm_score(
    mobile: Float[ndarray, "a 3"], fixed: Float[ndarray, "a 3"], length: int
) -> float:
    """TM-score of matched residues, of the best superposition found, 0–1.

    Zhang & Skolnick 2004, doi:10.1002/prot.20264: fragments of ever half the length
    are superposed and extended by whatever comes near, until nothing changes.

    Args:
        mobile: one point for each matched residue.
        fixed: the points they match.
        length: residues of the reference, matched or not.
    """
    if len(mobile) < _FEWEST:
        return 0.0
    d0 = max(0.5, 1.24 * np.cbrt(length - 15) - 1.8) if length > 15 else 0.5
    reaches = np.clip(d0, 4.5, 8.0) + np.array([-1.0, 0.0, 1.0])
    best = 0.0
    size = len(mobile)
    while True:
        starts = np.arange(len(mobile) - size + 1)
        step = max(1, len(starts) // _STARTS_PER_LENGTH)
        for start in starts[::step].tolist():
            chosen = np.zeros(len(mobile), bool)
            chosen[start : start + size] = True
            for reach in reaches.tolist():
                best = max(best, _extend(mobile, fixed, chosen, d0, reach))
        if size == _FEWEST:
            return best / length
        size = max(_FEWEST, size // 2)


def _extend(
    mobile: Float[ndarray, "a 3"],
    fixed: Float[ndarray, "a 3"],
    chosen: Bool[ndarray, "a"],
    d0: float,
    reach: float,
) -> float:
    """Highest sum of TM terms on the way from a fragment to a stable set."""
    best = 0.0
    for _ in range(_MAX_ROUNDS):
        motion = superpose(mobile[chosen], fixed[chosen])
        distance = np.linalg.norm(motion.apply(mobile) - fixed, axis=-1)
        best = max(best, float(np.sum(1 / (1 + (distance / d0) ** 2))))
        near, wider = distance < reach, reach
        while near.sum() < min(3, len(mobile)):
            wider += 0.5
            near = distance < wider
        if (near == chosen).all():
            break
        chosen = near
    return best
