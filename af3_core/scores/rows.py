"""Scores of predictions: the rows of `scores` and `interfaces`.

scores, interfaces = score_prediction(prediction, "name", features, chemistry)
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from af3_core.contracts import (
    InterfaceRow,
    PredictionRow,
    RelaxedRow,
    SampleScoreRow,
)
from af3_core.features.values import Features
from af3_core.scores.comparison import compare, comparison_columns, interface_columns
from af3_core.scores.interface_scores import (
    CONTACT_CUTOFF,
    contact_interaction_scores,
    ipsae,
    ipsae_by_chain,
    ipsae_by_domain,
    local_interaction_score,
    pdockq,
    pdockq2,
)
from af3_core.scores.interfaces import Units, buried_area, contact_pairs, find_units
from af3_core.scores.ligand_validity import check_ligands, validity_columns
from af3_core.structures.covalent import covalent_geometry
from af3_core.structures.faults import find_faults
from af3_core.structures.structure import Chemistry, Structure, structure_of

PHOSPHORUS_REACH = 4.0
"""Å; AFM-LIS allows contacts of phosphorus so much more."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One predicted structure and what the model says of it, without padding."""

    structure: Structure
    units: Units
    chain_ids: tuple[str, ...]
    atom_plddt: Float[ndarray, "a"]
    """0–100."""
    pae: Float[ndarray, "n n"]
    """Å."""
    pair_iptm: Float[ndarray, "chains chains"]
    pair_actifptm: Float[ndarray, "chains chains"]
    pair_pae_min: Float[ndarray, "chains chains"]


@dataclass(frozen=True, eq=False)
class Reference:
    """A known structure of the same complex; see `structure_file`."""

    name: str
    structure: Structure


@dataclass(frozen=True)
class InterfaceScore:
    """An ordered pair of chains; the columns of `interfaces` but for the key.

    None where a score is not defined: ipSAE and pDockQ between polymers only, what is
    measured at the interface only where there is one.
    """

    iptm: float
    """AF3's chain-pair ipTM; NaN where undefined."""
    actifptm: float | None
    pae_min: float
    """Å; lowest PAE of chain_2's tokens in frames of chain_1; NaN likewise."""
    ipsae: float | None
    ipsae_max: float | None
    """The larger of both directions."""
    ipsae_d0chn: float | None
    ipsae_d0dom: float | None
    pdockq: float | None
    pdockq2: float | None
    lis: float
    clis: float
    ilis: float
    contacts: int
    """Pairs of residues, or ligand atoms, with heavy atoms within 5 Å."""
    interface_plddt: float | None
    """Mean over the residues and ligand atoms in contact, both chains."""
    interface_pae: float | None
    """Å; mean over contacts."""
    buried_area: float
    """Å²."""


def score_prediction(
    prediction: PredictionRow,
    name: str,
    features: Features,
    chemistry: Chemistry,
    relaxed: RelaxedRow | None = None,
    reference: Reference | None = None,
) -> tuple[SampleScoreRow, list[InterfaceRow]]:
    """Scores one sample.

    Args:
        prediction: the sample.
        name: of its job.
        features: of the same job.
        chemistry: of the same job; see `structure.chemistry_of`.
        relaxed: the sample relaxed, if it was.
        reference: what the prediction is measured against, if anything.

    Returns:
        The sample's scores and those of every ordered pair of its chains.
    """
    sample = read_sample(prediction, features)
    geometry = covalent_geometry(sample.structure, chemistry)
    faults = find_faults(sample.structure, geometry)
    pairs = score_interfaces(sample)
    found = None
    if reference is not None:
        found = compare(sample.structure, reference.structure, chemistry)
    scores = SampleScoreRow(
        job_id=prediction.job_id,
        seed=prediction.seed,
        sample=prediction.sample,
        name=name,
        num_tokens=features.num_tokens,
        num_chains=len(sample.chain_ids),
        ranking_score=prediction.ranking_score,
        ptm=prediction.ptm,
        iptm=prediction.iptm,
        mean_plddt=float(np.mean(sample.atom_plddt)),
        has_clash=prediction.has_clash,
        fraction_disordered=prediction.fraction_disordered,
        clashes=faults.clashes,
        bond_violations=faults.bonds,
        angle_violations=faults.angles,
        chirality_errors=faults.chirality,
        ipsae=_best(score.ipsae for score in pairs.values()),
        pdockq2=_best(score.pdockq2 for score in pairs.values()),
        ilis=_best(score.ilis for score in pairs.values()),
        relax_status=None if relaxed is None else relaxed.status,
        relaxed_clashes=None if relaxed is None else relaxed.clashes_after,
        **validity_columns(check_ligands(sample.structure, chemistry)),
        **comparison_columns(found, None if reference is None else reference.name),
        chain_ids=list(sample.chain_ids),
        chain_plddt=chain_plddt(sample),
        chain_ptm=prediction.chain_ptm,
        chain_iptm=prediction.chain_iptm,
    )
    interfaces = [
        InterfaceRow(
            job_id=prediction.job_id,
            seed=prediction.seed,
            sample=prediction.sample,
            chain_1=first,
            chain_2=second,
            **asdict(score),
            **interface_columns(found, first, second),
        )
        for (first, second), score in pairs.items()
    ]
    return scores, interfaces


def read_sample(prediction: PredictionRow, features: Features) -> Sample:
    """Gives the numbers of a sample their shapes."""
    positions = prediction.positions.astype(np.float64).reshape(-1, 3)
    structure = structure_of(features, positions)
    plddt = prediction.atom_plddt.astype(np.float64)
    tokens, chains = features.num_tokens, len(features.chains.chain_id)

    def pairs(values: ndarray) -> Float[ndarray, "chains chains"]:
        return values.astype(np.float64).reshape(chains, chains)

    pae = prediction.pae.astype(np.float64).reshape(tokens, tokens)
    return Sample(
        structure=structure,
        units=find_units(structure, np.asarray(features.atoms.token_index), plddt),
        chain_ids=features.chains.chain_id,
        atom_plddt=plddt,
        pae=pae / 10,
        pair_iptm=pairs(prediction.chain_pair_iptm),
        pair_actifptm=pairs(prediction.chain_pair_actifptm),
        pair_pae_min=pairs(prediction.chain_pair_pae_min),
    )


def chain_plddt(sample: Sample) -> Float[ndarray, "chains"]:
    """Mean pLDDT over the atoms of each chain."""
    chain = sample.units.chain[sample.units.of_atom]
    counts = np.bincount(chain, minlength=len(sample.chain_ids))
    sums = np.bincount(chain, sample.atom_plddt, minlength=len(sample.chain_ids))
    return sums / np.maximum(counts, 1)


def _best(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def score_interfaces(sample: Sample) -> dict[tuple[str, str], InterfaceScore]:
    """Scores every ordered pair of chains, in the order of the output."""
    touching = contact_pairs(sample.structure, sample.units)
    ends = sample.units.chain[touching]
    number = range(len(sample.chain_ids))
    ipsae_of = {(i, j): _ipsae(sample, i, j) for i in number for j in number if i != j}
    area: dict[tuple[int, int], float] = {}
    scores = {}
    for i, j in ipsae_of:
        contacts = touching[(ends == (i, j)).all(axis=1)]
        ids = sample.chain_ids[i], sample.chain_ids[j]
        if (j, i) in area:
            area[i, j] = area[j, i]
        else:
            area[i, j] = buried_area(sample.structure, *ids) if len(contacts) else 0.0
        scores[ids] = InterfaceScore(
            iptm=float(sample.pair_iptm[i, j]),
            actifptm=_none_if_nan(sample.pair_actifptm[i, j]),
            pae_min=float(sample.pair_pae_min[i, j]),
            ipsae=ipsae_of[i, j][0],
            ipsae_max=_larger(ipsae_of[i, j][0], ipsae_of[j, i][0]),
            ipsae_d0chn=ipsae_of[i, j][1],
            ipsae_d0dom=ipsae_of[i, j][2],
            **_docking_scores(sample, i, j),
            contacts=len(contacts),
            **_at_contacts(sample, contacts),
            buried_area=area[i, j],
        )
    return scores


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _larger(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else max(first, second)


def _members(sample: Sample, chain: int) -> Int[ndarray, "u"]:
    return np.flatnonzero(sample.units.chain == chain)


def _block(
    sample: Sample, first: Int[ndarray, "i"], second: Int[ndarray, "j"]
) -> Float[ndarray, "i j"]:
    tokens = sample.units.token
    return sample.pae[np.ix_(tokens[first], tokens[second])]


def _between_polymers(sample: Sample, i: int, j: int) -> bool:
    units = sample.units
    return all(units.is_polymer[_members(sample, chain)].all() for chain in (i, j))


def _ipsae(
    sample: Sample, i: int, j: int
) -> tuple[float | None, float | None, float | None]:
    if not _between_polymers(sample, i, j):
        return None, None, None
    first, second = _members(sample, i), _members(sample, j)
    nucleic = bool(sample.units.is_nucleic[[first[0], second[0]]].any())
    pae = _block(sample, first, second)
    return (
        ipsae(pae, nucleic=nucleic),
        ipsae_by_chain(pae, nucleic=nucleic),
        ipsae_by_domain(pae, nucleic=nucleic),
    )


def _docking_scores(sample: Sample, i: int, j: int) -> dict[str, Any]:
    first, second = _members(sample, i), _members(sample, j)
    units = sample.units
    pae = _block(sample, first, second)
    from_beta = _distances(sample, units.beta[first], units.beta[second])
    measured = _distances(sample, units.lis_atom[first], units.lis_atom[second])
    allowance = units.is_phosphorus[first][:, None] | units.is_phosphorus[second][None]
    clis, ilis = contact_interaction_scores(
        pae, measured - PHOSPHORUS_REACH * allowance < CONTACT_CUTOFF
    )
    scores = {"pdockq": None, "pdockq2": None}
    if _between_polymers(sample, i, j):
        near = from_beta <= CONTACT_CUTOFF
        plddt = [sample.atom_plddt[units.centre[rows]] for rows in (first, second)]
        scores = {
            "pdockq": pdockq(near, *plddt),
            "pdockq2": pdockq2(pae, near, *plddt),
        }
    return scores | {"lis": local_interaction_score(pae), "clis": clis, "ilis": ilis}


def _distances(
    sample: Sample, first: Int[ndarray, "i"], second: Int[ndarray, "j"]
) -> Float[ndarray, "i j"]:
    positions = sample.structure.positions
    return np.linalg.norm(positions[first][:, None] - positions[second][None], axis=-1)


def _at_contacts(sample: Sample, contacts: Int[ndarray, "pairs 2"]) -> dict[str, Any]:
    if not len(contacts):
        return {"interface_plddt": None, "interface_pae": None}
    units = sample.units
    rows, columns = units.token[contacts].T
    return {
        "interface_plddt": float(np.mean(units.plddt[np.unique(contacts)])),
        "interface_pae": float(np.mean(sample.pae[rows, columns])),
    }
