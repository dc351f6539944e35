"""A prediction measured against a reference structure that the user gives.

Chains and residues are matched by sequence, ligands by their atoms and bonds. What is
not in both structures takes no part, but TM-score counts all of the reference.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

import biotite.structure as bs
import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from af3_core.scores.chain_matching import (
    MatchedChain,
    centre_positions,
    match_polymers,
)
from af3_core.scores.dockq import DockingQuality, docking_quality
from af3_core.scores.ligand_matching import MatchedLigand, match_ligands
from af3_core.structures.structure import Chemistry, Structure
from af3_core.structures.superposition import Motion, rmsd, superpose, tm_score

_SYMMETRIC = {
    "ASP": (("OD1", "OD2"),),
    "GLU": (("OE1", "OE2"),),
    "PHE": (("CD1", "CD2"), ("CE1", "CE2")),
    "TYR": (("CD1", "CD2"), ("CE1", "CE2")),
    "ARG": (("NH1", "NH2"),),
}
"""Atoms whose names say nothing: they are swapped if that brings them nearer."""
_FRAME = ("N", "CA", "C", "CB")


@dataclass(frozen=True, eq=False)
class Comparison:
    """How near a prediction is to a reference structure."""

    chains: dict[str, str]
    """Chains of the reference and the prediction's that they were matched with."""
    lddt: float | None
    """Heavy atoms of matched polymer residues, 0–1; None without any."""
    lddt_ca: float | None
    """Likewise of C-alpha and C1' alone."""
    tm_score: float | None
    """Of the complex, normalised by the residues of the reference's polymers, 0–1."""
    rmsd: float | None
    """Å; C-alpha and C1' of matched residues, superposed."""
    interfaces: dict[tuple[str, str], DockingQuality]
    """By chains of the prediction, both orders; where the reference has contacts."""
    ligands: tuple[MatchedLigand, ...]

    @property
    def dockq(self) -> float | None:
        """Mean over the interfaces of the reference."""
        values = [quality.dockq for quality in self.interfaces.values()]
        return float(np.mean(values)) if values else None

    @property
    def ligand_rmsd(self) -> float | None:
        """Å; mean over matched ligands."""
        values = [ligand.rmsd for ligand in self.ligands]
        return float(np.mean(values)) if values else None


def compare(model: Structure, reference: Structure, chemistry: Chemistry) -> Comparison:
    """Measures a prediction against a reference.

    Args:
        model: the prediction.
        reference: heavy atoms; chains in any order, under any name.
        chemistry: of the prediction; it knows the reference's components too.
    """
    matches = match_polymers(model, reference)
    chains = {m.reference.chain_id: m.model.chain_id for m in matches}
    mobile, fixed = _centres(matches, model, reference)
    enough = len(mobile) >= 3
    ligands = match_ligands(model, reference, chemistry, matches) if enough else ()
    interfaces = {}
    for i, first in enumerate(matches):
        for second in matches[i + 1 :]:
            quality = docking_quality(model, reference, first, second)
            if quality is not None:
                ids = first.model.chain_id, second.model.chain_id
                interfaces[ids] = interfaces[ids[::-1]] = quality
    return Comparison(
        chains=chains | {m.reference_chain: m.model_chain for m in ligands},
        lddt=_lddt_of_atoms(matches, model, reference),
        lddt_ca=_lddt(mobile, fixed, np.arange(len(mobile))),
        tm_score=(
            tm_score(mobile, fixed, _reference_length(reference)) if enough else None
        ),
        rmsd=(rmsd(superpose(mobile, fixed).apply(mobile), fixed) if enough else None),
        interfaces=interfaces,
        ligands=ligands,
    )


def superpose_reference(model: Structure, reference: Structure) -> Motion | None:
    """The motion that lays a reference over a prediction, by matched residues.

    None where fewer than three residues match.
    """
    predicted, known = _centres(match_polymers(model, reference), model, reference)
    return superpose(known, predicted) if len(known) >= 3 else None


def comparison_columns(
    comparison: Comparison | None, name: str | None
) -> dict[str, Any]:
    """The columns of `scores` that need a reference; null without one."""
    values = ("lddt", "lddt_ca", "tm_score", "rmsd", "dockq", "ligand_rmsd")
    if comparison is None:
        return dict.fromkeys(("reference", *values, "reference_chains"))
    return {
        "reference": name,
        **{value: getattr(comparison, value) for value in values},
        "reference_chains": json.dumps(comparison.chains),
    }


def interface_columns(
    comparison: Comparison | None, chain_1: str, chain_2: str
) -> dict[str, Any]:
    """The columns of `interfaces` that need a reference; null where it has none."""
    found = comparison and comparison.interfaces.get((chain_1, chain_2))
    if not found:
        return dict.fromkeys(("dockq", "fnat", "interface_rmsd", "ligand_rmsd"))
    return asdict(found)


def _centres(
    matches: list[MatchedChain], model: Structure, reference: Structure
) -> tuple[Float[ndarray, "m 3"], Float[ndarray, "m 3"]]:
    parts = [centre_positions(match, model, reference) for match in matches]
    if not parts:
        return np.zeros((0, 3)), np.zeros((0, 3))
    mobile, fixed = zip(*parts, strict=True)
    return np.concatenate(mobile), np.concatenate(fixed)


def _reference_length(reference: Structure) -> int:
    polymer = reference.kind != "ligand"
    keys = zip(
        reference.chain_id[polymer].tolist(),
        reference.residue_id[polymer].tolist(),
        strict=True,
    )
    return len(set(keys))


def _lddt_of_atoms(
    matches: list[MatchedChain], model: Structure, reference: Structure
) -> float | None:
    rows, residues = _shared_atoms(matches, model, reference)
    predicted = model.positions[rows[:, 0]]
    return _lddt(predicted, reference.positions[rows[:, 1]], residues)


def _lddt(
    predicted: Float[ndarray, "s 3"],
    known: Float[ndarray, "s 3"],
    residues: Int[ndarray, "s"],
) -> float | None:
    """lDDT (Mariani 2013, doi:10.1093/bioinformatics/btt473); None of one residue.

    Inclusion radius 15 Å, distances within residues left out.
    """
    if len(np.unique(residues)) < 2:
        return None
    atoms = bs.AtomArray(len(known))
    atoms.coord = known.astype(np.float32)
    atoms.res_id = residues
    return float(bs.lddt(atoms, predicted.astype(np.float32), aggregation="all"))


def _shared_atoms(
    matches: list[MatchedChain], model: Structure, reference: Structure
) -> tuple[Int[ndarray, "s 2"], Int[ndarray, "s"]]:
    """Rows of atoms in both structures, and a number for the residue of each."""
    rows, residues, number = [], [], 0
    for match in matches:
        for i, j in zip(
            match.model_residues.tolist(),
            match.reference_residues.tolist(),
            strict=True,
        ):
            atoms, known = match.model.atoms[i], match.reference.atoms[j]
            atoms = _best_names(
                match.model.names[i], dict(atoms), known, model, reference
            )
            shared = [name for name in atoms if name in known]
            rows += [(atoms[name], known[name]) for name in shared]
            residues += [number] * len(shared)
            number += 1
    return np.array(rows, np.int64).reshape(-1, 2), np.array(residues, np.int64)


def _best_names(
    residue_name: str,
    atoms: dict[str, int],
    known: dict[str, int],
    model: Structure,
    reference: Structure,
) -> dict[str, int]:
    """Swaps the names of equivalent atoms if the residue then fits better."""
    pairs = _SYMMETRIC.get(residue_name, ())
    names = [name for pair in pairs for name in pair]
    if not names or not all(n in atoms and n in known for n in (*names, *_FRAME)):
        return atoms
    swap = dict(pairs) | {second: first for first, second in pairs}
    motion = superpose(
        model.positions[[atoms[n] for n in _FRAME]],
        reference.positions[[known[n] for n in _FRAME]],
    )
    moved = motion.apply(model.positions[[atoms[n] for n in names]])
    as_named = reference.positions[[known[n] for n in names]]
    as_swapped = reference.positions[[known[swap[n]] for n in names]]
    if np.sum((moved - as_named) ** 2) <= np.sum((moved - as_swapped) ** 2):
        return atoms
    return atoms | {swap[name]: atoms[name] for name in names}
