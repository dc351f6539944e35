"""What the geometry of one component should be: lengths, angles, handedness, planes.

Taken from the ideal coordinates of the chemical component dictionary, for SMILES
ligands from an RDKit conformer, for lack of both from covalent radii.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from af3_core.chemistry.conformers import Reference
from af3_core.chemistry.molecules import covalent_radius

CONFORMER_SEED = 12312837
_TERMINAL_OXYGEN = {"C": 1.25, "P": 1.485, "S": 1.45, "N": 1.22, "SE": 1.62}
"""Å; X–O of carboxylates, phosphates, sulphates, nitro groups, selenates. The
dictionary draws them protonated, with one short and one long bond."""
_BONDED_REACH = 1.25
"""Times the sum of the covalent radii."""
_MIN_CHIRAL_VOLUME = 0.5
"""Å³; of a tetrahedral centre with three heavy neighbours it is 2 to 3."""


@dataclass(frozen=True, eq=False)
class ReferenceGeometry:
    """Heavy atoms of one component and how they lie; indices count `atom_names`."""

    atom_names: tuple[str, ...]
    bonds: Int[ndarray, "e 2"]
    lengths: Float[ndarray, "e"]
    """Å."""
    angles: Int[ndarray, "k 3"]
    """The vertex is in the middle."""
    angle_values: Float[ndarray, "k"]
    """Radians; NaN where no coordinates are known."""
    centres: Int[ndarray, "r 4"]
    """A stereocentre with its configuration known, then three of its neighbours."""
    centre_signs: Int[ndarray, "r"]
    """Sign of the volume spanned by the neighbours in that order."""
    planes: Int[ndarray, "p 4"]
    """Torsions about double and aromatic bonds that are flat: cis or trans."""
    plane_values: Float[ndarray, "p"]
    """0 or π."""
    is_known: bool
    """False if nothing but the bonds, or not even those, is known beforehand."""


def reference_geometry(reference: Reference) -> ReferenceGeometry:
    """Derives the geometry of a component."""
    component = reference.component
    names = tuple(component.atom_names[i] for i in component.heavy_atoms)
    index = {name: i for i, name in enumerate(names)}
    bonds = np.array(
        [
            (index[b.atom_1], index[b.atom_2])
            for b in component.bonds
            if b.atom_1 in index and b.atom_2 in index
        ],
        np.int64,
    ).reshape(-1, 2)
    positions = _heavy_positions(reference, names)
    elements = [component.elements[i].upper() for i in component.heavy_atoms]
    if positions is None:
        lengths = _radii_sums(elements, bonds)
    else:
        lengths = np.linalg.norm(
            positions[bonds[:, 0]] - positions[bonds[:, 1]], axis=1
        )
        lengths = _delocalise(reference, names, elements, bonds, lengths)
    angles = bond_angles(bonds)
    values = np.full(len(angles), np.nan)
    centres, signs = np.zeros((0, 4), np.int64), np.zeros(0, np.int64)
    planes, plane_values = centres, np.zeros(0)
    if positions is not None:
        values = measure_angles(positions, angles)
        centres, signs = _stereocentres(reference, index, bonds, positions)
        planes, plane_values = _flat_torsions(reference, index, bonds, positions)
    return ReferenceGeometry(
        names,
        bonds,
        lengths,
        angles,
        values,
        centres,
        signs,
        planes,
        plane_values,
        positions is not None,
    )


def inferred_geometry(
    atom_names: tuple[str, ...], elements: list[str], positions: Float[ndarray, "a 3"]
) -> ReferenceGeometry:
    """Takes a residue that nobody knows as it lies: a body to be kept in shape."""
    radii = np.array([covalent_radius(element) for element in elements])
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    bonded = distance < _BONDED_REACH * (radii[:, None] + radii[None])
    bonds = np.argwhere(np.triu(bonded, 1))
    angles = bond_angles(bonds)
    none = np.zeros((0, 4), np.int64)
    return ReferenceGeometry(
        atom_names,
        bonds,
        distance[bonds[:, 0], bonds[:, 1]],
        angles,
        measure_angles(positions, angles),
        none,
        np.zeros(0, np.int64),
        none,
        np.zeros(0),
        is_known=False,
    )


def bond_angles(bonds: Int[ndarray, "e 2"]) -> Int[ndarray, "k 3"]:
    """All pairs of bonds that share an atom, which comes in the middle."""
    neighbours: dict[int, list[int]] = {}
    for first, second in bonds.tolist():
        neighbours.setdefault(first, []).append(second)
        neighbours.setdefault(second, []).append(first)
    angles = [
        (a, vertex, b)
        for vertex, around in sorted(neighbours.items())
        for i, a in enumerate(around)
        for b in around[i + 1 :]
    ]
    return np.array(angles, np.int64).reshape(-1, 3)


def measure_angles(
    positions: Float[ndarray, "a 3"], angles: Int[ndarray, "k 3"]
) -> Float[ndarray, "k"]:
    """Angles in radians; 0 where two of the atoms coincide."""
    first = positions[angles[:, 0]] - positions[angles[:, 1]]
    second = positions[angles[:, 2]] - positions[angles[:, 1]]
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine = np.einsum("ij,ij->i", first, second) / np.maximum(norms, 1e-9)
    return np.where(norms > 1e-9, np.arccos(np.clip(cosine, -1, 1)), 0.0)


def signed_volumes(
    positions: Float[ndarray, "a 3"], centres: Int[ndarray, "r 4"]
) -> Float[ndarray, "r"]:
    """Volume spanned by three neighbours of each centre, in Å³."""
    a, b, c = (positions[centres[:, i]] - positions[centres[:, 0]] for i in (1, 2, 3))
    return np.einsum("ij,ij->i", a, np.cross(b, c))


def measure_torsions(
    positions: Float[ndarray, "a 3"], torsions: Int[ndarray, "p 4"]
) -> Float[ndarray, "p"]:
    """Torsion angles in radians, −π to π."""
    a, b, c, d = (positions[torsions[:, i]] for i in range(4))
    axis = c - b
    first = np.cross(a - b, axis)
    second = np.cross(d - c, axis)
    length = np.linalg.norm(axis, axis=1)
    sine = np.einsum("ij,ij->i", np.cross(first, second), axis)
    cosine = np.einsum("ij,ij->i", first, second) * np.maximum(length, 1e-9)
    return np.arctan2(sine, cosine)


def _heavy_positions(
    reference: Reference, names: tuple[str, ...]
) -> Float[ndarray, "a 3"] | None:
    component = reference.component
    heavy = list(component.heavy_atoms)
    if len(heavy) and np.isfinite(component.ideal_positions[heavy]).all():
        return component.ideal_positions[heavy]
    if reference.molecule is None or len(heavy) < 2:
        return None
    molecule = Chem.Mol(reference.molecule)
    with rdBase.BlockLogs():
        if rdDistGeom.EmbedMolecule(molecule, randomSeed=CONFORMER_SEED) < 0:
            return None
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
            rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=500)
    positions = molecule.GetConformer().GetPositions()
    return positions[[reference.rows[name] for name in names]]


def _radii_sums(elements: list[str], bonds: Int[ndarray, "e 2"]) -> Float[ndarray, "e"]:
    radii = np.array([covalent_radius(element) for element in elements])
    return radii[bonds].sum(axis=1) if len(bonds) else np.zeros(0)


def _delocalise(
    reference: Reference,
    names: tuple[str, ...],
    elements: list[str],
    bonds: Int[ndarray, "e 2"],
    lengths: Float[ndarray, "e"],
) -> Float[ndarray, "e"]:
    """Gives acidic oxygens the lengths that they have when deprotonated."""
    degree = np.bincount(bonds.ravel(), minlength=len(names))
    is_terminal = [e == "O" and degree[i] == 1 for i, e in enumerate(elements)]
    partners: dict[int, list[int]] = {}
    for row, (i, j) in enumerate(bonds.tolist()):
        for centre, end in ((i, j), (j, i)):
            if is_terminal[end] and elements[centre] in _TERMINAL_OXYGEN:
                partners.setdefault(centre, []).append(row)
    result = lengths.copy()
    for centre, rows in partners.items():
        # One terminal oxygen is a carbonyl, an alcohol or a sulphoxide: as drawn.
        if len(rows) > 1 and lengths[rows].min() < _SINGLE_C_O - 0.1:
            result[rows] = _TERMINAL_OXYGEN[elements[centre]]
    return result


_SINGLE_C_O = 1.43


def _stereocentres(
    reference: Reference,
    index: dict[str, int],
    bonds: Int[ndarray, "e 2"],
    positions: Float[ndarray, "a 3"],
) -> tuple[Int[ndarray, "r 4"], Int[ndarray, "r"]]:
    """Centres with a stated configuration and enough heavy neighbours to see it."""
    none = np.zeros((0, 4), np.int64), np.zeros(0, np.int64)
    if reference.molecule is None:
        return none
    molecule = Chem.Mol(reference.molecule)
    with rdBase.BlockLogs():
        found = Chem.FindMolChiralCenters(molecule, useLegacyImplementation=False)
    rows = []
    for atom_index, _ in found:
        atom = molecule.GetAtomWithIdx(atom_index)
        name = atom.GetProp("atom_name")
        # Acidic oxygens swap their protons, so that no phosphate has a hand.
        ends = [n for n in atom.GetNeighbors() if _is_terminal_oxygen(n)]
        if name not in index or len(ends) > 1:
            continue
        centre = index[name]
        around = bonds[(bonds == centre).any(axis=1)]
        neighbours = sorted(around[around != centre].tolist())
        if len(neighbours) >= 3:
            rows.append((centre, *neighbours[:3]))
    if not rows:
        return none
    centres = np.array(rows, np.int64)
    volumes = signed_volumes(positions, centres)
    kept = np.abs(volumes) > _MIN_CHIRAL_VOLUME
    return centres[kept], np.sign(volumes[kept]).astype(np.int64)


def _is_terminal_oxygen(atom: Chem.Atom) -> bool:
    heavy = [n for n in atom.GetNeighbors() if n.GetAtomicNum() > 1]
    return atom.GetAtomicNum() == 8 and len(heavy) == 1


def _flat_torsions(
    reference: Reference,
    index: dict[str, int],
    bonds: Int[ndarray, "e 2"],
    positions: Float[ndarray, "a 3"],
) -> tuple[Int[ndarray, "p 4"], Float[ndarray, "p"]]:
    stiff = [
        (index[b.atom_1], index[b.atom_2])
        for b in reference.component.bonds
        if b.atom_1 in index
        and b.atom_2 in index
        and (b.order == "DOUB" or b.aromatic == "Y")
    ]
    neighbours: dict[int, list[int]] = {}
    for i, j in bonds.tolist():
        neighbours.setdefault(i, []).append(j)
        neighbours.setdefault(j, []).append(i)
    torsions = np.array(
        [
            (a, i, j, b)
            for i, j in stiff
            for a in neighbours[i]
            for b in neighbours[j]
            if len({a, i, j, b}) == 4
        ],
        np.int64,
    ).reshape(-1, 4)
    values = np.abs(measure_torsions(positions, torsions))
    nearest = np.where(values > np.pi / 2, np.pi, 0.0)
    flat = np.abs(values - nearest) < np.radians(10)
    return torsions[flat], nearest[flat]
