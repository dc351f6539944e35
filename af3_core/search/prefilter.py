"""Which database sequences HMMER's first filter can let through, found faster.

HMMER's MSV filter scores the best ungapped segments. For nearly all sequences the
score is decided by the single best one, and it is too low. Those are found here and
never shown to HMMER; all others are, so what HMMER reports is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int16, Int64, UInt8
from numpy import ndarray
from pyhmmer.plan7 import OptimizedProfile

from kernels.segments import HIGHEST, PackedSequences
from kernels.segments_cpu import Striped, stripe

if TYPE_CHECKING:
    from kernels import SegmentsBackend

_STRIPES = 16
_MISSING_PRECISION = 3.0  # nats; stands for the N, C and J loops in HMMER's scores
_USUAL_LENGTHS = 2048
_HIGHEST_COST = 6
"""Of a pair of common residues by BLOSUM62, in thirds of a bit. Bounds that are so much
too high leave a hundredth of the sequences, where the scores leave half as many."""
_BOUNDS_UP_TO = 0.01
"""P-values above which so many pass that a bound spares too little."""
_MARGIN = 1.001  # on P-values, for rounding in HMMER's single precision


@dataclass(frozen=True)
class SegmentFilter:
    """A query's MSV filter, as far as single segments decide it."""

    costs: Int8[ndarray, "classes m"]
    fixed_cost: int
    """Entering and leaving the model, in the score's units."""
    units_per_nat: float
    location: float
    """Of the Gumbel distribution of MSV scores, bits …"""
    slope: float
    """… and its slope, lambda."""
    max_p_value: float

    def lowest_passing(self, sequences: PackedSequences) -> Int16[ndarray, "s"]:
        """For each sequence, the lowest score that HMMER may let through.

        All higher ones are let through as well; 256, which none reaches, if none is.
        """
        lengths, inverse = sequences.by_length
        short = lengths.searchsorted(_USUAL_LENGTHS)
        usual = self._usual_lowest[lengths[:short]]
        return np.append(usual, self._lowest(lengths[short:]))[inverse]

    @cached_property
    def _usual_lowest(self) -> Int16[ndarray, "lengths"]:
        """Likewise, of all lengths that most sequences have."""
        return self._lowest(np.arange(_USUAL_LENGTHS))

    def _lowest(self, lengths: Int64[ndarray, "l"]) -> Int16[ndarray, "l"]:
        sizes = lengths.astype(np.float64)
        below = np.full(len(lengths), -1)
        above = np.full(len(lengths), HIGHEST + 1)
        while (above - below > 1).any():
            middle = (below + above) // 2
            passes = self._passes(middle, sizes)
            above = np.where(passes, middle, above)
            below = np.where(passes, below, middle)
        return above.astype(np.int16)

    def _passes(
        self, scores: Int64[ndarray, "s"], sizes: Float64[ndarray, "s"]
    ) -> Bool[ndarray, "s"]:
        """Whether HMMER may let these scores of sequences of these lengths through."""
        entry = self._entry_costs(sizes)
        # Above this a second segment may add to the first: only HMMER can tell.
        is_open = scores > entry + self.fixed_cost
        p_values = self._p_values(scores - 2 * entry - self.fixed_cost, sizes)
        return is_open | (p_values <= self.max_p_value * _MARGIN)

    def _entry_costs(self, lengths: Float64[ndarray, "s"]) -> Int64[ndarray, "s"]:
        costs = np.rint(self.units_per_nat * np.log((lengths + 3.0) / 3.0))
        return np.minimum(costs, 255).astype(np.int64)

    def _p_values(
        self, totals: Int64[ndarray, "s"], lengths: Float64[ndarray, "s"]
    ) -> Float64[ndarray, "s"]:
        loop = lengths / (lengths + 1.0)
        null = lengths * np.log(np.maximum(loop, 1e-9)) + np.log1p(-loop)
        nats = totals / self.units_per_nat - _MISSING_PRECISION - null
        exponent = -self.slope * (nats / np.log(2.0) - self.location)
        return -np.expm1(-np.exp(np.minimum(exponent, 700.0)))


@dataclass(frozen=True)
class FilterGroup:
    """Filters of some queries, which the processor computes together."""

    filters: tuple[SegmentFilter, ...]
    striped: Striped
    bounds: Striped | None
    """Of what passes these the scores are computed."""

    def select(self, sequences: PackedSequences) -> list[Int64[ndarray, "_"]]:
        """For each query, indices of the sequences that HMMER has to look at."""
        lowest = [one.lowest_passing(sequences) for one in self.filters]
        if self.bounds is None:
            return _passing(self.striped.scores(sequences), lowest)
        bounds = self.bounds.scores(sequences)
        passing = np.zeros(len(sequences.lengths), bool)
        for row, low in zip(bounds, lowest, strict=True):
            passing |= row >= low
        chosen = np.flatnonzero(passing)
        scores = self.striped.scores(sequences, chosen)
        kept = _passing(scores, [low[chosen] for low in lowest])
        return [chosen[indices] for indices in kept]


def group_filters(filters: Sequence[SegmentFilter]) -> FilterGroup:
    """Filters that are to be computed together; see `segments_cpu.group_profiles`."""
    costs = [one.costs for one in filters]
    has_bounds = max(one.max_p_value for one in filters) <= _BOUNDS_UP_TO
    bounds = stripe(costs, _HIGHEST_COST) if has_bounds else None
    return FilterGroup(tuple(filters), stripe(costs), bounds)


def select_together(
    filters: Sequence[SegmentFilter],
    sequences: PackedSequences,
    backend: "SegmentsBackend",
) -> list[Int64[ndarray, "_"]]:
    """What `FilterGroup.select` gives, by one call of `best_segments`."""
    # Imported here: it brings JAX, which a search by the processor does without.
    from kernels import best_segments

    costs = [one.costs for one in filters]
    scores = np.asarray(best_segments(costs, sequences, backend=backend))
    return _passing(scores, [one.lowest_passing(sequences) for one in filters])


def _passing(
    scores: UInt8[ndarray, "q s"], lowest: Sequence[Int16[ndarray, "s"]]
) -> list[Int64[ndarray, "_"]]:
    return [np.flatnonzero(row >= low) for row, low in zip(scores, lowest, strict=True)]


def make_filter(profile: OptimizedProfile, max_p_value: float) -> SegmentFilter:
    """The filter of a query.

    Args:
        profile: the query's model as HMMER searches with it.
        max_p_value: HMMER's `--F1`.
    """
    location, slope = profile.evalue_parameters.as_vector()[:2]
    return SegmentFilter(
        costs=_unstripe(profile),
        fixed_cost=profile.tbm + profile.tec,
        units_per_nat=profile.scale_b,
        location=location,
        slope=slope,
        max_p_value=max_p_value,
    )


def _unstripe(profile: OptimizedProfile) -> Int8[ndarray, "classes m"]:
    """HMMER's byte costs, column by column and with their bias taken off."""
    striped = np.asarray(profile.rbv)
    classes, width = striped.shape
    columns = striped.reshape(classes, width // _STRIPES, _STRIPES).transpose(0, 2, 1)
    costs = columns.reshape(classes, width)[:, : profile.M].astype(np.int16)
    return np.clip(costs - profile.bias_b, -128, 127).astype(np.int8)
