"""Reference conformers: molecules embedded in space and placed at random.

AF3 SI 2.8. A conformer is made by RDKit's ETKDGv3; where that fails the dictionary's
ideal coordinates stand in, then those of a deposited structure if the component has
not been revised since a date, then the origin. Everything random of a residue comes
from one NumPy stream, in the order of the tokens.
"""

import hashlib
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from rdkit import Chem

from af3_core.chemistry import embedding
from af3_core.chemistry.component import Component
from af3_core.chemistry.molecules import (
    atomic_number,
    component_molecule,
    smiles_molecule,
)
from af3_core.recent import Recent

TRAINING_CUT_OFF = date(2021, 9, 30)
LARGE_MOLECULE = 600
"""From this many atoms on, hydrogens among them, a process of its own embeds."""


@dataclass(frozen=True)
class ConformerLimits:
    """How hard conformers are looked for, and what may stand in for one."""

    max_iterations: int | None = None
    """Attempts at each; None for RDKit's own number."""
    max_seconds: int = 300
    """For each; after them the job is given up, not the conformer."""
    max_date: date = TRAINING_CUT_OFF
    """Deposited coordinates of components revised since then are not used."""


LIMITS = ConformerLimits()
"""AlphaFold 3's, and a limit of time."""


class ConformerError(ValueError):
    """No answer of RDKit; the message says what to do."""


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
    def digest(self) -> bytes:
        """Names the molecule by all of it that decides RDKit's answer."""
        assert self.molecule is not None, "nothing to embed"
        no_properties = Chem.PropertyPickleOptions.NoProps
        return hashlib.sha256(self.molecule.ToBinary(no_properties)).digest()

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
    references: Sequence[Reference],
    poses: Sequence[Pose],
    limits: ConformerLimits,
    recent: Recent | None = None,
    *,
    threads: int = 1,
) -> list[Conformer]:
    """Makes the conformer of every residue; `recent` knows those of other jobs.

    Raises:
        ConformerError: RDKit takes too long for one of them.
    """
    each = [limits] * len(poses), [recent] * len(poses)
    if threads == 1:
        return list(map(embed, references, poses, *each))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(embed, references, poses, *each))


def embed(
    reference: Reference,
    pose: Pose,
    limits: ConformerLimits = LIMITS,
    recent: Recent | None = None,
) -> Conformer:
    """Makes one conformer, centred, turned and moved by its pose.

    Raises:
        ConformerError: RDKit takes too long.
    """
    positions, source = None, "ETKDGv3"
    if reference.molecule is not None and pose.conformer_seed is not None:
        # The nth residue of every job has the same seed, if the jobs' seeds are.
        key = "conformer", reference.digest, pose.conformer_seed, limits.max_iterations
        embedded = (recent or Recent()).get(
            key, partial(_embed_molecule, reference, key[2], limits), len
        )
        positions = np.frombuffer(embedded, "<f8").reshape(-1, 3) if embedded else None
    if positions is None:
        by_component, source = fallback_positions(reference.component, limits.max_date)
        index = {n: i for i, n in enumerate(reference.component.atom_names)}
        positions = by_component[[index[name] for name in reference.rows]]
    positions = positions.astype(np.float32)
    centred = positions - np.mean(positions, axis=0)
    placed = np.einsum("ij,kj->ki", pose.rotation, centred) + pose.translation
    return Conformer(placed, source)


def _embed_molecule(reference: Reference, seed: int, limits: ConformerLimits) -> bytes:
    """Positions in Å as float64, or nothing if there is no conformer."""
    molecule = reference.molecule
    assert molecule is not None
    is_large = molecule.GetNumAtoms() >= LARGE_MOLECULE
    began = time.monotonic()
    found = (_embed_apart if is_large else _embed_here)(molecule, seed, limits)
    if not found and time.monotonic() - began >= limits.max_seconds:
        found = None
    if found is None:
        raise ConformerError(
            f"RDKit looks for a conformer of {reference.component.code} "
            f"({molecule.GetNumAtoms()} atoms) for more than {limits.max_seconds} s "
            "(features.conformer_seconds)"
        )
    return found


def _embed_here(molecule: Chem.Mol, seed: int, limits: ConformerLimits) -> bytes:
    return embedding.embed_molecule(
        molecule,
        seed,
        max_iterations=limits.max_iterations,
        max_seconds=limits.max_seconds,
    )


def _embed_apart(
    molecule: Chem.Mol, seed: int, limits: ConformerLimits
) -> bytes | None:
    """The same in another process; None if it had to be stopped."""
    limit = -1 if limits.max_iterations is None else limits.max_iterations
    try:
        done = subprocess.run(
            [sys.executable, str(Path(embedding.__file__)), str(seed), str(limit)],
            input=molecule.ToBinary(Chem.PropertyPickleOptions.NoProps),
            capture_output=True,
            timeout=limits.max_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise ConformerError(
            f"RDKit ended with status {done.returncode} over a molecule of "
            f"{molecule.GetNumAtoms()} atoms: {said}"
        )
    return done.stdout


def fallback_positions(
    component: Component, max_date: date = TRAINING_CUT_OFF
) -> tuple[Float[np.ndarray, "a 3"], Source]:
    """Returns coordinates from the dictionary for want of a conformer, Å.

    Unknown coordinates become 0. Deposited ones are used if the component was last
    revised before `max_date`.
    """
    positions, source = component.ideal_positions, "ideal"
    is_old = component.modified is not None and component.modified < max_date
    if component.deposited_positions is not None and is_old:
        positions, source = component.deposited_positions, "deposited"
    if np.isnan(positions).all():
        source = "none"
    return np.nan_to_num(positions, nan=0.0), source
