"""Templates of a query: hits among the PDB's sequences, filtered as AlphaFold 3 does.

AF3 SI 2.4. A hit was aligned with the sequence the PDB lists; the structure's own
sequence may be shorter, then the hit is aligned with that one again.
"""

import datetime
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from af3_core.search.hits import Row

MAX_TEMPLATE_DATE = datetime.date(2021, 9, 30)
_TARGET = re.compile(r"(?P<entry>[a-z0-9]{4,})_(?P<chain>\w+)")
_LENGTH = re.compile(r".* length:(\d+)\b.*")


@dataclass(frozen=True)
class TemplateFilter:
    """Which hits become templates."""

    max_date: datetime.date = MAX_TEMPLATE_DATE
    """The latest release date."""
    max_templates: int = 4
    max_subsequence_ratio: float = 0.95
    """A hit that is part of the query and longer than this share of it is dropped."""
    min_align_ratio: float = 0.1
    """Share of the query that must be aligned, exclusive."""
    min_length: int = 10
    """Residues of the hit."""


@dataclass(frozen=True)
class TemplateHit:
    """A region of a PDB sequence aligned with the query."""

    pdb_id: str
    author_id: str
    """auth_asym_id."""
    row: str
    """A3M row."""
    start: int
    """0-based first residue in the listed sequence."""
    end: int
    """The residue after the last."""
    full_length: int
    """Of the listed sequence."""

    @property
    def letters(self) -> str:
        """The hit's residues, insertions included."""
        return self.row.upper().replace("-", "")


@dataclass(frozen=True)
class TemplateChain:
    """What has to be known of a chain to judge it as a template."""

    release_date: datetime.date
    letters: str
    """One letter per residue, unresolved ones included."""
    unresolved: frozenset[int]
    """0-based residues without atoms."""


@dataclass(frozen=True)
class ChosenTemplate:
    """A hit that became a template, residue by residue (0-based)."""

    hit: TemplateHit
    release_date: datetime.date
    query_indices: tuple[int, ...]
    template_indices: tuple[int, ...]


def read_hit(row: Row) -> TemplateHit:
    """A row of the search among the PDB's sequences.

    Raises:
        ValueError: its header is not one of the PDB's (`1ubi_A mol:protein length:76`).
    """
    target, length = _TARGET.fullmatch(row.target), _LENGTH.match(f" {row.description}")
    if target is None or length is None:
        raise ValueError(
            f"the PDB sequence {row.target!r} {row.description!r} is not headed like "
            "'1ubi_A mol:protein length:76'"
        )
    return TemplateHit(
        pdb_id=target["entry"],
        author_id=target["chain"],
        row=row.region.row,
        start=row.region.start - 1,
        end=row.region.end,
        full_length=int(length[1]),
    )


def choose_templates(
    query: str,
    hits: Iterable[TemplateHit],
    find_chain: Callable[[str, str], TemplateChain | None],
    limits: TemplateFilter = TemplateFilter(),
) -> tuple[ChosenTemplate, ...]:
    """The first hits that pass all filters and do not repeat an earlier one.

    Args:
        query: one-letter sequence.
        hits: best first.
        find_chain: looks a chain up by entry and author's chain id; None if the
            structure is not there or cannot be used.
        limits: the filters.
    """
    chosen: list[ChosenTemplate] = []
    seen: set[str] = set()
    for hit in hits:
        chain = find_chain(hit.pdb_id, hit.author_id)
        if chain is None or not _may_serve(query, hit, chain, limits):
            continue
        pairs = align_with_structure(hit, chain.letters)
        if pairs is None or not set(pairs.values()) - chain.unresolved:
            continue
        if len(pairs) / len(query) <= limits.min_align_ratio:
            continue
        aligned = _aligned_letters(query, pairs, chain.letters)
        if aligned in seen:
            continue
        seen.add(aligned)
        chosen.append(
            ChosenTemplate(hit, chain.release_date, tuple(pairs), tuple(pairs.values()))
        )
        if len(chosen) == limits.max_templates:
            break
    return tuple(chosen)


def _may_serve(
    query: str, hit: TemplateHit, chain: TemplateChain, limits: TemplateFilter
) -> bool:
    if chain.release_date > limits.max_date:
        return False
    is_long = len(hit.letters) / len(query) > limits.max_subsequence_ratio
    if is_long and hit.letters in query:
        return False
    return len(hit.letters) >= limits.min_length


def _aligned_letters(query: str, pairs: Mapping[int, int], letters: str) -> str:
    row = ["-"] * len(query)
    for query_index, template_index in pairs.items():
        row[query_index] = letters[template_index]
    return "".join(row)


def align_with_structure(hit: TemplateHit, letters: str) -> dict[int, int] | None:
    """Residues of the structure by residue of the query (0-based).

    None where the sequences differ and the structure's is the longer one.
    """
    pairs = _pairs_in_hit(hit.row)
    is_listed = letters[hit.start : hit.end] == hit.letters
    if is_listed or hit.full_length == len(letters):
        return {q: h + hit.start for q, h in pairs.items()}
    return _align_again(hit, letters, pairs)


def _pairs_in_hit(row: str) -> dict[int, int]:
    pairs, query_index, hit_index = {}, 0, 0
    for letter in row:
        if letter.isupper():
            pairs[query_index] = hit_index
        query_index += not letter.islower()
        hit_index += letter != "-"
    return pairs


def _align_again(
    hit: TemplateHit, letters: str, pairs: Mapping[int, int]
) -> dict[int, int] | None:
    """Aligns the hit with a structure that lacks residues of the listed sequence.

    As many residues may be missing as the sequences differ in length; some of them
    before the hit. Of the ways to share them out the best counts, of equal ones that
    with the most before it.
    """
    num_missing = hit.full_length - len(letters)
    if num_missing < 0:
        return None
    best_score, best_pairs, best_start = -1, dict(pairs), 0
    for before in range(min(hit.start, num_missing) + 1):
        start = hit.start - before
        part = letters[start : hit.end - before]
        places, score = _skip_missing(hit.letters, part, num_missing - before)
        if score >= best_score:
            best_score, best_start = score, start
            best_pairs = {q: places[h] for q, h in pairs.items() if h in places}
    return {q: h + best_start for q, h in best_pairs.items()}


def _skip_missing(
    hit: str, structure: str, num_missing: int
) -> tuple[dict[int, int], int]:
    """The structure's residue for each of the hit's, and how many are equal.

    Walks along both; where they differ, the structure's next residue is looked for
    among the hit's next ones.
    """
    places: dict[int, int] = {}
    score = i = j = 0
    while i < len(hit) and j < len(structure):
        ahead = hit[i : i + num_missing + 1].find(structure[j])
        if ahead > 0:
            i += ahead
            num_missing -= ahead
        places[i] = j
        score += hit[i] == structure[j]
        i, j = i + 1, j + 1
    return places, score
