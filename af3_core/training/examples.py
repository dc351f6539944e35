"""Training examples: the model's batch, and where experiment found the atoms."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy import ndarray

from af3_core.features.values import Features
from af3_core.model.batch import (
    NUM_ATOM_SLOTS,
    QUERIES_PER_WINDOW,
    Batch,
    pad,
    trim_windows,
)
from af3_core.scores.chain_matching import match_polymers
from af3_core.structures.structure import Structure, structure_of

AnyArray = Array | ndarray

_NUCLEOTIDE_WEIGHT, _LIGAND_WEIGHT = 5.0, 10.0
_BONDS_PER_TOKEN = 2
ATOMS_PER_WINDOW, SLOTS_PER_TOKEN = QUERIES_PER_WINDOW, NUM_ATOM_SLOTS


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Labels:
    """What experiment says of a batch, in the layout of the predicted atoms."""

    positions: Float[AnyArray, "n x 3"]
    """Å; zero where not resolved."""
    resolved: Bool[AnyArray, "n x"]
    """Predicted atoms whose positions are known."""
    weight: Float[AnyArray, "n x"]
    """Of each atom in the diffusion loss, SI equation 4; zero where not resolved."""
    frame_atoms: Int[AnyArray, "n 3"]
    """Flat index (token × 24 + slot) of the atoms of each token's frame, SI 4.3.2."""
    frame_mask: Bool[AnyArray, "n"]
    """Tokens whose frame is defined and resolved."""
    bond_atoms: Int[AnyArray, "e 2"]
    """Flat index of bonded atoms: within ligands, and between residues as stated."""
    bond_mask: Bool[AnyArray, "e"]
    """Bonds of which both ends are resolved."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Example:
    """One training example, padded."""

    batch: Batch
    labels: Labels


def make_example(
    features: Features,
    reference: Float[ndarray, "n x 3"],
    structure: Structure,
    num_tokens: int,
    *,
    msa_rows: int,
    num_windows: int | None = None,
) -> Example:
    """Pads a job to a bucket and puts the atoms of a structure beside it.

    Args:
        reference: conformers of one seed, Å; see `embed_references`.
        structure: chains and residues are matched with the job's by sequence, ligands
            by component; what the job has not takes no part.
        num_tokens: the bucket.
        msa_rows: padded depth of the alignment.
        num_windows: windows of atoms kept, which have to hold all atoms; None: as
            many as the bucket could fill.

    Raises:
        ValueError: something does not fit, or no atom is resolved.
    """
    batch = pad(features, reference, num_tokens, msa_rows=msa_rows)
    if num_windows is not None:
        batch = trim_windows(batch, num_windows)
    return Example(batch, label(features, structure, num_tokens))


def label(features: Features, structure: Structure, num_tokens: int) -> Labels:
    """The atoms of a structure in the layout of a job's predicted atoms.

    Raises:
        ValueError: no atom of the job is in the structure.
    """
    positions = np.zeros((num_tokens, NUM_ATOM_SLOTS, 3), np.float32)
    resolved = np.zeros((num_tokens, NUM_ATOM_SLOTS), bool)
    ours, theirs = _match_atoms(features, structure)
    token, slot = features.atoms.token_index[ours], features.atoms.slot[ours]
    held = token >= 0
    token, slot = token[held], slot[held]
    positions[token, slot] = structure.positions[theirs[held]]
    resolved[token, slot] = True
    if not resolved.any():
        raise ValueError("no atom of the job is in the structure")
    frame_atoms, frame_mask = find_frames(features, positions, resolved)
    bond_atoms, bond_mask = _find_bonds(features, resolved)
    return Labels(
        positions=positions,
        resolved=resolved,
        weight=_atom_weights(features, num_tokens)[:, None] * resolved,
        frame_atoms=frame_atoms,
        frame_mask=frame_mask,
        bond_atoms=bond_atoms,
        bond_mask=bond_mask,
    )


def _match_atoms(
    features: Features, structure: Structure
) -> tuple[Int[ndarray, "m"], Int[ndarray, "m"]]:
    """Rows of the job's atoms and of the structure's that are the same atom."""
    job = structure_of(features, np.zeros((len(features.atoms.atom_name), 3)))
    pairs: list[tuple[int, int]] = []
    for match in match_polymers(job, structure):
        for i, j in zip(match.model_residues, match.reference_residues, strict=True):
            known = match.reference.atoms[j]
            known = {_RENAMED.get(name, name): row for name, row in known.items()}
            atoms = match.model.atoms[i]
            pairs += [(atoms[name], known[name]) for name in atoms if name in known]
    pairs += _match_ligand_atoms(job, structure)
    ours, theirs = np.array(pairs, np.int64).reshape(-1, 2).T
    return ours, theirs


_RENAMED = {"SE": "SD"}
"""Selenomethionine is read as methionine, SI 2.1."""


def _match_ligand_atoms(job: Structure, structure: Structure) -> list[tuple[int, int]]:
    """Ligands of the same components, in the order of their chains."""
    free = _ligand_residues(structure)
    pairs: list[tuple[int, int]] = []
    for name, atoms in _ligand_residues(job):
        known = next((rows for other, rows in free if other == name), None)
        if known is None:
            continue
        free.remove((name, known))
        pairs += [(atoms[a], known[a]) for a in atoms if a in known]
    return pairs


def _ligand_residues(structure: Structure) -> list[tuple[str, dict[str, int]]]:
    """Component code and row by atom name of every residue of a ligand."""
    residues: dict[tuple[str, int], tuple[str, dict[str, int]]] = {}
    for row in np.flatnonzero(structure.kind == "ligand").tolist():
        key = str(structure.chain_id[row]), int(structure.residue_id[row])
        entry = residues.setdefault(key, (str(structure.residue_name[row]), {}))
        entry[1][str(structure.atom_name[row])] = row
    return list(residues.values())


def _atom_weights(features: Features, num_tokens: int) -> Float[ndarray, "n"]:
    """SI equation 4: 1, and 5 more for nucleotides or 10 more for ligands."""
    tokens = features.tokens
    weights = np.zeros(num_tokens, np.float32)
    weights[: features.num_tokens] = (
        1.0
        + _NUCLEOTIDE_WEIGHT * (tokens.is_dna | tokens.is_rna)
        + _LIGAND_WEIGHT * tokens.is_ligand
    )
    return weights


def _find_bonds(
    features: Features, resolved: Bool[ndarray, "n x"]
) -> tuple[Int[ndarray, "e 2"], Bool[ndarray, "e"]]:
    """Bonded atoms (flat), padded to two per token: ligands have fewer.

    Raises:
        ValueError: there are more.
    """
    num_tokens, atoms = len(resolved), features.atoms
    flat = atoms.token_index * NUM_ATOM_SLOTS + atoms.slot
    between = flat[np.asarray(features.bonded_atoms, np.int64).reshape(-1, 2)]
    within = np.asarray(features.ligand_ligand_bonds).reshape(-1, 2) * NUM_ATOM_SLOTS
    bonds = np.unique(np.sort(np.concatenate([between, within]), axis=-1), axis=0)
    size = _BONDS_PER_TOKEN * num_tokens
    if len(bonds) > size:
        raise ValueError(f"{len(bonds)} bonds exceed {size}, all that training takes")
    index = np.zeros((size, 2), np.int32)
    index[: len(bonds)] = bonds
    mask = (np.arange(size) < len(bonds)) & (index >= 0).all(axis=-1)
    return index, mask & resolved.reshape(-1)[index].all(axis=-1)


def find_frames(
    features: Features,
    positions: Float[ndarray, "n x 3"],
    resolved: Bool[ndarray, "n x"],
) -> tuple[Int[ndarray, "n 3"], Bool[ndarray, "n"]]:
    """Atoms (flat) of each token's frame and whether all of them are resolved.

    SI 4.3.2: N, C-alpha, C of amino acids; C1', C3', C4' of nucleotides. Tokens of one
    atom take the two atoms of their chain nearest to them, unless the three lie within
    25° of a line.
    """
    num_tokens = len(resolved)
    atoms = np.zeros((num_tokens, 3), np.int32)
    mask = np.zeros(num_tokens, bool)
    names = np.array(features.atoms.atom_name)
    of_token: dict[int, dict[str, int]] = {}
    held = np.flatnonzero(features.atoms.token_index >= 0)
    for row in held.tolist():
        token, slot = features.atoms.token_index[row], features.atoms.slot[row]
        flat = int(token) * NUM_ATOM_SLOTS + int(slot)
        of_token.setdefault(int(token), {})[str(names[row])] = flat
    flat_resolved = resolved.reshape(-1)
    for token, by_name in of_token.items():
        for frame in (("N", "CA", "C"), ("C1'", "C3'", "C4'")):
            if all(name in by_name for name in frame):
                atoms[token] = [by_name[name] for name in frame]
                mask[token] = flat_resolved[atoms[token]].all()
                break
        else:
            found = _nearest_frame(features, positions, resolved, token)
            if found is not None:
                atoms[token], mask[token] = found, True
    return atoms, mask & np.pad(
        features.frames_mask, (0, num_tokens - features.num_tokens)
    )


def _nearest_frame(
    features: Features,
    positions: Float[ndarray, "n x 3"],
    resolved: Bool[ndarray, "n x"],
    token: int,
) -> list[int] | None:
    same_chain = features.tokens.asym_id == features.tokens.asym_id[token]
    rows = np.flatnonzero(same_chain & resolved[: features.num_tokens, 0])
    if len(rows) < 3 or token not in rows:
        return None
    centre = positions[token, 0]
    distances = np.linalg.norm(positions[rows, 0] - centre, axis=-1)
    _, first, second = rows[np.argsort(distances, kind="stable")[:3]]
    a, b = positions[first, 0] - centre, positions[second, 0] - centre
    cosine = np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-6)
    if abs(cosine) > np.cos(np.deg2rad(25.0)):
        return None
    return [
        int(first) * NUM_ATOM_SLOTS,
        token * NUM_ATOM_SLOTS,
        int(second) * NUM_ATOM_SLOTS,
    ]
