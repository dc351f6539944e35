"""Alternative locations: which of an mmCIF file's atoms stand for a residue.

Follows AlphaFold 3's published choice, so that the same atoms are kept: a residue that
has alternatives throughout takes one component and one conformation of it, others the
most occupied place of each atom.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_NONE = (".", "?")


@dataclass(frozen=True)
class AtomColumns:
    """What decides between alternatives, one entry per atom of the file."""

    component: Sequence[str]
    name: Sequence[str]
    alternative: Sequence[str]
    """label_alt_id; "." or "?" for none."""
    occupancy: Sequence[str]


def choose_atoms(atoms: AtomColumns, residues: Sequence[range]) -> list[list[int]]:
    """The atoms kept of each residue, as indices into the columns."""
    return [_choose_in_residue(atoms, residue) for residue in residues]


def _choose_in_residue(atoms: AtomColumns, residue: range) -> list[int]:
    kept: list[int] = []
    has_none = [atoms.alternative[i][0] in _NONE for i in residue]
    if residue and not any(has_none):
        return _choose_conformation(atoms, residue)
    for run in _runs(
        residue, lambda i, j: has_none[i - residue.start] == has_none[j - residue.start]
    ):
        if has_none[run.start - residue.start]:
            kept.extend(run)
        else:
            kept.extend(
                min(
                    same, key=lambda i: (-_occupancy(atoms, i), atoms.alternative[i][0])
                )
                for same in _runs_of_name(atoms, run)
            )
    return kept


def _choose_conformation(atoms: AtomColumns, residue: range) -> list[int]:
    best: tuple[np.float32, str, range] | None = None
    for run in _runs(residue, lambda i, j: atoms.component[i] == atoms.component[j]):
        means = _mean_occupancies(atoms, run)
        total = np.float32(0)
        for mean in means.values():
            total += mean
        if best is None or (-total, min(means)) < (-best[0], best[1]):
            letter = min(means, key=lambda a: (-means[a], a))
            best = total, letter, run
    assert best is not None
    _, letter, chosen = best
    return [
        next((i for i in same[1:] if atoms.alternative[i][0] == letter), same[0])
        for same in _runs_of_name(atoms, chosen)
    ]


def _mean_occupancies(atoms: AtomColumns, run: range) -> dict[str, np.float32]:
    """Mean occupancy by alternative, in single precision and in the file's order."""
    sums: dict[str, list[np.float32]] = {}
    for i in run:
        sums.setdefault(atoms.alternative[i][0], []).append(_occupancy(atoms, i))
    means = {}
    for letter, occupancies in sums.items():
        total = np.float32(0)
        for occupancy in occupancies:
            total += occupancy
        means[letter] = total / np.float32(len(occupancies))
    return means


def _occupancy(atoms: AtomColumns, index: int) -> np.float32:
    try:
        return np.float32(atoms.occupancy[index])
    except ValueError:
        return np.float32(0)


def _runs_of_name(atoms: AtomColumns, indices: range) -> Iterator[range]:
    return _runs(indices, lambda i, j: _is_same_atom(atoms.name[i], atoms.name[j]))


def _is_same_atom(one: str, other: str) -> bool:
    """Whether names are equal, hydrogen and deuterium being one element."""
    if one == other:
        return True
    if not one or not other or one[1:] != other[1:]:
        return False
    return {one[0], other[0]} == {"H", "D"}


def _runs(indices: range, is_same: Callable[[int, int], bool]) -> Iterator[range]:
    """Stretches whose members are the same as their first."""
    start = indices.start
    for i in indices[1:]:
        if not is_same(start, i):
            yield range(start, i)
            start = i
    if indices:
        yield range(start, indices.stop)
