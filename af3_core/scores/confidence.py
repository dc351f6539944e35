"""AlphaFold 3's own confidences of one sample, from the model's raw outputs.

The conventions are those of AF3 v3.0.4. Ions and ligands of collinear atoms have no
frame: rows of such tokens count for nothing, and what has no row left is NaN.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8, UInt16
from numpy import ndarray
from scipy.spatial import KDTree

from af3_core.structures.accessibility import fraction_disordered
from af3_core.structures.structure import (
    Structure,
    chain_order,
    is_polymer,
    require_finite,
    select,
)

CLASH_DISTANCE = 1.1
MAX_CLASHING_ATOMS = 100
MAX_CLASHING_FRACTION = 0.5
_ATOMS_AT_ONCE = 1024


@dataclass(frozen=True)
class RawConfidence:
    """What the confidence and distogram heads say of one sample, without padding."""

    pae: Float[ndarray, "n n"]
    """Å; error of the column's token in the frame of the row's."""
    pde: Float[ndarray, "n n"]
    """Å; error of the distance between two tokens."""
    tm_adjusted_global: Float[ndarray, "n n"]
    """Expected TM-score term, normalised by the length of the whole complex."""
    tm_adjusted_interface: Float[ndarray, "n n"]
    """The same, normalised by the lengths of the two chains."""
    contact_probs: Float[ndarray, "n n"]
    """Probability that two tokens are within 8 Å."""
    atom_plddt: Float[ndarray, "a"]
    """0–100, in the order of the structure's atoms."""


@dataclass(frozen=True)
class Confidence:
    """Confidences of one sample. Chains are in the order of their asym_id."""

    atom_plddt: Float[ndarray, "a"]
    """0–100."""
    pae: Float[ndarray, "n n"]
    """Å."""
    contact_probs: Float[ndarray, "n n"]
    ptm: float
    """NaN if no token has a frame."""
    iptm: float
    """NaN for a single chain."""
    ranking_score: float
    has_clash: bool
    fraction_disordered: float
    chain_ptm: Float[ndarray, "chains"]
    chain_iptm: Float[ndarray, "chains"]
    """Mean ipTM with every other chain; NaN for a single chain."""
    chain_pair_iptm: Float[ndarray, "chains chains"]
    """The diagonal is `chain_ptm`."""
    chain_pair_actifptm: Float[ndarray, "chains chains"]
    """ipTM of what is in contact; NaN without a frame, on the diagonal `chain_ptm`."""
    chain_pair_pae_min: Float[ndarray, "chains chains"]
    """Å; row: chain whose frames are used."""
    chain_pair_pde_min: Float[ndarray, "chains chains"]
    """Å."""
    chain_pair_pde_mean: Float[ndarray, "chains chains"]


def compute_confidence(
    raw: RawConfidence,
    structure: Structure,
    asym_id: Int[ndarray, "n"],
    frames_mask: Bool[ndarray, "n"],
) -> Confidence:
    """Summarises the confidence of one sample as AF3 does.

    Raises ValueError if an output or a coordinate is not finite.
    """
    _require_finite_outputs(raw)
    require_finite(structure)
    ptm = tm_score(raw.tm_adjusted_global, frames_mask)
    different_chain = asym_id[:, None] != asym_id[None, :]
    iptm = tm_score(raw.tm_adjusted_global, frames_mask, different_chain)
    clash = has_clash(structure)
    disordered = fraction_disordered(structure)
    pair_iptm = chain_pair_iptm(raw.tm_adjusted_interface, asym_id, frames_mask)
    pair_actifptm = chain_pair_actifptm(
        raw.tm_adjusted_global, raw.contact_probs, asym_id, frames_mask
    )
    np.fill_diagonal(pair_actifptm, pair_iptm.diagonal())
    pae_min, _ = chain_pair_extremes(raw.pae, asym_id, frames_mask)
    every_token = np.ones_like(frames_mask)
    pde_min, pde_mean = chain_pair_extremes(raw.pde, asym_id, every_token)
    return Confidence(
        atom_plddt=raw.atom_plddt,
        pae=raw.pae,
        contact_probs=raw.contact_probs,
        ptm=ptm,
        iptm=iptm,
        ranking_score=ranking_score(ptm, iptm, disordered, clash),
        has_clash=clash,
        fraction_disordered=disordered,
        chain_ptm=pair_iptm.diagonal().copy(),
        chain_iptm=chain_iptm(pair_iptm),
        chain_pair_iptm=pair_iptm,
        chain_pair_actifptm=pair_actifptm,
        chain_pair_pae_min=pae_min,
        chain_pair_pde_min=pde_min,
        chain_pair_pde_mean=pde_mean,
    )


def _require_finite_outputs(raw: RawConfidence) -> None:
    for name, values in vars(raw).items():
        if not np.isfinite(values).all():
            raise ValueError(
                f"{(~np.isfinite(values)).sum()} of {values.size} values of {name} "
                "are not finite: the model overflowed; try a wider dtype"
            )


def tm_score(
    tm_adjusted: Float[ndarray, "n n"],
    frames_mask: Bool[ndarray, "n"],
    pair_mask: Bool[ndarray, "n n"] | None = None,
) -> float:
    """Best row mean of the expected TM terms: pTM, or ipTM if masked to interfaces.

    AF3 SI 5.9.1. NaN where no pair is left.
    """
    pairs = np.broadcast_to(frames_mask[:, None], tm_adjusted.shape)
    if pair_mask is not None:
        pairs = pairs & pair_mask
    if not pairs.any():
        return float("nan")
    weights = pairs / (1e-8 + pairs.sum(axis=-1, keepdims=True))
    return float(np.max(np.sum(tm_adjusted * weights, axis=-1)))


def chain_pair_iptm(
    tm_adjusted: Float[ndarray, "n n"],
    asym_id: Int[ndarray, "n"],
    frames_mask: Bool[ndarray, "n"],
) -> Float[ndarray, "chains chains"]:
    """ipTM of each pair of chains alone; on the diagonal the chain's own pTM."""
    chains = np.unique(asym_id)
    result = np.full((len(chains), len(chains)), np.nan)
    for i, first in enumerate(chains):
        for j, second in enumerate(chains[i:], start=i):
            (tokens,) = np.nonzero((asym_id == first) | (asym_id == second))
            among = asym_id[tokens]
            result[i, j] = result[j, i] = tm_score(
                tm_adjusted[np.ix_(tokens, tokens)],
                frames_mask[tokens],
                None if i == j else among[:, None] != among[None, :],
            )
    return result


def chain_pair_actifptm(
    tm_adjusted: Float[ndarray, "n n"],
    contact_probs: Float[ndarray, "n n"],
    asym_id: Int[ndarray, "n"],
    frames_mask: Bool[ndarray, "n"],
) -> Float[ndarray, "chains chains"]:
    """actifpTM of each pair of chains: ipTM weighted by contact probabilities.

    Varga et al. 2025, doi:10.1093/bioinformatics/btaf107, as ColabFold computes it by
    default: the expected TM terms are those of the whole complex.
    """
    chains = np.unique(asym_id)
    result = np.full((len(chains), len(chains)), np.nan)
    weighted = tm_adjusted * contact_probs
    members = [np.flatnonzero(asym_id == chain) for chain in chains]
    for i, first in enumerate(members):
        for j, second in enumerate(members):
            rows = first[frames_mask[first]]
            if i == j or not len(rows):
                continue
            block = np.ix_(rows, second)
            weights = contact_probs[block].sum(axis=-1)
            result[i, j] = np.max(weighted[block].sum(axis=-1) / (1e-8 + weights))
    return np.fmax(result, result.T)


def chain_iptm(
    pair_iptm: Float[ndarray, "chains chains"],
) -> Float[ndarray, "chains"]:
    """Mean ipTM of each chain with every other; NaN where there is none."""
    others = ~np.eye(len(pair_iptm), dtype=bool) & ~np.isnan(pair_iptm)
    count = others.sum(axis=-1)
    total = np.where(others, pair_iptm, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def chain_pair_extremes(
    errors: Float[ndarray, "n n"],
    asym_id: Int[ndarray, "n"],
    row_mask: Bool[ndarray, "n"],
) -> tuple[Float[ndarray, "chains chains"], Float[ndarray, "chains chains"]]:
    """Least and mean error from each chain (rows) to each chain (columns), in Å.

    NaN where the rows' chain has no unmasked token.
    """
    chains = np.unique(asym_id)
    least = np.full((len(chains), len(chains)), np.nan)
    mean = least.copy()
    for i, first in enumerate(chains):
        rows = errors[(asym_id == first) & row_mask]
        for j, second in enumerate(chains):
            block = rows[:, asym_id == second]
            if block.size:
                least[i, j] = block.min()
                mean[i, j] = block.mean(dtype=np.float64)
    return least, mean


def ranking_score(ptm: float, iptm: float, disordered: float, clash: bool) -> float:
    """AF3's ranking score: 0.8 ipTM + 0.2 pTM + 0.5 disordered − 100 clash.

    SI 5.9.3. pTM alone where ipTM is NaN.
    """
    fold = ptm if np.isnan(iptm) else 0.8 * iptm + 0.2 * ptm
    return float(fold + 0.5 * disordered - 100.0 * clash)


def has_clash(structure: Structure) -> bool:
    """AF3's criterion: a polymer chain with > 100 or > 50 % of its atoms clashing.

    An atom clashes with a polymer atom within 1.1 Å that is in another chain or more
    than one residue away. AF3 SI 5.9.2.
    """
    polymer = select(structure, is_polymer(structure))
    clashing = _clashing_atoms(polymer)
    for chain_id in chain_order(polymer):
        in_chain = clashing[polymer.chain_id == chain_id]
        if (
            in_chain.sum() > MAX_CLASHING_ATOMS
            or in_chain.mean() > MAX_CLASHING_FRACTION
        ):
            return True
    return False


def _clashing_atoms(polymer: Structure) -> Bool[ndarray, "a"]:
    clashing = np.zeros(polymer.num_atoms, bool)
    if not polymer.num_atoms:
        return clashing
    _, chain = np.unique(polymer.chain_id, return_inverse=True)
    tree = KDTree(polymer.positions)
    for start in range(0, polymer.num_atoms, _ATOMS_AT_ONCE):
        # In blocks, because atoms of unphysical structures may all be neighbours.
        block = polymer.positions[start : start + _ATOMS_AT_ONCE]
        near = tree.query_ball_point(block, CLASH_DISTANCE)
        first = start + np.repeat(np.arange(len(block)), [len(n) for n in near])
        second = np.concatenate([np.asarray(n, np.int64) for n in near])
        apart = np.abs(polymer.residue_id[first] - polymer.residue_id[second]) > 1
        clashing[first[apart | (chain[first] != chain[second])]] = True
    return clashing


def quantise_pae(pae: Float[ndarray, "n n"]) -> UInt16[ndarray, "n n"]:
    """PAE in units of 0.1 Å, rounded and clamped as in AF3's JSON."""
    tenths = np.clip(pae.astype(np.float32), 0, np.float32(99.9)) * np.float32(10)
    return np.floor(tenths + np.float32(0.5)).astype(np.uint16)


def quantise_contact_probs(
    contact_probs: Float[ndarray, "n n"],
) -> UInt8[ndarray, "n n"]:
    """Contact probabilities in units of 0.01, rounded as in AF3's JSON."""
    hundredths = np.clip(contact_probs.astype(np.float32), 0, 1) * np.float32(100)
    return np.floor(hundredths + np.float32(0.5)).astype(np.uint8)


def prediction_columns(confidence: Confidence) -> dict[str, Any]:
    """The columns of `PREDICTIONS` that hold confidences, but for key and positions."""
    return {
        "atom_plddt": confidence.atom_plddt,
        "pae": quantise_pae(confidence.pae).ravel(),
        "contact_probs": quantise_contact_probs(confidence.contact_probs).ravel(),
        "ptm": confidence.ptm,
        "iptm": None if np.isnan(confidence.iptm) else confidence.iptm,
        "ranking_score": confidence.ranking_score,
        "has_clash": confidence.has_clash,
        "fraction_disordered": confidence.fraction_disordered,
        "chain_ptm": confidence.chain_ptm,
        "chain_iptm": confidence.chain_iptm,
        "chain_pair_iptm": confidence.chain_pair_iptm.ravel(),
        "chain_pair_actifptm": confidence.chain_pair_actifptm.ravel(),
        "chain_pair_pae_min": confidence.chain_pair_pae_min.ravel(),
        "chain_pair_pde_min": confidence.chain_pair_pde_min.ravel(),
        "chain_pair_pde_mean": confidence.chain_pair_pde_mean.ravel(),
    }
