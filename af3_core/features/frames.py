"""Frames: tokens whose place and direction can be expressed by three atoms.

AF3 SI 4.3.2. Residues of polymers always have a frame. An atom of a ligand has one if
the two atoms nearest to it in the reference conformer are not in line with it.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from af3_core.chemistry.conformers import LIMITS, ConformerLimits, draw_poses, embed
from af3_core.features.reference import Residues, place_conformers
from af3_core.features.values import TokenFeatures

FRAMES_SEED = 12312837
"""Seed of the conformers that decide; the same for every job and model seed."""

_COLINEARITY = 0.0937
"""1 − cos 25°: angles nearer to 0° or 180° count as in line."""
_FAR = 1e8


def find_frames(
    tokens: TokenFeatures,
    residues: Residues,
    centre_slot: Int[np.ndarray, "n"],
    limits: ConformerLimits = LIMITS,
) -> Bool[np.ndarray, "n"]:
    """Decides which tokens have a frame.

    Raises:
        ConformerError: RDKit takes too long for a ligand.
    """
    has_frame = ~tokens.is_ligand
    ligand_residues = np.unique(residues.of_token[tokens.is_ligand])
    sizes = np.bincount(residues.of_token)
    ligand_residues = [r for r in ligand_residues.tolist() if sizes[r] >= 3]
    if not ligand_residues:
        return has_frame
    # The published code does not limit these attempts, whatever is asked for others.
    limits = replace(limits, max_iterations=None)
    centres = _centre_positions(residues, ligand_residues, centre_slot, limits)
    is_known = _is_known(residues, centre_slot)
    for residue in ligand_residues:
        (members,) = np.nonzero(residues.of_token == residue)
        for member in members.tolist():
            has_frame[member] = _has_frame(member, members, centres, is_known)
    return has_frame


def _centre_positions(
    residues: Residues,
    ligand_residues: list[int],
    centre_slot: Int[np.ndarray, "n"],
    limits: ConformerLimits,
) -> Float[np.ndarray, "n 3"]:
    """Embeds the ligands alone, with the numbers they get when all are embedded."""
    poses = draw_poses(residues.references, FRAMES_SEED)
    conformers = [np.zeros((len(r.rows), 3)) for r in residues.references]
    for residue in ligand_residues:
        placed = embed(residues.references[residue], poses[residue], limits)
        conformers[residue] = placed.positions
    positions = place_conformers(residues, conformers)
    return positions[np.arange(len(positions)), centre_slot]


def _is_known(
    residues: Residues, centre_slot: Int[np.ndarray, "n"]
) -> Bool[np.ndarray, "n"]:
    is_known = np.zeros(len(centre_slot), dtype=bool)
    is_centre = residues.slot == centre_slot[residues.token]
    is_known[residues.token[is_centre]] = True
    return is_known


def _has_frame(
    token: int,
    members: Int[np.ndarray, "m"],
    centres: Float[np.ndarray, "n 3"],
    is_known: Bool[np.ndarray, "n"],
) -> bool:
    distance = np.linalg.norm(centres[token] - centres[members], axis=-1)
    cost = distance + _FAR * ~is_known[members] + _FAR * (members == token)
    nearest = members[np.argsort(cost)]
    first, second = centres[nearest[:2]] - centres[token]
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    if np.isclose(lengths, 0).any():
        return False
    cosine = np.dot(first / lengths[0], second / lengths[1])
    return bool(1 - np.abs(cosine) >= _COLINEARITY)
