"""From the model's padded arrays to flat atoms, confidences and table rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

from af3_core.features.values import Features
from af3_core.model.config import Conventions
from af3_core.scores.confidence import (
    Confidence,
    RawConfidence,
    compute_confidence,
    prediction_columns,
)
from af3_core.scores.frames import predicted_frames
from af3_core.structures.structure import Structure, structure_of
from af3_core.structures.terminal_atoms import TerminalAtoms, find_terminal_atoms


def flatten_atoms(
    features: Features, slots: Shaped[ndarray, "padded x *rest"]
) -> Shaped[ndarray, "a *rest"]:
    """Values of the job's atoms in output order, from the token × slot layout.

    Atoms beyond a token's slots, which the model cannot place, are NaN.
    """
    atoms = features.atoms
    values = np.asarray(slots)[atoms.token_index, atoms.slot]
    unplaced = atoms.token_index < 0
    if unplaced.any():
        values = values.astype(np.float32)
        values[unplaced] = np.nan
    return values


def sample_confidence(
    features: Features,
    positions: Float[ndarray, "padded x 3"],
    heads: Mapping[str, Float[ndarray, "..."]],
    contact_probs: Float[ndarray, "padded padded"],
    conventions: Conventions,
) -> tuple[Structure, Confidence]:
    """One sample's structure and the summary of its confidence.

    Terminal atoms that the network leaves out are built onto the residue that it
    predicts, and are as sure as the atom that they are bound to.

    Args:
        features: of the job.
        positions: in the model's padded layout.
        heads: outputs of the confidence head for this sample, by field name.
        contact_probs: of the distogram head.
        conventions: of the network.

    Raises:
        ValueError: an output is not finite.
    """
    n = features.num_tokens
    placed, plddt = (
        flatten_atoms(features, x) for x in (positions, heads["predicted_lddt"])
    )
    terminal = TerminalAtoms.none()
    if conventions.terminal_atoms == "left_out":
        terminal = find_terminal_atoms(features)
        placed, plddt = terminal.build(placed), terminal.inherit(plddt)
    raw = RawConfidence(
        pae=heads["full_pae"][:n, :n],
        pde=heads["full_pde"][:n, :n],
        tm_adjusted_global=heads["tmscore_adjusted_pae_global"][:n, :n],
        tm_adjusted_interface=heads["tmscore_adjusted_pae_interface"][:n, :n],
        contact_probs=contact_probs[:n, :n],
        atom_plddt=plddt,
    )
    structure = structure_of(features, placed)
    frames = features.frames_mask
    if conventions.frames == "predicted":
        own = np.delete(np.arange(len(placed)), terminal.atoms)
        token_index = features.atoms.token_index[own]
        frames = predicted_frames(placed[own], token_index, features.tokens.asym_id)
    confidence = compute_confidence(raw, structure, features.tokens.asym_id, frames)
    return structure, confidence


def sample_columns(structure: Structure, confidence: Confidence) -> dict[str, Any]:
    """The columns of contract `predictions` that a sample's numbers fill."""
    return {
        "positions": structure.positions.astype(np.float32).ravel(),
        **prediction_columns(confidence),
    }
