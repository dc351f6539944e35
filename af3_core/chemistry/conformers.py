"""Reference conformers: molecules embedded in space and placed at random.

AF3 SI 2.8. A conformer is made by RDKit's ETKDGv3; where that fails the dictionary's
ideal coordinates stand in, then those of a deposited structure if the component has
not been revised since the training cut-off, then the origin. Everything random of a
residue comes from one NumPy stream, in the order of the tokens.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom

from af3_core.chemistry.component import Component
from af3_core.chemistry.molecules import (
    atomic_number,
    component_molecule,
    smiles_molecule,
)

TRAINING_CUT_OFF = date(2021, 9, 30)
"""Deposited coordinates of components revised since then are not used."""

Source = Literal["ETKDGv3", "ideal", "deposited", "none"]
"""Where a conformer comes from; none means all atoms in one place."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What is known of a component's atoms before any random number is drawn."""

    component: Component
    smiles: str | None = None
    """For ligands that are not in the dictionary."""

    @cached_property
    def molecule(self) -> Chem.Mol | None:
        """None where RDKit refuses the component."""
        if self.smiles is not None:
            return smiles_molecule(self.smiles)
        return component_molecule(self.component)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each atom in conformers, by name."""
        if self.molecule is None:
            names = self.component.atom_names
        else:
            names = tuple(a.GetProp("atom_name") for a in self.molecule.GetAtoms())
        return {name: row for row, name in enumerate(names)}

    @cached_property
    def charges(self) -> tuple[int, ...]:
        """Formal charges by row; RDKit's clean-up may have moved some."""
        if self.molecule is None:
            return tuple(charge or 0 for charge in self.component.charges)
        return tuple(a.GetFormalCharge() for a in self.molecule.GetAtoms())

    @cached_property
    def atomic_numbers(self) -> tuple[int, ...]:
        """Atomic numbers by row; 0 for unknown elements."""
        if self.molecule is None:
            return tuple(atomic_number(e) for e in self.component.elements)
        return tuple(a.GetAtomicNum() for a in self.molecule.GetAtoms())


@dataclass(frozen=True, eq=False)
class Pose:
    """The random numbers of one residue."""

    conformer_seed: int | None
    """None where there is no molecule to embed."""
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]
    """Å"""


def draw_poses(references: Sequence[Reference], seed: int) -> list[Pose]:
    """Draws the random numbers of all residues of a job, in the order of its tokens.

    Args:
        references: one per residue.
        seed: the model seed, 0 to 2³² − 1.
    """
    stream = np.random.RandomState(seed)
    poses = []
    for reference in references:
        conformer_seed = None
        if reference.molecule is not None:
            conformer_seed = int(stream.randint(1, 1 << 31))
        rotation = _random_rotation(stream.normal(size=(2, 3)))
        poses.append(Pose(conformer_seed, rotation, stream.normal(size=(3,))))
    return poses


def _random_rotation(
    vectors: Float[np.ndarray, "2 3"],
) -> Float[np.ndarray, "3 3"]:
    """Orthogonalises two random vectors (Gram–Schmidt)."""
    first, second = vectors
    first = first / np.maximum(1e-10, np.linalg.norm(first))
    second = second - first * np.dot(second, first)
    second = second / np.maximum(1e-10, np.linalg.norm(second))
    return np.stack([first, second, np.cross(first, second)])


@dataclass(frozen=True, eq=False)
class Conformer:
    """One placed conformer."""

    positions: Float[np.ndarray, "_ 3"]
    """Å, rows as in `Reference.rows`."""
    source: Source


def embed_all(
    references: Sequence[Reference], poses: Sequence[Pose], *, threads: int = 1
) -> list[Conformer]:
    """Makes the conformer of every residue."""
    if threads == 1:
        return [embed(*pair) for pair in zip(references, poses, strict=True)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(embed, references, poses))


def embed(reference: Reference, pose: Pose) -> Conformer:
    """Makes one conformer, centred, turned and moved by its pose."""
    positions, source = None, "ETKDGv3"
    if reference.molecule is not None and pose.conformer_seed is not None:
        positions = _embed_molecule(reference.molecule, pose.conformer_seed)
    if positions is None:
        by_component, source = fallback_positions(reference.component)
        index = {n: i for i, n in enumerate(reference.component.atom_names)}
        positions = by_component[[index[name] for name in reference.rows]]
    positions = positions.astype(np.float32)
    centred = positions - np.mean(positions, axis=0)
    placed = np.einsum("ij,kj->ki", pose.rotation, centred) + pose.translation
    return Conformer(placed, source)


def _embed_molecule(molecule: Chem.Mol, seed: int) -> np.ndarray | None:
    parameters = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed
    copy = Chem.Mol(molecule)
    with rdBase.BlockLogs():
        conformer_id = rdDistGeom.EmbedMolecule(copy, parameters)
    if conformer_id < 0:
        return None
    return copy.GetConformer(conformer_id).GetPositions()


def fallback_positions(
    component: Component,
) -> tuple[Float[np.ndarray, "a 3"], Source]:
    """Returns coordinates from the dictionary for want of a conformer, Å.

    Unknown coordinates become 0.
    """
    positions, source = component.ideal_positions, "ideal"
    is_old = component.modified is not None and component.modified < TRAINING_CUT_OFF
    if component.deposited_positions is not None and is_old:
        positions, source = component.deposited_positions, "deposited"
    if np.isnan(positions).all():
        source = "none"
    return np.nan_to_num(positions, nan=0.0), source
