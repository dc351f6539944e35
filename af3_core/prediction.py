"""From the model's padded arrays to flat atoms, confidences and table rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

from af3_core.features.values import Features
from af3_core.scores.confidence import (
    Confidence,
    RawConfidence,
    compute_confidence,
    prediction_columns,
)
from af3_core.structures.structure import Structure, structure_of


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
) -> tuple[Structure, Confidence]:
    """One sample's structure and the summary of its confidence.

    Args:
        features: of the job.
        positions: in the model's padded layout.
        heads: outputs of the confidence head for this sample, by field name.
        contact_probs: of the distogram head.

    Raises:
        ValueError: an output is not finite.
    """
    n = features.num_tokens
    raw = RawConfidence(
        pae=heads["full_pae"][:n, :n],
        pde=heads["full_pde"][:n, :n],
        tm_adjusted_global=heads["tmscore_adjusted_pae_global"][:n, :n],
        tm_adjusted_interface=heads["tmscore_adjusted_pae_interface"][:n, :n],
        contact_probs=contact_probs[:n, :n],
        atom_plddt=flatten_atoms(features, heads["predicted_lddt"]),
    )
    structure = structure_of(features, flatten_atoms(features, positions))
    confidence = compute_confidence(
        raw, structure, features.tokens.asym_id, features.frames_mask
    )
    return structure, confidence


def sample_columns(structure: Structure, confidence: Confidence) -> dict[str, Any]:
    """The columns of contract `predictions` that a sample's numbers fill."""
    return {
        "positions": structure.positions.astype(np.float32).ravel(),
        **prediction_columns(confidence),
    }
