"""The definition of `best_segments`, residue by residue."""

import numpy as np
from jaxtyping import Int8, UInt8
from numpy import ndarray

from kernels.segments import HIGHEST, PackedSequences, Profiles
from kernels.spec import SegmentsSpec


def unsupported(spec: SegmentsSpec) -> str | None:
    """Never refuses."""
    return None


def run(
    profiles: Profiles, targets: PackedSequences, *, spec: SegmentsSpec
) -> UInt8[ndarray, "q s"]:
    """The best segment of each query with each target."""
    return np.stack([segment_scores(costs, targets) for costs in profiles])


def segment_scores(
    costs: Int8[ndarray, "classes m"], sequences: PackedSequences
) -> UInt8[ndarray, "s"]:
    """The best segment of one query with each sequence."""
    scores = []
    for start, stop in zip(sequences.starts, sequences.starts[1:], strict=False):
        row, highest = np.zeros(costs.shape[1] + 1, np.int64), 0
        for letter in sequences.residues[start:stop]:
            row[1:] = np.clip(row[:-1] - costs[letter], 0, HIGHEST)
            highest = max(highest, int(row.max()))
        scores.append(highest)
    return np.array(scores, np.uint8)
