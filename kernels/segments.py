"""What the backends of `best_segments` share: packed sequences, and their spec."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int8, Int64, UInt8
from numpy import ndarray

Profiles = Sequence[Int8[ndarray, "classes _"]]
"""For each query, what a residue of each class costs in each of its columns; negative
is a score, 127 as good as forbidden."""
HIGHEST = 255
"""Scores saturate here, as those of HMMER's filter do."""


@dataclass(frozen=True)
class PackedSequences:
    """Sequences one after the other."""

    residues: UInt8[ndarray, "n"]
    """Residue classes."""
    starts: Int64[ndarray, "bounds"]
    """Where each sequence begins; the last entry is the end of the last."""

    @property
    def lengths(self) -> Int64[ndarray, "s"]:
        """Residues of each sequence."""
        return np.diff(self.starts)

    def take(self, indices: Int64[ndarray, "k"]) -> "PackedSequences":
        """Some of the sequences."""
        return pack_sequences(
            [self.residues[self.starts[i] : self.starts[i + 1]] for i in indices]
        )


def pack_sequences(sequences: Sequence[UInt8[ndarray, "_"]]) -> PackedSequences:
    """Puts sequences one after the other."""
    starts = np.zeros(len(sequences) + 1, np.int64)
    np.cumsum([len(s) for s in sequences], out=starts[1:])
    joined = np.concatenate(sequences) if sequences else np.zeros(0, np.uint8)
    return PackedSequences(joined, starts)


def check_classes(num_classes: int, sequences: PackedSequences) -> None:
    """Raises ValueError when a residue has no row in a profile."""
    if len(sequences.residues) and sequences.residues.max() >= num_classes:
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
