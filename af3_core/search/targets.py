"""Parts of a database as a search reads them: for the segment filter, and for HMMER.

The filter sees all targets as packed numbers; HMMER gets those that are left, with
names, in the order of the database's file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import pyarrow as pa
from jaxtyping import Int, UInt32
from numpy import ndarray
from pyhmmer.easel import Alphabet, DigitalSequence, DigitalSequenceBlock

from kernels.segments import PackedSequences, pack_sequences

AMINO = Alphabet.amino()
Indices = Int[ndarray, "_"]


@dataclass(frozen=True)
class DigitalTargets:
    """Targets that HMMER's library has read itself."""

    sequences: DigitalSequenceBlock

    def __len__(self) -> int:
        """How many there are."""
        return len(self.sequences)

    @property
    def places(self) -> Indices:
        """Where each stands in the file, among these."""
        return np.arange(len(self))

    def find(self, places: Indices) -> Indices:
        """Indices of those that stand at these places."""
        return places

    @cached_property
    def packed(self) -> PackedSequences:
        """All of it, for the filter."""
        return pack_sequences([np.asarray(s.sequence) for s in self.sequences])

    def take(self, indices: Indices | None) -> DigitalSequenceBlock:
        """Some of it, or all, for HMMER."""
        if indices is None:
            return self.sequences
        block: Any = self.sequences  # whose stub has no alphabet
        return DigitalSequenceBlock(block.alphabet, [block[i] for i in indices])

    def split(self, parts: int) -> "Sequence[DigitalTargets]":
        """Every so manieth of them."""
        if parts == 1:
            return [self]
        block = self.sequences
        cut = [cast(DigitalSequenceBlock, block[part::parts]) for part in range(parts)]
        return [DigitalTargets(piece) for piece in cut]


@dataclass(frozen=True)
class PackedTargets:
    """Proteins of a digitised database, in any order."""

    packed: PackedSequences
    names: pa.StringArray
    descriptions: pa.StringArray
    places: UInt32[ndarray, "s"]
    """Where each stands in the file, among these."""

    def __len__(self) -> int:
        """How many there are."""
        return len(self.places)

    def find(self, places: Indices) -> Indices:
        """Indices of those that stand at these places."""
        return self._order[places]

    @cached_property
    def _order(self) -> Indices:
        """Indices in the order of the file; of a whole block only."""
        return np.argsort(self.places)

    def take(self, indices: Indices | None) -> DigitalSequenceBlock:
        """Some of it, or all, for HMMER; in the order of the file."""
        chosen = np.arange(len(self.places)) if indices is None else indices
        residues, starts = self.packed.residues, self.packed.starts
        return DigitalSequenceBlock(
            AMINO,
            [
                DigitalSequence(
                    AMINO,
                    name=self.names[i].as_py(),
                    description=self.descriptions[i].as_py(),
                    sequence=residues[starts[i] : starts[i + 1]],
                )
                for i in chosen[np.argsort(self.places[chosen])].tolist()
            ],
        )

    def split(self, parts: int) -> "Sequence[PackedTargets]":
        """Ranges of about as many residues."""
        starts = self.packed.starts
        goals = starts[0] + (starts[-1] - starts[0]) * np.arange(1, parts) // parts
        bounds = [0, *np.searchsorted(starts, goals).tolist(), len(self.places)]
        return [
            PackedTargets(
                PackedSequences(self.packed.residues, starts[first : last + 1]),
                self.names.slice(first, last - first),
                self.descriptions.slice(first, last - first),
                self.places[first:last],
            )
            for first, last in zip(bounds, bounds[1:], strict=False)
        ]


Targets = DigitalTargets | PackedTargets
"""A part of a database."""
