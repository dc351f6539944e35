"""A profile of an alignment, as `hmmbuild --hand` makes it for the template search."""

import io
import re
from collections.abc import Sequence

from pyhmmer.easel import MSAFile
from pyhmmer.plan7 import Background, Builder

from af3_core.msa import Msa
from af3_core.search.hmmer import ALPHABETS

_COLUMN = re.compile(r"([a-z]*)([^a-z])")
_END = "|"


def build_profile(msa: Msa) -> str:
    """HMMER's text of a profile whose positions are the query's residues.

    Insertions get columns of their own; the first row says which columns are
    consensus. Text, because what is searched with is what five decimals hold.

    Raises:
        ValueError: rows of different length.
    """
    alphabet = ALPHABETS["protein"]
    stockholm = io.BytesIO(_format_stockholm(align_insertions(msa.sequences)).encode())
    with MSAFile(stockholm, "stockholm", digital=True, alphabet=alphabet) as file:
        aligned = file.read()
    aligned.name = "query"
    builder = Builder(alphabet, architecture="hand")
    profile, _, _ = builder.build_msa(aligned, Background(alphabet))
    text = io.BytesIO()
    profile.write(text)
    return text.getvalue().decode()


def _format_stockholm(rows: Sequence[str]) -> str:
    """Rows with a line that marks the columns in which the first has a residue.

    Text, because PyHMMER's own way to set that line allocates a byte too little.
    """
    reference = "".join("." if letter == "-" else "x" for letter in rows[0])
    lines = [f"row_{index} {row}" for index, row in enumerate(rows)]
    return "\n".join(["# STOCKHOLM 1.0", "", *lines, f"#=GC RF {reference}", "//", ""])


def align_insertions(rows: Sequence[str]) -> list[str]:
    """A3M rows with a column for every insertion, gaps where a row has none.

    Insertions before a residue of the query stand left-justified in as many columns
    as the longest of them needs.

    Raises:
        ValueError: rows that differ in their number of columns.
    """
    split = [_COLUMN.findall(row + _END) for row in rows]
    num_columns = len(split[0])
    for index, parts in enumerate(split):
        if len(parts) != num_columns:
            raise ValueError(
                f"row {index + 1} of the alignment has {len(parts) - 1} columns, the "
                f"query has {num_columns - 1}"
            )
    widths = [
        max(len(inserted) for inserted, _ in place)
        for place in zip(*split, strict=True)
    ]
    return [
        "".join(
            f"{inserted.upper():-<{width}}{letter}"
            for (inserted, letter), width in zip(parts, widths, strict=True)
        ).removesuffix(_END)
        for parts in split
    ]
