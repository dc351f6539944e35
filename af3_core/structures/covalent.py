"""The covalent geometry of a whole structure, and how far it is off.

Residues follow their components; what chains add between them follows Engh & Huber
2001 (doi:10.1107/97809553602060000695) for peptides, Parkinson et al. 1996
(doi:10.1107/S0907444995001115) for nucleic acids, and covalent radii elsewhere.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from af3_core.chemistry.molecules import covalent_radius
from af3_core.chemistry.reference_geometry import (
    ReferenceGeometry,
    bond_angles,
    inferred_geometry,
    measure_angles,
    reference_geometry,
    signed_volumes,
)
from af3_core.structures.structure import Chemistry, Structure, residue_starts

BOND_TOLERANCE = 0.15
"""Å."""
BROKEN_BOND = 1.0
"""Å."""
ANGLE_TOLERANCE = np.radians(18.0)
DISULPHIDE_REACH = 2.5
"""Å; cysteine sulphurs nearer than this are bonded."""

_LINK_ATOMS = {"protein": ("C", "N"), "rna": ("O3'", "P"), "dna": ("O3'", "P")}
_LINK_LENGTHS = {("C", "N"): 1.334, ("O3'", "P"): 1.607, ("SG", "SG"): 2.031}
_LINK_ANGLES = {
    ("CA", "C", "N"): 117.2,
    ("O", "C", "N"): 122.7,
    ("C", "N", "CA"): 121.7,
    ("C3'", "O3'", "P"): 119.7,
    ("O3'", "P", "O5'"): 104.0,
    ("O3'", "P", "OP1"): 108.0,
    ("O3'", "P", "OP2"): 108.0,
    ("CB", "SG", "SG"): 103.8,
}
"""Degrees."""
_LINK_PLANES = (("CA", "C", "N", "CA"), ("O", "C", "N", "CA"))
_GUESSED_ANGLE = np.radians(112.0)
"""About links that are in no table: between sp2 and sp3; held loosely, not judged."""


@dataclass(frozen=True, eq=False)
class CovalentGeometry:
    """What bonds, angles, centres and planes a structure should have, by atom index."""

    bonds: Int[ndarray, "e 2"]
    lengths: Float[ndarray, "e"]
    """Å."""
    is_link: Bool[ndarray, "e"]
    """True for bonds between residues."""
    angles: Int[ndarray, "k 3"]
    angle_values: Float[ndarray, "k"]
    """Radians; NaN where unknown."""
    angle_judged: Bool[ndarray, "k"]
    """False where the value is a guess."""
    centres: Int[ndarray, "r 4"]
    centre_signs: Int[ndarray, "r"]
    planes: Int[ndarray, "p 4"]
    bodies: tuple[tuple[str, int], ...]
    """Chain and number of residues whose geometry nobody knows, kept as they lie."""


@dataclass(frozen=True)
class Deviations:
    """How many bonds, angles and stereocentres are off."""

    bonds: int
    """Longer or shorter than they should be by more than 0.15 Å."""
    angles: int
    """Off by more than 18°."""
    chirality: int
    """Stereocentres with the wrong hand, or flat."""


def covalent_geometry(structure: Structure, chemistry: Chemistry) -> CovalentGeometry:
    """Finds every covalent bond of a structure and what its geometry should be."""
    parts = _Parts(structure)
    starts = residue_starts(structure)
    ends = np.append(starts[1:], structure.num_atoms)
    numbers = structure.residue_id
    known: dict[str, ReferenceGeometry | None] = {}
    rows: list[dict[str, int]] = []
    bodies = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        name = str(structure.residue_name[start])
        if name not in known:
            known[name] = _look_up(name, chemistry)
        row = {n: start + i for i, n in enumerate(structure.atom_name[start:end])}
        rows.append(row)
        expected = known[name]
        if expected is None or not row.keys() <= set(expected.atom_names):
            expected = _as_it_lies(structure, start, end)
        if not expected.is_known and end - start > 1:
            bodies.append((str(structure.chain_id[start]), int(numbers[start])))
        parts.add_residue(expected, row)
    for first, second in _implied_links(structure, starts, rows):
        parts.add_link(first, second)
    for first, second in structure.links.tolist():
        parts.add_link(first, second)
    return parts.finish(tuple(bodies))


def _look_up(name: str, chemistry: Chemistry) -> ReferenceGeometry | None:
    try:
        return reference_geometry(chemistry.reference(name))
    except KeyError:
        return None


def _as_it_lies(structure: Structure, start: int, end: int) -> ReferenceGeometry:
    rows = slice(start, end)
    return inferred_geometry(
        tuple(structure.atom_name[rows].tolist()),
        structure.element[rows].tolist(),
        structure.positions[rows],
    )


def _implied_links(
    structure: Structure, starts: Int[ndarray, "residues"], rows: list[dict[str, int]]
) -> list[tuple[int, int]]:
    """Bonds between consecutive residues of polymers, and disulphides."""
    links = []
    chains = structure.chain_id[starts].tolist()
    kinds = structure.kind[starts].tolist()
    numbers = structure.residue_id[starts].tolist()
    for i in range(1, len(rows)):
        follows = chains[i] == chains[i - 1] and numbers[i] == numbers[i - 1] + 1
        if not follows or kinds[i] not in _LINK_ATOMS:
            continue
        leave, arrive = _LINK_ATOMS[kinds[i]]
        if leave in rows[i - 1] and arrive in rows[i]:
            links.append((rows[i - 1][leave], rows[i][arrive]))
    sulphurs = np.flatnonzero(
        (structure.atom_name == "SG")
        & (structure.residue_name == "CYS")
        & (structure.kind == "protein")
    )
    return links + _disulphides(structure, sulphurs)


def _disulphides(
    structure: Structure, sulphurs: Int[ndarray, "g"]
) -> list[tuple[int, int]]:
    """Nearest pairs first; each sulphur is bonded once, and not if the user did."""
    free = set(sulphurs.tolist()) - set(structure.links.ravel().tolist())
    sulphurs = np.array(sorted(free), np.int64)
    positions = structure.positions[sulphurs]
    if len(sulphurs) < 2 or not np.isfinite(positions).all():
        return []
    pairs = sorted(KDTree(positions).query_pairs(DISULPHIDE_REACH))
    pairs.sort(key=lambda p: np.linalg.norm(positions[p[0]] - positions[p[1]]))
    links, used = [], set()
    for i, j in pairs:
        if not used & {i, j}:
            used |= {i, j}
            links.append((int(sulphurs[i]), int(sulphurs[j])))
    return links


class _Parts:
    """Collects the terms of a structure; lives only inside `covalent_geometry`."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.bonds: list[ndarray] = [np.zeros((0, 2), np.int64)]
        self.lengths: list[ndarray] = [np.zeros(0)]
        self.angles: list[ndarray] = [np.zeros((0, 3), np.int64)]
        self.angle_values: list[ndarray] = [np.zeros(0)]
        self.angle_judged: list[ndarray] = [np.zeros(0, bool)]
        self.centres: list[ndarray] = [np.zeros((0, 4), np.int64)]
        self.signs: list[ndarray] = [np.zeros(0, np.int64)]
        self.planes: list[ndarray] = [np.zeros((0, 4), np.int64)]
        self.links: list[tuple[int, int]] = []

    def add_residue(self, geometry: ReferenceGeometry, row: dict[str, int]) -> None:
        """Adds the terms whose atoms are all there."""
        index = np.array([row.get(n, -1) for n in geometry.atom_names], np.int64)
        angle_values = geometry.angle_values
        if np.isnan(angle_values).any():
            shape = index[geometry.angles]
            angle_values = measure_angles(self.structure.positions, shape)
        judged = np.full(len(angle_values), geometry.is_known)
        for terms, values, into, values_into in (
            (geometry.bonds, geometry.lengths, self.bonds, self.lengths),
            (geometry.angles, angle_values, self.angles, self.angle_values),
            (geometry.angles, judged, None, self.angle_judged),
            (geometry.centres, geometry.centre_signs, self.centres, self.signs),
            (geometry.planes, geometry.plane_values, self.planes, None),
        ):
            atoms = index[terms]
            present = (atoms >= 0).all(axis=-1)
            if into is not None:
                into.append(atoms[present])
            if values_into is not None:
                values_into.append(values[present])

    def add_link(self, first: int, second: int) -> None:
        """Adds a bond between residues."""
        self.links.append((first, second))

    def finish(self, bodies: tuple[tuple[str, int], ...]) -> CovalentGeometry:
        """Adds what links bring along and joins everything."""
        inner = np.concatenate(self.bonds)
        links = np.array(self.links, np.int64).reshape(-1, 2)
        bonds = np.concatenate([inner, links])
        is_link = np.arange(len(bonds)) >= len(inner)
        lengths = [_link_length(self.structure, *pair) for pair in self.links]
        angles = np.concatenate(self.angles)
        new_angles = _angles_about(bonds, links)
        values, judged = _link_angles(self.structure, new_angles)
        return CovalentGeometry(
            bonds=bonds,
            lengths=np.concatenate([*self.lengths, np.array(lengths, float)]),
            is_link=is_link,
            angles=np.concatenate([angles, new_angles]),
            angle_values=np.concatenate([*self.angle_values, values]),
            angle_judged=np.concatenate([*self.angle_judged, judged]),
            centres=np.concatenate(self.centres),
            centre_signs=np.concatenate(self.signs),
            planes=np.concatenate(
                [*self.planes, _link_planes(self.structure, bonds, links)]
            ),
            bodies=bodies,
        )


def _link_length(structure: Structure, first: int, second: int) -> float:
    one, other = str(structure.atom_name[first]), str(structure.atom_name[second])
    for key in ((one, other), (other, one)):
        if key in _LINK_LENGTHS and (structure.kind[[first, second]] != "ligand").all():
            return _LINK_LENGTHS[key]
    return sum(covalent_radius(str(structure.element[i])) for i in (first, second))


def _angles_about(
    bonds: Int[ndarray, "e 2"], links: Int[ndarray, "l 2"]
) -> Int[ndarray, "k 3"]:
    """Angles of which one side is a link."""
    if not len(links):
        return np.zeros((0, 3), np.int64)
    ends = np.isin(bonds, links).any(axis=1)
    linked = {frozenset(pair) for pair in links.tolist()}
    angles = [
        angle
        for angle in bond_angles(bonds[ends]).tolist()
        if frozenset(angle[:2]) in linked or frozenset(angle[1:]) in linked
    ]
    return np.array(angles, np.int64).reshape(-1, 3)


def _link_angles(
    structure: Structure, angles: Int[ndarray, "k 3"]
) -> tuple[Float[ndarray, "k"], Bool[ndarray, "k"]]:
    values = np.full(len(angles), _GUESSED_ANGLE)
    judged = np.zeros(len(angles), bool)
    for i, names in enumerate(structure.atom_name[angles].tolist()):
        key = tuple(names) if tuple(names) in _LINK_ANGLES else tuple(names[::-1])
        is_polymer = (structure.kind[angles[i]] != "ligand").all()
        if key in _LINK_ANGLES and is_polymer:
            values[i] = np.radians(_LINK_ANGLES[key])
            judged[i] = True
        elif names[1] == "N" and is_polymer:
            # Proline's ring nitrogen: cis and trans differ too much to judge.
            values[i] = np.radians(124.0)
    return values, judged


def _link_planes(
    structure: Structure, bonds: Int[ndarray, "e 2"], links: Int[ndarray, "l 2"]
) -> Int[ndarray, "p 4"]:
    neighbours: dict[int, list[int]] = {}
    for i, j in bonds[np.isin(bonds, links).any(axis=1)].tolist() if len(links) else ():
        neighbours.setdefault(i, []).append(j)
        neighbours.setdefault(j, []).append(i)
    names = structure.atom_name
    planes = [
        (a, i, j, b)
        for i, j in links.tolist()
        if (names[i], names[j]) == ("C", "N")
        for a in neighbours[i]
        for b in neighbours[j]
        if (names[a], names[i], names[j], names[b]) in _LINK_PLANES
    ]
    return np.array(planes, np.int64).reshape(-1, 4)


def select_terms(
    geometry: CovalentGeometry, chosen: Bool[ndarray, "a"]
) -> CovalentGeometry:
    """The terms with at least one chosen atom."""
    bonds = chosen[geometry.bonds].any(axis=-1)
    angles = chosen[geometry.angles].any(axis=-1)
    centres = chosen[geometry.centres].any(axis=-1)
    return CovalentGeometry(
        bonds=geometry.bonds[bonds],
        lengths=geometry.lengths[bonds],
        is_link=geometry.is_link[bonds],
        angles=geometry.angles[angles],
        angle_values=geometry.angle_values[angles],
        angle_judged=geometry.angle_judged[angles],
        centres=geometry.centres[centres],
        centre_signs=geometry.centre_signs[centres],
        planes=geometry.planes[chosen[geometry.planes].any(axis=-1)],
        bodies=geometry.bodies,
    )


Kind = Literal["bonds", "angles", "chirality"]


def deviating(
    positions: Float[ndarray, "a 3"], geometry: CovalentGeometry
) -> dict[Kind, ndarray]:
    """Atoms of every bond, angle and centre that is off, one row each."""
    found = np.linalg.norm(
        positions[geometry.bonds[:, 0]] - positions[geometry.bonds[:, 1]], axis=1
    )
    bonds = np.abs(found - geometry.lengths) > BOND_TOLERANCE
    off = np.abs(measure_angles(positions, geometry.angles) - geometry.angle_values)
    angles = geometry.angle_judged & (np.nan_to_num(off) > ANGLE_TOLERANCE)
    volumes = signed_volumes(positions, geometry.centres)
    wrong = volumes * geometry.centre_signs < 0.25
    return {
        "bonds": geometry.bonds[bonds],
        "angles": geometry.angles[angles],
        "chirality": geometry.centres[wrong],
    }


def count_deviations(
    positions: Float[ndarray, "a 3"], geometry: CovalentGeometry
) -> Deviations:
    """Counts bonds, angles and stereocentres that are off."""
    rows = deviating(positions, geometry)
    return Deviations(len(rows["bonds"]), len(rows["angles"]), len(rows["chirality"]))


def fraction_broken(
    positions: Float[ndarray, "a 3"], geometry: CovalentGeometry
) -> float:
    """Share of bonds off by more than 1 Å: they were not predicted as bonds."""
    if not len(geometry.bonds):
        return 0.0
    ends = positions[geometry.bonds]
    found = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1)
    return float(np.mean(np.abs(found - geometry.lengths) > BROKEN_BOND))
