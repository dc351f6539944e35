"""Which chain and residue of a prediction is which of a reference structure.

Polymers are matched by sequence, equal chains so that as many residues as possible
come near each other; ligands by what they are and where they lie.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from Bio import Align
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment

from af3_core.chemistry.residue_letters import LETTER_OF_COMPONENT
from af3_core.scores.interfaces import CENTRE_ATOMS
from af3_core.structures.structure import Structure, chain_order, residue_starts
from af3_core.structures.superposition import superpose

MIN_IDENTITY = 0.8
"""Of the shorter chain's residues, for chains to be the same."""


@dataclass(frozen=True, eq=False)
class Chain:
    """One chain, residue by residue."""

    chain_id: str
    kind: str
    names: tuple[str, ...]
    """Component codes."""
    sequence: str
    """One letter per residue, X where there is none."""
    atoms: tuple[Mapping[str, int], ...]
    """Row of each atom, by name, of each residue."""
    centres: Int[ndarray, "r"]
    """Row of each residue's C-alpha or C1', −1 without one; ligands: the first."""

    def __len__(self) -> int:
        return len(self.atoms)


@dataclass(frozen=True, eq=False)
class MatchedChain:
    """A chain of the prediction and the one of the reference that it stands for."""

    model: Chain
    reference: Chain
    model_residues: Int[ndarray, "m"]
    """Residues, 0-based in their chain …"""
    reference_residues: Int[ndarray, "m"]
    """… and those of the reference that they match, of the same letter."""


def list_chains(structure: Structure) -> dict[str, Chain]:
    """Takes a structure apart, in its order."""
    starts = residue_starts(structure)
    ends = np.append(starts[1:], structure.num_atoms)
    names = structure.atom_name.tolist()
    chains: dict[str, list[tuple[str, dict[str, int]]]] = {
        chain_id: [] for chain_id in chain_order(structure)
    }
    kinds = {}
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        chain_id = str(structure.chain_id[start])
        kinds[chain_id] = str(structure.kind[start])
        atoms = {names[i]: i for i in range(start, end)}
        chains[chain_id].append((str(structure.residue_name[start]), atoms))
    return {
        chain_id: _chain(chain_id, kinds[chain_id], residues)
        for chain_id, residues in chains.items()
    }


def _chain(
    chain_id: str, kind: str, residues: list[tuple[str, dict[str, int]]]
) -> Chain:
    centre = CENTRE_ATOMS.get(kind)
    return Chain(
        chain_id=chain_id,
        kind=kind,
        names=tuple(name for name, _ in residues),
        sequence="".join(LETTER_OF_COMPONENT.get(name, "X") for name, _ in residues),
        atoms=tuple(atoms for _, atoms in residues),
        centres=np.array(
            [
                atoms.get(centre, -1) if centre else min(atoms.values())
                for _, atoms in residues
            ],
            np.int64,
        ),
    )


def align_chains(model: Chain, reference: Chain) -> MatchedChain | None:
    """Aligns two polymers; None if they are not the same molecule.

    Scores as DockQ 2 takes them: match 5, mismatch 0, gap −4 and −0.5.
    """
    if model.kind != reference.kind or model.kind == "ligand":
        return None
    aligner = Align.PairwiseAligner(
        match_score=5, mismatch_score=0, open_gap_score=-4, extend_gap_score=-0.5
    )
    alignment = aligner.align(model.sequence, reference.sequence)[0]
    pairs = [
        (i, j)
        for (start, end), (other, _) in zip(*alignment.aligned, strict=True)
        for i, j in enumerate(range(other, other + end - start), start)
        if model.sequence[i] == reference.sequence[j]
    ]
    if len(pairs) < MIN_IDENTITY * min(len(model), len(reference)):
        return None
    rows = np.array(pairs, np.int64)
    return MatchedChain(model, reference, rows[:, 0], rows[:, 1])


def centre_positions(
    match: MatchedChain,
    model: Structure,
    reference: Structure,
) -> tuple[Float[ndarray, "m 3"], Float[ndarray, "m 3"]]:
    """Centres of the matched residues that have one in both structures."""
    first = match.model.centres[match.model_residues]
    second = match.reference.centres[match.reference_residues]
    both = (first >= 0) & (second >= 0)
    return model.positions[first[both]], reference.positions[second[both]]


def match_polymers(model: Structure, reference: Structure) -> list[MatchedChain]:
    """Matches polymers one to one, in the order of the reference.

    Candidates come from superposing one chain on each chain it may be and giving out
    the others by distance; the best brings most residues near (TM-like terms, 5 Å).
    """
    chains = list_chains(model), list_chains(reference)
    possible: dict[tuple[str, str], MatchedChain] = {}
    for first in chains[0].values():
        for second in chains[1].values():
            match = align_chains(first, second)
            if match is not None and len(match.model_residues) >= 3:
                possible[first.chain_id, second.chain_id] = match
    best: list[MatchedChain] = []
    highest = -1.0
    points = {key: centre_positions(m, model, reference) for key, m in possible.items()}
    for anchor in _anchors(possible):
        if len(points[anchor][0]) < 3:
            continue
        motion = superpose(*points[anchor])
        terms = {
            key: float(
                np.sum(1 / (1 + np.sum((motion.apply(mobile) - fixed) ** 2, -1) / 25.0))
            )
            for key, (mobile, fixed) in points.items()
        }
        chosen = _assign(terms)
        total = sum(terms[key] for key in chosen)
        if total > highest:
            highest, best = total, [possible[key] for key in chosen]
    order = {chain_id: i for i, chain_id in enumerate(chains[1])}
    return sorted(best, key=lambda match: order[match.reference.chain_id])


def _anchors(
    possible: Mapping[tuple[str, str], MatchedChain],
) -> list[tuple[str, str]]:
    """Every pair whose two chains are not already the only choice of each other."""
    by_model: dict[str, list[tuple[str, str]]] = {}
    by_reference: dict[str, list[tuple[str, str]]] = {}
    for key in possible:
        by_model.setdefault(key[0], []).append(key)
        by_reference.setdefault(key[1], []).append(key)
    ambiguous = [
        key
        for key in possible
        if len(by_model[key[0]]) > 1 or len(by_reference[key[1]]) > 1
    ]
    return ambiguous or list(possible)[:1]


def _assign(terms: Mapping[tuple[str, str], float]) -> list[tuple[str, str]]:
    """One-to-one pairs of the highest total."""
    models = sorted({key[0] for key in terms})
    references = sorted({key[1] for key in terms})
    value = np.full((len(models), len(references)), -1e-6)
    for (first, second), term in terms.items():
        value[models.index(first), references.index(second)] = term
    rows, columns = linear_sum_assignment(value, maximize=True)
    pairs = [
        (models[i], references[j])
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    return [pair for pair in pairs if pair in terms]
