"""The scores that OpenFold3 0.5.0 derives from its heads, from ours.

Where a score is AlphaFold 3's as well, our own function computes it. Others are written
down here by their definitions in the release (Apache-2.0), for comparison only.
"""

from collections.abc import Iterator

import biotite.structure as biotite
import numpy as np
from numpy import ndarray
from scipy.spatial import cKDTree

from af3_core.model.heads import Confidence
from af3_core.scores.confidence import (
    CLASH_DISTANCE,
    MAX_CLASHING_ATOMS,
    MAX_CLASHING_FRACTION,
    chain_pair_iptm,
    tm_score,
)
from af3_core.structures.accessibility import (
    DISORDER_CUTOFF,
    DISORDER_WINDOW,
    MAX_ACCESSIBILITY,
)
from tests.parity_openfold3.recorded import Case

_UNKNOWN_ACCESSIBILITY = 113.0


def derive_scores(
    case: Case,
    confidence: Confidence,
    atom_plddt: ndarray,
    contact_probs: ndarray,
    positions: ndarray,
    has_frame: ndarray,
) -> Iterator[tuple[str, ndarray]]:
    """Names without their prefix, and values, in the order of the record.

    Args:
        atom_plddt: [a]
        contact_probs: [n n]
        positions: [a 3], Å.
        has_frame: [n]
    """
    n = case.num_tokens
    asym_id = case.feature("asym_id")
    pde = np.asarray(confidence.full_pde)[:n, :n]
    yield "plddt", atom_plddt
    yield "pde", pde
    yield "gpde", (contact_probs * pde).sum() / (contact_probs.sum() + 1e-8)
    yield "pae", np.asarray(confidence.full_pae)[:n, :n]
    tm = np.asarray(confidence.tmscore_adjusted_pae_global)[:n, :n]
    different_chain = asym_id[:, None] != asym_id[None, :]
    iptm = _or_zero(tm_score(tm, has_frame, different_chain))
    ptm = _or_zero(tm_score(tm, has_frame))
    disorder, clash = _disorder(case, positions), _has_clash(case, positions)
    yield "iptm", iptm
    yield "ptm", ptm
    yield "disorder", disorder
    yield "has_clash", clash
    ranking = 0.8 * iptm + 0.2 * ptm + 0.5 * disorder - 100 * clash
    yield "sample_ranking_score", ranking
    tm = np.asarray(confidence.tmscore_adjusted_pae_interface)[:n, :n]
    pairs = np.nan_to_num(chain_pair_iptm(tm, asym_id, has_frame))
    chains = np.unique(asym_id)
    bespoke = _bespoke(case, pairs, has_frame)
    for i, first in enumerate(chains):
        yield f"chain_ptm.{first}", pairs[i, i]
        for j, second in enumerate(chains[i + 1 :], start=i + 1):
            yield f"chain_pair_iptm.({first},{second})", pairs[i, j]
            yield f"bespoke_iptm.({first},{second})", bespoke[i, j]


def _or_zero(value: float) -> ndarray:
    return np.asarray(np.nan_to_num(value))


def _bespoke(case: Case, pairs: ndarray, has_frame: ndarray) -> ndarray:
    """Mean ipTM of each chain with all others; a ligand's counts alone."""
    asym_id, is_ligand = case.feature("asym_id"), case.feature("is_ligand") > 0
    chains = np.unique(asym_id)
    members = [asym_id == chain for chain in chains]
    framed = np.array([has_frame[m].any() for m in members], float)
    ligand = np.array([2 * is_ligand[m].sum() >= m.sum() for m in members])
    mean = np.zeros(len(chains))
    for i in range(len(chains)):
        others = [j for j in range(len(chains)) if j != i]
        weights = [framed[i] + framed[j] for j in others]
        total = sum(pairs[i, j] * w for j, w in zip(others, weights, strict=True))
        mean[i] = total / max(sum(weights), 1)
    both = 0.5 * (mean[:, None] + mean[None, :])
    of_second = np.where(ligand[None, :], mean[None, :], both)
    return np.where(ligand[:, None], mean[:, None], of_second)


def _has_clash(case: Case, positions: ndarray) -> ndarray:
    """Whether pairs of atoms of two polymer chains clash, many or in large part."""
    asym_id = case.feature("asym_id")[case.layout.token]
    is_polymer = case.feature("is_ligand")[case.layout.token] == 0
    chains = [c for c in np.unique(asym_id) if is_polymer[asym_id == c].all()]
    trees = [cKDTree(positions[asym_id == chain]) for chain in chains]
    for i, first in enumerate(trees):
        for second in trees[i + 1 :]:
            count = first.count_neighbors(second, CLASH_DISTANCE)
            smaller = min(first.n, second.n)
            if count > MAX_CLASHING_ATOMS or count / smaller > MAX_CLASHING_FRACTION:
                return np.asarray(1.0)
    return np.asarray(0.0)


def _disorder(case: Case, positions: ndarray) -> ndarray:
    """Fraction of residues that are exposed, over proteins; every chain by itself."""
    arrays, exposed = case.arrays, []
    is_protein = case.feature("is_protein")[case.layout.token] > 0
    chain_ids = arrays["atoms.chain_id"]
    for chain_id in dict.fromkeys(chain_ids[is_protein].tolist()):
        own = np.flatnonzero((chain_ids == chain_id) & is_protein)
        atoms = biotite.AtomArray(len(own))
        atoms.coord = positions[own]
        atoms.chain_id, atoms.res_id = chain_ids[own], arrays["atoms.res_id"][own]
        atoms.res_name = arrays["atoms.res_name"][own]
        atoms.atom_name = arrays["atoms.atom_name"][own]
        atoms.element = _elements(case)[own]
        if (relative := _relative_accessibility(atoms)) is not None:
            exposed += (relative > DISORDER_CUTOFF).tolist()
    return np.asarray(np.mean(exposed) if exposed else 0.0)


def _elements(case: Case) -> ndarray:
    from rdkit.Chem import GetPeriodicTable

    table = GetPeriodicTable()
    numbers = case.feature("ref_element").argmax(-1) + 1
    return np.array([table.GetElementSymbol(int(n)).upper() for n in numbers])


def _relative_accessibility(atoms: biotite.AtomArray) -> ndarray | None:
    """Smoothed along the chain; None where it cannot be computed."""
    try:
        area = biotite.apply_residue_wise(
            atoms, biotite.sasa(atoms, vdw_radii="ProtOr"), np.sum
        )
        _, names = biotite.get_residues(atoms)
        most = [MAX_ACCESSIBILITY.get(n, _UNKNOWN_ACCESSIBILITY) for n in names]
        half = (DISORDER_WINDOW - 1) // 2
        relative = np.clip(area / most, 0, 1)
        padded = np.pad(relative, half, mode="reflect")
    except (KeyError, ValueError):
        return None
    kernel = np.ones(DISORDER_WINDOW)
    return np.convolve(padded, kernel, mode="valid") / DISORDER_WINDOW
