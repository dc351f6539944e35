"""Whether an alignment that the user gives fits its query."""

import string

from af3_core.job import PolymerKind

_DROP_INSERTIONS = str.maketrans("", "", string.ascii_lowercase)
# Letters that AlphaFold 3 encodes alike: search tools may exchange them in the query.
_ENCODED = {
    "protein": str.maketrans("BJOUZ", "DXXCE"),
    "rna": str.maketrans(dict.fromkeys(set(string.ascii_uppercase) - set("ACGU"), "N")),
}


def find_a3m_problem(
    text: str, query: str, kind: PolymerKind, modified: frozenset[int]
) -> str | None:
    """What is wrong with an A3M alignment, as a sentence of what is allowed.

    Args:
        text: the alignment; lines before the first `>` must be comments (`#`).
        query: the chain's sequence, which the first row must equal.
        kind: protein or rna; DNA has no alignment.
        modified: 0-based residues whose letter is decided by their modification.
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
    if not _is_same(rows[0].translate(_DROP_INSERTIONS), query, kind, modified):
        return "a first row equal to the chain's sequence"
    return None


def _read_rows(text: str) -> list[str]:
    rows: list[list[str]] = []
    for raw in text.split("\n"):
        line = raw.strip()
        if line.startswith(">"):
            rows.append([])
        elif rows:
            rows[-1].append(line)
        elif line and not line.startswith("#"):
            return []
    return ["".join(parts) for parts in rows]


def _is_same(row: str, query: str, kind: PolymerKind, modified: frozenset[int]) -> bool:
    row, query = row.translate(_ENCODED[kind]), query.translate(_ENCODED[kind])
    if row == query:
        return True
    return all(
        ours == theirs or index in modified
        for index, (ours, theirs) in enumerate(zip(row, query, strict=True))
    )
