"""What the backends of `best_segments` share: packed sequences, and their spec."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int8, Int64, UInt8
from numpy import ndarray

Profiles = Sequence[Int8[ndarray, "classes _"]]
"""For each query, what a residue of each class costs in each of its columns; negative
is a score, 127 as good as forbidden."""
HIGHEST = 255
"""Scores saturate here, as those of HMMER's filter do."""
_SPARE = np.zeros(1, np.uint8)


@dataclass(frozen=True)
class PackedSequences:
    """Sequences one after the other."""

    residues: UInt8[ndarray, "n"]
    """Residue classes, and at least one more entry, whose value counts for nothing."""
    starts: Int64[ndarray, "bounds"]
    """Where each sequence begins; the last entry is the end of the last."""

    def __post_init__(self) -> None:
        """Raises ValueError when no entry follows the last sequence."""
        if len(self.residues) <= self.starts[-1]:
            raise ValueError("no spare entry behind the last sequence")

    @cached_property
    def lengths(self) -> Int64[ndarray, "s"]:
        """Residues of each sequence."""
        return np.diff(self.starts)

    @cached_property
    def by_length(self) -> tuple[Int64[ndarray, "l"], Int64[ndarray, "s"]]:
        """The lengths there are, and which of them each sequence has."""
        distinct, inverse = np.unique(self.lengths, return_inverse=True)
        return distinct, inverse

    @cached_property
    def highest_class(self) -> int:
        """Of a residue; −1 where there is none."""
        first, last = self.starts[0], self.starts[-1]
        return int(self.residues[first:last].max(initial=0)) if last > first else -1

    def take(self, indices: Int64[ndarray, "k"]) -> "PackedSequences":
        """Some of the sequences."""
        return pack_sequences(
            [self.residues[self.starts[i] : self.starts[i + 1]] for i in indices]
        )


def pack_sequences(sequences: Sequence[UInt8[ndarray, "_"]]) -> PackedSequences:
    """Puts sequences one after the other."""
    starts = np.zeros(len(sequences) + 1, np.int64)
    np.cumsum([len(s) for s in sequences], out=starts[1:])
    return PackedSequences(np.concatenate([*sequences, _SPARE]), starts)


def check_classes(num_classes: int, sequences: PackedSequences) -> None:
    """Raises ValueError when a residue has no row in a profile."""
    if sequences.highest_class >= num_classes:
        raise ValueError(f"a residue class is not below {num_classes}")


def check_profiles(profiles: Profiles, targets: PackedSequences) -> None:
    """Raises ValueError when profiles differ in classes or lack a residue's."""
    for row, costs in enumerate(profiles):
        if len(costs) != len(profiles[0]):
            raise ValueError(
                f"profile {row} has {len(costs)} classes, the first has"
                f" {len(profiles[0])}"
            )
    check_classes(len(profiles[0]), targets)
