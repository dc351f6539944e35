"""Frames of tokens, decided from predicted positions.

AF3 SI 4.3.2 as OpenFold3 0.5.0 applies it: an atom that is a token of its own has a
frame if the two atoms of its chain nearest to it in the prediction are not in line with
it. AlphaFold 3 decides once, for ligands only and from reference conformers
(`af3_core.features.frames`).
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

SMALLEST_ANGLE = 25.0
"""Degrees from a straight line."""


def predicted_frames(
    positions: Float[ndarray, "a 3"],
    token_index: Int[ndarray, "a"],
    asym_id: Int[ndarray, "n"],
) -> Bool[ndarray, "n"]:
    """Tokens with a frame; those of several atoms always have one.

    Args:
        positions: of all atoms, Å.
        token_index: 0-based token of each atom.
        asym_id: chain of each token.
    """
    sizes = np.bincount(token_index, minlength=len(asym_id))
    has_frame = sizes > 1
    chain_of_atom = asym_id[token_index]
    limit = np.cos(np.radians(SMALLEST_ANGLE))
    for chain in np.unique(asym_id[sizes == 1]):
        (members,) = np.nonzero(chain_of_atom == chain)
        alone = members[sizes[token_index[members]] == 1]
        if len(members) < 3:
            continue
        _, found = KDTree(positions[members]).query(positions[alone], k=3)
        nearest = np.asarray(found)
        first, second = (
            positions[members[nearest[:, i]]] - positions[alone] for i in (1, 2)
        )
        lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
        cosine = (first * second).sum(axis=-1) / np.maximum(lengths, 1e-8)
        has_frame[token_index[alone]] = np.abs(cosine) < limit
    return has_frame
