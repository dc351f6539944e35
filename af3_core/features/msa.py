"""MSA features of a whole job: paired rows, each chain's own rows, profiles.

AF3 SI 2.3. Rows of different chains are paired when they come from one species: a
paired row holds at most one sequence per chain. Below the paired rows stand each
chain's other rows, side by side without relation to one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float32, Int, Int8, Shaped
from numpy import ndarray

from af3_core.features.chain_inputs import ChainInput
from af3_core.job import PolymerKind
from af3_core.msa import (
    GAP,
    EncodedMsa,
    Msa,
    encode,
    encode_sequence,
    parse_a3m,
    species_id,
)
from af3_core.recent import Recent

MAX_MSA_ROWS = 16_384
"""Rows of the stacked alignment; at most half of them are paired."""
MAX_PAIRED_PER_SPECIES = 600
SHORTEST_ALIGNED_CHAIN = 5
"""Shorter polymers stand alone in their alignment whatever was given for them."""


@dataclass(frozen=True)
class MsaArrays:
    """The stacked alignment over all tokens of the job, without padding."""

    rows: Int8[ndarray, "s n"]
    """Residue classes; chains with fewer rows than others end in gaps."""
    deletion_matrix: Int8[ndarray, "s n"]
    """Residues inserted to the left of this position, at most 127."""
    profile: Float32[ndarray, "n 31"]
    """Frequency of each residue class in the chain's own (unpaired) alignment."""
    deletion_mean: Float32[ndarray, "n"]
    """Mean number of inserted residues in the chain's own alignment."""


@dataclass(frozen=True)
class _Block:
    """Rows of one chain that go into the stacked alignment."""

    rows: Int8[ndarray, "s l"]
    deletions: Int8[ndarray, "s l"]

    def take(self, index: Int[ndarray, "p"] | slice) -> "_Block":
        return _Block(self.rows[index], self.deletions[index])


@dataclass(frozen=True)
class _ChainAlignments:
    """Both alignments of one chain."""

    unpaired: EncodedMsa
    paired: EncodedMsa
    species: Shaped[ndarray, "s"]
    """Species of each paired row, "" where unknown."""

    @property
    def nbytes(self) -> int:
        """Bytes, about."""
        arrays = (
            *(self.unpaired.rows, self.unpaired.deletions),
            *(self.paired.rows, self.paired.deletions, self.species),
        )
        return sum(array.nbytes for array in arrays)


def msa_features(
    chains: Sequence[ChainInput],
    *,
    max_rows: int = MAX_MSA_ROWS,
    max_paired_per_species: int = MAX_PAIRED_PER_SPECIES,
    resolve_overlaps: bool = True,
    recent: Recent | None = None,
) -> MsaArrays:
    """Computes the MSA features of a job, chains in the job's order.

    Args:
        resolve_overlaps: drop unpaired rows that stand among the chain's paired rows.
            Keep them if the unpaired alignments were paired by hand.
        recent: knows the alignments of other jobs.

    Raises:
        ValueError: if an alignment cannot be read or its first row is not the chain's
            sequence; the message names the chain.
    """
    sequences = {c.letters for c in chains if c.kind == "protein"}
    pairing = len(sequences) > 1
    alignments = _read_all(chains, pairing, recent or Recent())
    unpaired = [_block(a.unpaired) for a in alignments]
    paired = [_block(a.paired) for a in alignments]
    max_paired = max_rows // 2
    if pairing:
        index = pair_rows(
            [a.species for a in alignments], max_paired, max_paired_per_species
        )
        paired = [_take_or_gap(b, index[:, i]) for i, b in enumerate(paired)]
        if resolve_overlaps:
            unpaired = [_without(u, p) for u, p in zip(unpaired, paired, strict=True)]
    paired = [b.take(slice(max_paired)) for b in _drop_empty_rows(paired)]
    num_paired = len(paired[0].rows)
    unpaired = [b.take(slice(max_rows - num_paired)) for b in unpaired]
    rows, deletions = _stack(paired, unpaired, [c.token_columns for c in chains])
    return MsaArrays(rows, deletions, *_profiles(chains, alignments))


def _read_all(
    chains: Sequence[ChainInput], pairing: bool, recent: Recent
) -> list[_ChainAlignments]:
    """Alignments of all chains; those of copies are read once."""
    known: dict[tuple[object, ...], _ChainAlignments] = {}
    for chain in chains:
        key = _evidence(chain)
        if key not in known:
            known[key] = recent.get(
                ("alignments", pairing, key),
                partial(_read_alignments, chain, pairing),
                lambda found: found.nbytes,
            )
    return [known[_evidence(chain)] for chain in chains]


def _evidence(chain: ChainInput) -> tuple[object, ...]:
    width = chain.num_columns
    return chain.kind, chain.letters, width, chain.unpaired_msa, chain.paired_msa


def _read_alignments(chain: ChainInput, pairing: bool) -> _ChainAlignments:
    if chain.kind == "ligand":
        gaps = encode(["-" * chain.num_columns], "protein")
        return _ChainAlignments(gaps, gaps, np.array([""], object))
    aligned = len(chain.letters) >= SHORTEST_ALIGNED_CHAIN and chain.kind != "dna"
    use_paired = aligned and pairing and chain.kind == "protein"
    unpaired = _parse_alignment(
        chain, chain.unpaired_msa if aligned else "", "unpaired"
    )
    paired = _parse_alignment(chain, chain.paired_msa if use_paired else "", "paired")
    species = [species_id(d) for d in paired.descriptions]
    return _ChainAlignments(
        _encode(chain, unpaired, "unpaired"),
        _encode(chain, paired, "paired"),
        np.array(species, object),
    )


def _parse_alignment(chain: ChainInput, a3m: str, which: str) -> Msa:
    """Parses A3M text; the chain's own sequence if it holds no rows.

    Raises:
        ValueError: if the first row is another sequence than the chain's.
    """
    letters, kind = chain.letters, _polymer_kind(chain)
    msa = parse_a3m(a3m)
    if not msa.sequences:
        return Msa(("query",), (letters,))
    try:
        first = encode_sequence(msa.sequences[0], kind)
    except ValueError as error:
        raise ValueError(_complaint(chain, which, str(error))) from error
    if not np.array_equal(first, encode_sequence(letters, kind)):
        reason = f"its first row is {msa.sequences[0]}, the chain is {letters}"
        raise ValueError(_complaint(chain, which, reason))
    return msa


def _polymer_kind(chain: ChainInput) -> PolymerKind:
    assert chain.kind != "ligand", "a ligand has no alignment"
    return chain.kind


def _encode(chain: ChainInput, msa: Msa, which: str) -> EncodedMsa:
    try:
        return encode(msa.sequences, _polymer_kind(chain))
    except ValueError as error:
        raise ValueError(_complaint(chain, which, str(error))) from error


def _complaint(chain: ChainInput, which: str, reason: str) -> str:
    return f"the {which} MSA of chain {chain.chain_id} cannot be used: {reason}"


def _block(msa: EncodedMsa) -> _Block:
    return _Block(msa.rows, msa.deletions)


def pair_rows(
    species_of_chains: Sequence[Shaped[ndarray, "_"]],
    max_rows: int,
    max_per_species: int,
) -> Int[ndarray, "p chains"]:
    """Chooses which rows of each chain's paired alignment share a row.

    Within a species, sequences pair in their order in the alignments. Species found in
    more chains come first; among species found in equally many chains, rows are sorted
    by the product of their row numbers.

    Returns:
        Row numbers, -1 where the chain has no sequence of the species. The first row
        is all queries.
    """
    chains = [_rows_by_species(s) for s in species_of_chains]
    num_chains_with: dict[str, int] = {}
    depth: dict[str, int] = {}
    for rows_of in chains:
        for species, rows in rows_of.items():
            num_chains_with[species] = num_chains_with.get(species, 0) + 1
            depth[species] = min(depth.get(species, max_per_species), len(rows))
    num_chains_with.pop("", None)
    blocks = [np.zeros((1, len(chains)), np.int64)]
    num_paired = 0
    for count in sorted(set(num_chains_with.values()) - {1}, reverse=True):
        shared = [s for s, num in num_chains_with.items() if num == count]
        block = np.concatenate([_species_rows(chains, s, depth[s]) for s in shared])
        with np.errstate(over="ignore"):
            rank = np.abs(np.prod(block.astype(np.float32), axis=1))
        # AF3 sorts with NumPy's default, which leaves ties in no particular order.
        blocks.append(block[np.argsort(rank)])
        num_paired += len(block)
        if num_paired >= max_rows:
            break
    return np.concatenate(blocks)[:max_rows]


def _rows_by_species(species: Shaped[ndarray, "s"]) -> dict[str, Int[ndarray, "r"]]:
    if not any(species):
        return {}
    # NumPy's default sort is not stable; within a species AF3 pairs in its order.
    order = species.argsort()
    names, starts = np.unique(species[order], return_index=True)
    return dict(zip(names, np.split(order, starts[1:]), strict=True))


def _species_rows(
    chains: Sequence[dict[str, Int[ndarray, "..."]]], species: str, depth: int
) -> Int[ndarray, "r chains"]:
    absent = np.full(depth, -1)
    return np.stack([rows.get(species, absent)[:depth] for rows in chains], axis=1)


def _take_or_gap(block: _Block, index: Int[ndarray, "p"]) -> _Block:
    taken = block.take(index)
    missing = (index < 0)[:, None]
    return _Block(
        np.where(missing, np.int8(GAP), taken.rows),
        np.where(missing, np.int8(0), taken.deletions),
    )


def _without(unpaired: _Block, paired: _Block) -> _Block:
    """Drops unpaired rows that are also paired, insertions not counted."""
    known = {row.tobytes() for row in paired.rows}
    kept = [i for i, row in enumerate(unpaired.rows) if row.tobytes() not in known]
    return unpaired.take(np.array(kept, np.int64))


def _drop_empty_rows(paired: Sequence[_Block]) -> list[_Block]:
    """Drops rows that are gaps in every chain, such as a ligand-only job's query."""
    occupied = np.any([(b.rows != GAP).any(axis=1) for b in paired], axis=0)
    return [b.take(np.flatnonzero(occupied)) for b in paired]


def _stack(
    paired: Sequence[_Block],
    unpaired: Sequence[_Block],
    columns: Sequence[Int[ndarray, "..."]],
) -> tuple[Int8[ndarray, "s n"], Int8[ndarray, "s n"]]:
    num_paired = len(paired[0].rows)
    depth = num_paired + max(len(b.rows) for b in unpaired)
    num_tokens = sum(map(len, columns))
    rows = np.full((depth, num_tokens), GAP, np.int8)
    deletions = np.zeros((depth, num_tokens), np.int8)
    stop = 0
    for pair, own, column in zip(paired, unpaired, columns, strict=True):
        tokens = slice(stop, stop := stop + len(column))
        below = slice(num_paired, num_paired + len(own.rows))
        # A slice is copied row by row, an index letter by letter.
        one_by_one = np.arange(own.rows.shape[1])
        taken = slice(None) if np.array_equal(column, one_by_one) else column
        rows[:num_paired, tokens] = pair.rows[:, taken]
        rows[below, tokens] = own.rows[:, taken]
        deletions[:num_paired, tokens] = pair.deletions[:, taken]
        deletions[below, tokens] = own.deletions[:, taken]
    return rows, deletions


def _profiles(
    chains: Sequence[ChainInput], alignments: Sequence[_ChainAlignments]
) -> tuple[Float32[ndarray, "n 31"], Float32[ndarray, "n"]]:
    profiles, means = [], []
    for chain, alignment in zip(chains, alignments, strict=True):
        columns, own = chain.token_columns, alignment.unpaired
        profile = own.class_counts / len(own.rows)
        mean = own.deletion_totals / len(own.rows)
        profiles.append(profile[columns].astype(np.float32))
        means.append(mean[columns].astype(np.float32))
    return np.concatenate(profiles), np.concatenate(means)
