"""Multiple sequence alignments: A3M and Stockholm text, rows, and what is done to rows.

In A3M, upper case letters and "-" stand in the query's columns; lower case letters are
residues inserted before the next column. The first row is the query.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int8, UInt8
from numpy import ndarray

from af3_core.job import PolymerKind

_ASCII_SPACE = " \t\n\v\f\r"
_DROP_INSERTIONS = str.maketrans("", "", "abcdefghijklmnopqrstuvwxyz")
_INSERTION, _UNKNOWN = -1, -2
_CHUNK_CHARACTERS = 1 << 22

GAP = 21
"""Residue class of "-"."""
NUM_RESIDUE_CLASSES = 31
"""20 amino acids, unknown, gap, four of RNA, four of DNA, unknown nucleotide."""

_PROTEIN_CLASSES = dict(zip("ARNDCQEGHILKMFPSTWYVX-", range(22), strict=True)) | {
    "B": 3,
    "J": 20,
    "O": 20,
    "U": 4,
    "Z": 6,
}
_UNKNOWN_NUCLEOTIDE = dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 30)
_RNA_CLASSES = _UNKNOWN_NUCLEOTIDE | {"-": GAP, "A": 22, "G": 23, "C": 24, "U": 25}
_DNA_CLASSES = _UNKNOWN_NUCLEOTIDE | {"-": GAP, "A": 26, "G": 27, "C": 28, "T": 29}


@dataclass(frozen=True)
class Msa:
    """Aligned sequences in A3M notation, the query first."""

    descriptions: tuple[str, ...]
    """Header lines without ">"."""
    sequences: tuple[str, ...]


@dataclass(frozen=True)
class EncodedMsa:
    """An alignment as numbers, one column per residue of the query."""

    rows: Int8[ndarray, "s l"]
    """Residue classes."""
    deletions: Int8[ndarray, "s l"]
    """Residues inserted just before the column, at most 127."""
    class_counts: Int[ndarray, "l 31"]
    """How many rows have each class in each column."""
    deletion_totals: Int[ndarray, "l"]
    """Residues inserted before each column, all rows together."""


def parse_a3m(text: str) -> Msa:
    """Reads A3M or FASTA; lines before the first ">" are ignored, as AF3 does."""
    descriptions: list[str] = []
    parts: list[list[str]] = []
    for raw_line in text.split("\n"):
        line = raw_line.strip(_ASCII_SPACE)
        if line.startswith(">"):
            descriptions.append(line[1:])
            parts.append([])
        elif line and parts:
            parts[-1].append(line)
    return Msa(tuple(descriptions), tuple("".join(p) for p in parts))


def format_a3m(msa: Msa) -> str:
    """A3M text, one line per sequence."""
    rows = zip(msa.descriptions, msa.sequences, strict=True)
    return "".join(f">{description}\n{sequence}\n" for description, sequence in rows)


def merge(msas: Sequence[Msa]) -> Msa:
    """All rows, one alignment after the other.

    Raises:
        ValueError: if there is nothing to merge, or the queries differ.
    """
    queries = {msa.sequences[0] for msa in msas if msa.sequences}
    if len(queries) != 1:
        raise ValueError(f"alignments to merge need one common query, got {queries}")
    return Msa(
        tuple(d for msa in msas for d in msa.descriptions),
        tuple(s for msa in msas for s in msa.sequences),
    )


def deduplicate(msa: Msa) -> Msa:
    """Keeps the first of rows that are equal but for their insertions."""
    first_rows: dict[str, int] = {}
    for index, sequence in enumerate(msa.sequences):
        first_rows.setdefault(sequence.translate(_DROP_INSERTIONS), index)
    kept = list(first_rows.values())
    return Msa(
        tuple(msa.descriptions[i] for i in kept),
        tuple(msa.sequences[i] for i in kept),
    )


_UNIPROT_NAME = re.compile(
    r"(tr|sp)\|[A-Z0-9]{6,10}(_\d+)?\|[A-Z0-9]{1,10}_(?P<species>[A-Z0-9]{1,5})"
)


def species_id(description: str) -> str:
    """UniProt's mnemonic of the species, or "" if the header is not UniProt's.

    `tr|A0A146SKV9|A0A146SKV9_FUNHE/1-95 …` gives `FUNHE`.
    """
    match = _UNIPROT_NAME.match(description.strip())
    return match["species"] if match else ""


def _lookup_table(classes: dict[str, int]) -> Int8[ndarray, "256"]:
    table = np.full(256, _UNKNOWN, np.int8)
    table[ord("a") : ord("z") + 1] = _INSERTION
    for letter, residue_class in classes.items():
        table[ord(letter)] = residue_class
    return table


_TABLES = {
    "protein": _lookup_table(_PROTEIN_CLASSES),
    "rna": _lookup_table(_RNA_CLASSES),
    "dna": _lookup_table(_DNA_CLASSES),
}


def _as_bytes(text: str) -> UInt8[ndarray, "characters"]:
    return np.frombuffer(text.encode("latin-1", "replace"), np.uint8)


def encode_sequence(sequence: str, kind: PolymerKind) -> Int8[ndarray, "l"]:
    """Residue classes of one sequence.

    Raises:
        ValueError: if a character stands for no residue.
    """
    return encode([sequence], kind).rows[0]


def encode(sequences: Sequence[str], kind: PolymerKind) -> EncodedMsa:
    """Turns A3M rows into residue classes and counts of inserted residues.

    Raises:
        ValueError: if there are no rows, a character stands for no residue, or rows
            differ in their number of columns.
    """
    if not sequences:
        raise ValueError("an alignment needs at least the query")
    table = _TABLES[kind]
    num_columns = int((table[_as_bytes(sequences[0])] >= 0).sum())
    shape = (len(sequences), num_columns)
    rows, deletions = np.empty(shape, np.int8), np.empty(shape, np.int8)
    counts = np.zeros(num_columns * NUM_RESIDUE_CLASSES, np.int64)
    totals = np.zeros(num_columns, np.int64)
    column_offsets = np.arange(num_columns) * NUM_RESIDUE_CLASSES
    for chunk in _chunks(sequences):
        classes = table[_as_bytes("".join(sequences[chunk]))]
        positions, starts = _match_positions(
            sequences, chunk, classes, table, num_columns
        )
        inserted = np.diff(positions.ravel(), prepend=0).reshape(positions.shape) - 1
        inserted[:, :1] = positions[:, :1] - starts[:, None]
        rows[chunk] = classes[positions]
        deletions[chunk] = np.minimum(inserted, 127)
        totals += inserted.sum(axis=0)
        cells = (rows[chunk] + column_offsets).ravel()
        counts += np.bincount(cells, minlength=counts.size)
    return EncodedMsa(
        rows, deletions, counts.reshape(num_columns, NUM_RESIDUE_CLASSES), totals
    )


def _chunks(sequences: Sequence[str]) -> Iterator[slice]:
    step = max(1, _CHUNK_CHARACTERS // max(1, max(map(len, sequences))))
    for start in range(0, len(sequences), step):
        yield slice(start, min(start + step, len(sequences)))


def _match_positions(
    sequences: Sequence[str],
    chunk: slice,
    classes: Int8[ndarray, "characters"],
    table: Int8[ndarray, "256"],
    num_columns: int,
) -> tuple[Int[ndarray, "rows l"], Int[ndarray, "rows"]]:
    """Where the columns of each row stand in the joined rows, and where it begins."""
    ends = np.cumsum([len(s) for s in sequences[chunk]])
    if classes.size and classes.min() == _UNKNOWN:
        _refuse_characters(sequences, chunk, table)
    positions = np.flatnonzero(classes >= 0)
    # Row by row where they begin, which is few numbers to look for among many.
    widths = np.diff(np.searchsorted(positions, ends), prepend=0)
    if (widths != num_columns).any():
        row = int(np.argmax(widths != num_columns))
        raise ValueError(
            f"row {chunk.start + row + 1} of the alignment has {widths[row]} columns, "
            f"the query has {num_columns}: {_shortened(sequences[chunk][row])}"
        )
    starts = np.append(0, ends[:-1])
    return positions.reshape(len(ends), num_columns), starts


def _refuse_characters(
    sequences: Sequence[str], chunk: slice, table: Int8[ndarray, "256"]
) -> None:
    for row, sequence in enumerate(sequences[chunk], start=chunk.start + 1):
        wrong = table[_as_bytes(sequence)] == _UNKNOWN
        if wrong.any():
            place = int(np.argmax(wrong))
            raise ValueError(
                f"row {row} of the alignment has {sequence[place]!r} at character "
                f"{place + 1}; allowed are residue letters, '-' and lower case "
                f"letters for insertions: {_shortened(sequence)}"
            )


def _shortened(sequence: str) -> str:
    return sequence if len(sequence) <= 60 else sequence[:57] + "..."
