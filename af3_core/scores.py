"""Scores of predictions: the rows of `scores` and `interfaces`.

scores, interfaces = score_prediction(prediction, features, chemistry, relaxed)
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.spatial import cKDTree

from af3_core.clashes import clashing_pairs
from af3_core.covalent import covalent_geometry
from af3_core.feature_values import Features
from af3_core.structure import (
    Chemistry,
    Structure,
    chain_order,
    residue_starts,
    structure_of,
)

CONTACT_DISTANCE = 5.0
"""Å between the nearest heavy atoms of two residues or ligand atoms."""
_ATOMS_AT_ONCE = 1024


@dataclass(frozen=True)
class InterfaceScore:
    """One ordered pair of chains that touch or that the model scored."""

    chain_1: str
    chain_2: str
    iptm: float
    """AF3's chain-pair ipTM; NaN where undefined."""
    pae_min: float
    """Å; lowest PAE of chain_2's tokens in frames of chain_1; NaN likewise."""
    contacts: int
    """Pairs of residues, or ligand atoms, with heavy atoms within 5 Å."""


Row = dict[str, Any]


def score_prediction(
    prediction: Mapping[str, Any],
    features: Features,
    chemistry: Chemistry,
    relaxed: Mapping[str, Any] | None = None,
) -> tuple[Row, list[Row]]:
    """Scores one sample.

    Args:
        prediction: a row of `predictions`.
        features: of the same job.
        chemistry: of the same job; see `structure.chemistry_of`.
        relaxed: the row of `relaxed`, if the sample was relaxed.

    Returns:
        The row of `scores` without name and rank, and the rows of `interfaces`.
    """
    positions = np.asarray(prediction["positions"], np.float64).reshape(-1, 3)
    structure = structure_of(features, positions)
    num_chains = len(features.chains.chain_id)
    shape = (num_chains, num_chains)
    key = {name: prediction[name] for name in ("job_id", "seed", "sample")}
    kept = ("ranking_score", "ptm", "iptm", "has_clash", "fraction_disordered")
    row = key | {name: prediction[name] for name in kept}
    row |= {
        "num_tokens": features.num_tokens,
        "num_chains": num_chains,
        "mean_plddt": float(np.mean(prediction["atom_plddt"])),
        "clashes": count_clashes(structure, chemistry),
        "relax_status": None if relaxed is None else relaxed["status"],
        "relaxed_clashes": None if relaxed is None else relaxed["clashes_after"],
    }
    interfaces = score_interfaces(
        structure,
        np.reshape(np.asarray(prediction["chain_pair_iptm"], np.float64), shape),
        np.reshape(np.asarray(prediction["chain_pair_pae_min"], np.float64), shape),
    )
    return row, [key | asdict(interface) for interface in interfaces]


def count_clashes(structure: Structure, chemistry: Chemistry) -> int:
    """Pairs of heavy atoms that clash; see `clashes`."""
    return len(clashing_pairs(structure, covalent_geometry(structure, chemistry)))


def score_interfaces(
    structure: Structure,
    chain_pair_iptm: Float[ndarray, "chains chains"],
    chain_pair_pae_min: Float[ndarray, "chains chains"],
) -> list[InterfaceScore]:
    """Scores every pair of chains, both directions; chains in output order."""
    chains = chain_order(structure)
    contacts = count_contacts(structure)
    return [
        InterfaceScore(
            chain_1=first,
            chain_2=second,
            iptm=float(chain_pair_iptm[i, j]),
            pae_min=float(chain_pair_pae_min[i, j]),
            contacts=int(contacts[i, j]),
        )
        for i, first in enumerate(chains)
        for j, second in enumerate(chains)
        if i != j
    ]


def contact_units(structure: Structure) -> Int[ndarray, "a"]:
    """Number of the residue, or for ligands of the atom, that each atom counts as."""
    starts = np.zeros(structure.num_atoms, bool)
    starts[residue_starts(structure)] = True
    return np.cumsum(starts | (structure.kind == "ligand")) - 1


def count_contacts(structure: Structure) -> Int[ndarray, "chains chains"]:
    """Pairs of residues (or ligand atoms) of two chains within 5 Å; symmetric."""
    chains = chain_order(structure)
    index = {chain_id: i for i, chain_id in enumerate(chains)}
    chain = np.array([index[c] for c in structure.chain_id.tolist()], np.int64)
    units = contact_units(structure)
    num_units = int(units.max(initial=-1)) + 1
    unit_chain = np.zeros(num_units, np.int64)
    unit_chain[units] = chain
    keys = [np.zeros(0, np.int64)]
    tree = cKDTree(structure.positions)
    for start in range(0, structure.num_atoms, _ATOMS_AT_ONCE):
        block = slice(start, start + _ATOMS_AT_ONCE)
        near = tree.query_ball_point(structure.positions[block], CONTACT_DISTANCE)
        first = start + np.repeat(np.arange(len(near)), [len(n) for n in near])
        second = np.concatenate([np.asarray(n, np.int64) for n in near])
        apart = chain[first] != chain[second]
        keys.append(np.unique(units[first][apart] * num_units + units[second][apart]))
    pairs = np.unique(np.concatenate(keys))
    counts = np.zeros((len(chains), len(chains)), np.int64)
    if num_units:
        ends = unit_chain[pairs // num_units], unit_chain[pairs % num_units]
        np.add.at(counts, ends, 1)
    return counts


def rank_samples(ranking_scores: Float[ndarray, "b"]) -> Int[ndarray, "b"]:
    """Rank of each sample, 1 the highest score; of equals the earlier wins."""
    order = np.argsort(-ranking_scores, kind="stable")
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks
