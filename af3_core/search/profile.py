"""A profile of an alignment, as `hmmbuild --hand` makes it for the template search."""

import io
import tempfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO, cast

import numpy as np
from jaxtyping import Int, UInt8
from numpy import ndarray
from pyhmmer.easel import MSAFile
from pyhmmer.plan7 import Background, Builder

from af3_core.msa import Msa
from af3_core.search.hmmer import ALPHABETS

MAX_CELLS = 1_000_000_000
"""Rows times columns, with insertions in columns of their own: HMMER takes a byte each,
several times over."""
_IN_MEMORY = 2**26
_GAP, _TO_UPPER = ord("-"), ord("a") - ord("A")


def build_profile(msa: Msa) -> str:
    """HMMER's text of a profile whose positions are the query's residues.

    Insertions get columns of their own; the first row says which columns are
    consensus. Text, because what is searched with is what five decimals hold.

    Raises:
        ValueError: rows of different length, or more than a machine should hold.
    """
    alphabet = ALPHABETS["protein"]
    # On disk if it is large: one long insertion widens every row.
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as stockholm:
        for line in _format_stockholm(msa.sequences):
            stockholm.write(line.encode())
        stockholm.seek(0)
        text = cast(BinaryIO, stockholm)
        file = MSAFile(text, "stockholm", digital=True, alphabet=alphabet)
        aligned = file.read()
        file.close()
    if aligned is None:
        raise ValueError("an alignment needs at least the query")
    aligned.name = "query"
    builder = Builder(alphabet, architecture="hand")
    profile, _, _ = builder.build_msa(aligned, Background(alphabet))
    written = io.BytesIO()
    profile.write(written)
    return written.getvalue().decode()


def _format_stockholm(rows: Sequence[str]) -> Iterator[str]:
    """Rows with a line that marks the columns in which the first has a residue.

    Text, because PyHMMER's own way to set that line allocates a byte too little.
    """
    reference = ""
    yield "# STOCKHOLM 1.0\n\n"
    for index, row in enumerate(align_insertions(rows)):
        if not index:
            reference = "".join("." if letter == "-" else "x" for letter in row)
        yield f"row_{index} {row}\n"
    yield f"#=GC RF {reference}\n//\n"


def align_insertions(rows: Sequence[str]) -> Iterator[str]:
    """A3M rows with a column for every insertion, gaps where a row has none.

    Insertions before a residue of the query stand left-justified in as many columns
    as the longest of them needs.

    Raises:
        ValueError: rows that differ in their number of columns, or too many cells.
    """
    widths = _insertion_widths(rows)
    starts = np.cumsum(widths + 1) - widths - 1
    num_columns = int(widths.sum()) + len(widths) - 1
    for row in rows:
        letters, matches, lengths = _parse(row)
        aligned = np.full(num_columns + 1, _GAP, np.uint8)
        aligned[(starts + widths)[:-1]] = letters[matches]
        inserted = np.flatnonzero(letters >= ord("a"))
        before = np.repeat(np.arange(len(lengths)), lengths)
        first = np.concatenate([[0], matches + 1])
        places = starts[before] + inserted - first[before]
        aligned[places] = letters[inserted] - _TO_UPPER
        yield aligned[:num_columns].tobytes().decode("ascii")


def _insertion_widths(rows: Sequence[str]) -> Int[ndarray, "gaps"]:
    """Columns needed before each residue of the query, and behind the last."""
    _, _, widths = _parse(rows[0])
    num_columns = len(widths)
    for index, row in enumerate(rows):
        _, _, lengths = _parse(row)
        if len(lengths) != num_columns:
            raise ValueError(
                f"row {index + 1} of the alignment has {len(lengths) - 1} columns, the "
                f"query has {num_columns - 1}"
            )
        longest = int(lengths.argmax())
        if len(rows) * (num_columns + int(lengths[longest])) > MAX_CELLS:
            raise ValueError(
                f"row {index + 1} of the alignment inserts {lengths[longest]:,}"
                f" residues before residue {longest + 1}; in {len(rows):,} rows that is"
                f" more than the {MAX_CELLS:,} letters that templates are searched"
                " with: shorten the insertion, or give the templates"
            )
        np.maximum(widths, lengths, out=widths)
    if (cells := len(rows) * (num_columns + int(widths.sum()))) > MAX_CELLS:
        raise ValueError(
            f"with insertions in columns of their own the alignment has {cells:,}"
            f" letters; templates are searched with at most {MAX_CELLS:,}"
        )
    return widths


def _parse(
    row: str,
) -> tuple[UInt8[ndarray, "c"], Int[ndarray, "l"], Int[ndarray, "gaps"]]:
    """A row's characters, where its columns are, and the insertions' lengths."""
    letters = np.frombuffer(row.encode("ascii"), np.uint8)
    matches = np.flatnonzero(letters < ord("a"))
    ends = np.concatenate([[-1], matches, [len(letters)]])
    return letters, matches, np.diff(ends) - 1
