"""Solvent accessibility of residues as DSSP measures it, and disorder from it."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from af3_core.chemistry.residue_letters import LETTER_OF_COMPONENT
from af3_core.structures.structure import Structure, chain_order, residue_starts, select

PROBE_RADIUS = 1.4
DSSP_RADII = {"N": 1.65, "CA": 1.87, "C": 1.76, "O": 1.4}
"""Backbone atoms; DSSP gives every other atom SIDE_CHAIN_RADIUS."""
SIDE_CHAIN_RADIUS = 1.8
DSSP_HALF_POINTS = 200
"""Each atom's sphere has twice as many points, and one more."""

MAX_ACCESSIBILITY = {
    "ALA": 106.0,
    "ARG": 248.0,
    "ASN": 157.0,
    "ASP": 163.0,
    "CYS": 135.0,
    "GLN": 198.0,
    "GLU": 194.0,
    "GLY": 84.0,
    "HIS": 184.0,
    "ILE": 169.0,
    "LEU": 164.0,
    "LYS": 205.0,
    "MET": 188.0,
    "PHE": 197.0,
    "PRO": 136.0,
    "SER": 130.0,
    "THR": 142.0,
    "TRP": 227.0,
    "TYR": 222.0,
    "VAL": 142.0,
}
"""Å². Rost & Sander 1994, doi:10.1002/prot.340200303."""
DISORDER_WINDOW = 25
DISORDER_CUTOFF = 0.581
"""AlphaFold-RSA: Piovesan et al. 2022, doi:10.1002/pro.4466."""

_NEIGHBOURS_AT_ONCE = 64


def sphere_points() -> Float[ndarray, "points 3"]:
    """DSSP's points, spread over the unit sphere by the golden ratio."""
    half = DSSP_HALF_POINTS
    golden = (1 + np.sqrt(5)) / 2
    i = np.arange(-half, half + 1)
    latitude = np.arcsin(2 * i / (2 * half + 1))
    longitude = np.fmod(i, golden) * 2 * np.pi / golden
    return np.stack(
        [
            np.sin(longitude) * np.cos(latitude),
            np.cos(longitude) * np.cos(latitude),
            np.sin(latitude),
        ],
        axis=-1,
    )


def accessible_area(
    positions: Float[ndarray, "a 3"],
    radii: Float[ndarray, "a"],
    *,
    wanted: Int[ndarray, "w"] | None = None,
) -> Float[ndarray, "a_or_w"]:
    """Surface of each atom that the centre of a water molecule can reach, in Å².

    Of the wanted atoms only, if any are named.

    Shrake & Rupley 1973, doi:10.1016/0022-2836(73)90011-9. Memory stays linear in the
    atoms however they lie, because unphysical structures pile up or fly apart.
    """
    points = sphere_points()
    rows = np.arange(len(positions)) if wanted is None else wanted
    area = np.zeros(len(rows))
    reach = radii + PROBE_RADIUS
    largest = reach.max(initial=0.0)
    tree = KDTree(positions)
    for i, row in enumerate(rows.tolist()):
        centre, radius = positions[row], reach[row]
        near = np.asarray(tree.query_ball_point(centre, radius + largest))
        offset = positions[near] - centre
        distance = np.einsum("ij,ij->i", offset, offset)
        # DSSP ignores atoms within 0.01 Å, the atom itself among them.
        touching = (distance > 1e-4) & (distance < (radius + reach[near]) ** 2)
        order = np.argsort(distance[touching])
        distance, offset = distance[touching][order], offset[touching][order]
        # A point is free of a neighbour if |radius × point − offset| > its reach.
        limit = (radius**2 + distance - reach[near][touching][order] ** 2) / radius / 2
        free = points
        for start in range(0, len(offset), _NEIGHBOURS_AT_ONCE):
            chunk = slice(start, start + _NEIGHBOURS_AT_ONCE)
            free = free[(free @ offset[chunk].T < limit[chunk]).all(axis=-1)]
        area[i] = 4 * np.pi * radius**2 * len(free) / len(points)
    return area


def _complete_residues(
    starts: Int[ndarray, "residues"], names: list[str]
) -> Bool[ndarray, "residues"]:
    """Residues whose four backbone atoms are there; DSSP drops the others."""
    ends = [*starts[1:].tolist(), len(names)]
    backbone = set(DSSP_RADII)
    return np.array(
        [
            backbone <= set(names[start:end])
            for start, end in zip(starts.tolist(), ends, strict=True)
        ],
        bool,
    )


def relative_accessibility(chain: Structure) -> Float[ndarray, "residues"]:
    """Accessible fraction of each complete residue of one protein chain, 0–1.

    As AF3 reads it from DSSP: coordinates to 0.001 Å, areas to whole Å², residues
    that are not one of the twenty measured against alanine.
    """
    starts = residue_starts(chain)
    complete = _complete_residues(starts, chain.atom_name.tolist())
    lengths = np.diff(np.append(starts, chain.num_atoms))
    residue_index = np.repeat(np.arange(len(starts)), lengths)
    atoms = complete[residue_index]
    kept = select(chain, atoms)
    radii = np.array(
        [DSSP_RADII.get(name, SIDE_CHAIN_RADIUS) for name in kept.atom_name.tolist()]
    )
    area = accessible_area(np.round(kept.positions.astype(np.float64), 3), radii)
    per_residue = np.bincount(residue_index[atoms], area, minlength=len(starts))
    names = chain.residue_name[starts][complete].tolist()
    unknown = MAX_ACCESSIBILITY["ALA"]
    largest = np.array([MAX_ACCESSIBILITY.get(name, unknown) for name in names])
    return np.minimum(np.floor(per_residue[complete] + 0.5) / largest, 1.0)


def fraction_disordered(structure: Structure) -> float:
    """Share of protein residues in disordered stretches, 0–1; 0 without protein.

    A residue is disordered where the relative accessibility, averaged over a window of
    25 residues (mirrored at the ends), exceeds 0.581. Chains of equal letters,
    modifications left aside, count as the first of them.
    """
    by_sequence: dict[str, ndarray] = {}
    disordered = [np.zeros(0, bool)]
    protein = select(structure, structure.kind == "protein")
    for chain_id in chain_order(protein):
        chain = select(protein, protein.chain_id == chain_id)
        names = chain.residue_name[residue_starts(chain)].tolist()
        sequence = "".join(LETTER_OF_COMPONENT.get(name, "X") for name in names)
        if sequence not in by_sequence:
            by_sequence[sequence] = _is_disordered(relative_accessibility(chain))
        disordered.append(by_sequence[sequence])
    flags = np.concatenate(disordered)
    return float(flags.mean()) if len(flags) else 0.0


def _is_disordered(
    accessibility: Float[ndarray, "residues"],
) -> Bool[ndarray, "residues"]:
    if not len(accessibility):
        return np.zeros(0, bool)
    half = (DISORDER_WINDOW - 1) // 2
    padded = np.pad(accessibility, half, "reflect")
    smooth = np.convolve(padded, np.ones(DISORDER_WINDOW), "valid") / DISORDER_WINDOW
    return smooth > DISORDER_CUTOFF
