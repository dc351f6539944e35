"""Whether an alignment that the user gives fits its query."""

import string

from af3_core.job import PolymerKind

_DROP_INSERTIONS = str.maketrans("", "", string.ascii_lowercase)
# Letters that AlphaFold 3 encodes alike: search tools may exchange them in the query.
_ENCODED = {
    "protein": str.maketrans("BJOUZ", "DXXCE"),
    "rna": str.maketrans(dict.fromkeys(set(string.ascii_uppercase) - set("ACGU"), "N")),
}


def find_a3m_problem(text: str, query: str, kind: PolymerKind) -> str | None:
    """What is wrong with an A3M alignment, as a sentence of what is allowed.

    Args:
        text: the alignment; lines before the first `>` must be comments (`#`).
        query: the chain's sequence, which the first row must equal.
        kind: protein or rna; DNA has no alignment.
    """
    rows = _read_rows(text)
    if not rows:
        return "an alignment in A3M format, beginning with '>'"
    for number, row in enumerate(rows, 1):
        matched = row.translate(_DROP_INSERTIONS)
        letters = matched.replace("-", "")
        if letters and not (letters.isascii() and letters.isalpha()):
            return f"letters and '-' in every row; row {number} has others"
        if len(matched) != len(query):
            return (
                f"rows as long as the sequence ({len(query)}) without insertions;"
                f" row {number} has {len(matched)}"
            )
    return _find_query_problem(rows[0].translate(_DROP_INSERTIONS), query, kind)


def _read_rows(text: str) -> list[str]:
    rows: list[list[str]] = []
    for raw in text.split("\n"):
        line = raw.strip(string.whitespace)
        if line.startswith(">"):
            rows.append([])
        elif rows:
            rows[-1].append(line)
        elif line and not line.startswith("#"):
            return []
    return ["".join(parts) for parts in rows]


def crop_a3m(text: str, start: int, end: int) -> str:
    """Columns `start` to `end` (1-based, inclusive) of an alignment, with insertions.

    Rows that have no letter there are left out, but for the query.
    """
    lines = (line.strip(string.whitespace) for line in text.split("\n"))
    headers = [line for line in lines if line.startswith(">")]
    cropped: list[str] = []
    for header, row in zip(headers, _read_rows(text), strict=True):
        column, kept = 0, []
        for letter in row:
            column += not letter.islower()
            if start <= column <= end:
                kept.append(letter)
        part = "".join(kept)
        if not cropped or part.strip("-"):
            cropped.append(f"{header}\n{part}\n")
    return "".join(cropped)


def _find_query_problem(row: str, query: str, kind: PolymerKind) -> str | None:
    encoded, wanted = row.translate(_ENCODED[kind]), query.translate(_ENCODED[kind])
    if encoded == wanted:
        return None
    index = next(i for i, letter in enumerate(wanted) if encoded[i] != letter)
    return (
        "a first row equal to the chain's sequence (modified residues by their parent's"
        " letter, residues without a component of their own as X or N); residue"
        f" {index + 1} is {row[index]} instead of {query[index]}"
    )
