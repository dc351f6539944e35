"""Clashes: heavy atoms nearer to each other than any contact allows."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.spatial import KDTree

from af3_core.chemistry.molecules import van_der_waals_radius
from af3_core.structures.covalent import CovalentGeometry
from af3_core.structures.structure import Structure

CLASH_OVERLAP = 0.7
"""Å by which van der Waals spheres interpenetrate; hydrogen bonds reach 0.55."""
CONTACT_WITH_METAL = 1.6
"""Å; the shortest bonds of metals are longer."""
METALS = frozenset(
    "LI BE NA MG AL K CA SC TI V CR MN FE CO NI CU ZN GA RB SR Y ZR NB MO RU RH PD AG "
    "CD IN SN CS BA LA CE PR SM EU GD TB HO ER YB LU HF TA W RE OS IR PT AU HG TL PB "
    "BI TH U".split()
)
BONDS_APART = 3
"""Atoms this few bonds apart do not clash."""
_ATOMS_AT_ONCE = 1024


def van_der_waals_radii(structure: Structure) -> Float[ndarray, "a"]:
    """Bondi's radii in Å (doi:10.1021/j100785a001), as RDKit holds them."""
    symbols, index = np.unique(structure.element.astype(str), return_inverse=True)
    return np.array([van_der_waals_radius(s) for s in symbols.tolist()])[index]


def is_metal(structure: Structure) -> ndarray:
    """True for metal atoms."""
    return np.isin(np.char.upper(structure.element.astype(str)), list(METALS))


def near_in_bonds(geometry: CovalentGeometry, num_atoms: int) -> Int[ndarray, "pairs"]:
    """Pairs of atoms at most three bonds apart, as sorted keys i × num_atoms + j."""
    i, j = geometry.bonds[:, 0], geometry.bonds[:, 1]
    ones = np.ones(len(i), np.int64)
    step = coo_array((ones, (i, j)), shape=(num_atoms, num_atoms)).tocsr()
    step = step + step.T
    reach, total = step, step
    for _ in range(BONDS_APART - 1):
        reach = reach @ step
        reach.data[:] = 1
        total = total + reach
    total = total.tocoo()
    return np.unique(total.row.astype(np.int64) * num_atoms + total.col)


def clashing_pairs(
    structure: Structure, geometry: CovalentGeometry
) -> Int[ndarray, "pairs 2"]:
    """Every pair of atoms that clash, the lower index first.

    Atoms further than three bonds apart clash if their van der Waals spheres overlap by
    more than 0.7 Å; metals if another atom is within 1.6 Å.
    """
    radii = np.where(is_metal(structure), 0.0, van_der_waals_radii(structure))
    metal = is_metal(structure)
    near = near_in_bonds(geometry, structure.num_atoms)
    tree = KDTree(structure.positions)
    reach = max(2 * radii.max(initial=0.0) - CLASH_OVERLAP, CONTACT_WITH_METAL)
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, structure.num_atoms, _ATOMS_AT_ONCE):
        # In blocks, because atoms of unphysical structures may all be neighbours.
        block = structure.positions[start : start + _ATOMS_AT_ONCE]
        lists = tree.query_ball_point(block, reach)
        first = start + np.repeat(np.arange(len(block)), [len(n) for n in lists])
        second = np.concatenate([np.asarray(n, np.int64) for n in lists])
        later = second > first
        first, second = first[later], second[later]
        distance = np.linalg.norm(
            structure.positions[first] - structure.positions[second], axis=1
        )
        limit = np.where(
            metal[first] | metal[second],
            CONTACT_WITH_METAL,
            radii[first] + radii[second] - CLASH_OVERLAP,
        )
        bonded = np.isin(first * structure.num_atoms + second, near)
        clash = (distance < limit) & ~bonded
        found.append(np.stack([first[clash], second[clash]], axis=1))
    return np.concatenate(found)
