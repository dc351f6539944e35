"""A small complex with everything in it, disturbed; its atoms are found by name."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from numpy import ndarray

from af3_core.chemistry.dictionary import Components
from af3_core.features.featurise import featurise, reference_positions
from af3_core.features.values import Features
from af3_core.inputs.alphafold3 import read_alphafold3
from af3_core.inputs.entities import Links
from af3_core.inputs.entry import Entry
from af3_core.model.batch import pad
from af3_core.training.examples import Example, Labels, find_frames
from tests.af3_core.training.known import REFERENCES

NUM_TOKENS = 32
HIDDEN = {("A", 2, "CB"), ("A", 3, "N"), ("B", 2, "C1'"), ("C", 1, "C2")}
"""Atoms that experiment did not resolve: chain, residue, name."""
CENTRES = {"protein": "CA", "dna": "C1'", "rna": "C1'"}
RANDOM = np.random.default_rng(11)


def polymer(kind: str, chain: str, sequence: str, **fields: object) -> dict:
    return {kind: {"id": chain, "sequence": sequence, **fields}}


def ligand(chain: str, code: str) -> dict:
    return {"ligand": {"id": chain, "ccdCodes": [code]}}


@functools.cache
def complex_features() -> Features:
    """Peptide with a phosphoserine, DNA, RNA, ethanol, carbon dioxide, sodium."""
    alone = {"unpairedMsa": "", "pairedMsa": "", "templates": []}
    phosphorylated = {"modifications": [{"ptmType": "SEP", "ptmPosition": 4}]}
    document = {
        "name": "everything",
        "modelSeeds": [1],
        "dialect": "alphafold3",
        "version": 4,
        "sequences": [
            polymer("protein", "A", "GAWS", **alone, **phosphorylated),
            polymer("dna", "B", "AC"),
            polymer("rna", "D", "U", unpairedMsa=""),
            ligand("C", "EOH"),
            ligand("E", "CO2"),
            ligand("F", "NA"),
        ],
    }
    entry = Entry("everything", "", document, "a job")
    return featurise(read_alphafold3(entry, Links(REFERENCES)), Components.load())


@dataclass(frozen=True)
class NamedAtom:
    """Where an atom is, and all that its part in the losses depends on."""

    chain: str
    kind: str
    residue: int
    name: str
    token: int
    slot: int
    is_split: bool
    is_resolved: bool


@functools.cache
def named_atoms() -> tuple[NamedAtom, ...]:
    features = complex_features()
    atoms, chains = features.atoms, features.chains
    sizes = np.bincount(atoms.token_index)
    kinds = {"A": "protein", "B": "dna", "D": "rna"}
    found = []
    for row, name in enumerate(atoms.atom_name):
        chain = chains.chain_id[atoms.chain_index[row]]
        residue, token = int(atoms.residue_id[row]), int(atoms.token_index[row])
        found.append(
            NamedAtom(
                chain,
                kinds.get(chain, "ligand"),
                residue,
                name,
                token,
                int(atoms.slot[row]),
                bool(sizes[token] == 1),
                (chain, residue, name) not in HIDDEN,
            )
        )
    return tuple(found)


def labels_of(positions: ndarray) -> Labels:
    """Labels of chosen positions, all but the hidden atoms resolved."""
    resolved = np.zeros((NUM_TOKENS, 24), bool)
    for atom in named_atoms():
        resolved[atom.token, atom.slot] = atom.is_resolved
    positions = np.where(resolved[..., None], positions, 0.0).astype(np.float32)
    frame_atoms, frame_mask = find_frames(complex_features(), positions, resolved)
    return Labels(
        positions=positions,
        resolved=resolved,
        weight=resolved.astype(np.float32),
        frame_atoms=frame_atoms,
        frame_mask=frame_mask,
        bond_atoms=np.zeros((1, 2), np.int32),
        bond_mask=np.zeros(1, bool),
    )


@functools.cache
def complex_example() -> Example:
    features = complex_features()
    reference = reference_positions(features, Components.load(), seed=1)
    batch = pad(features, reference, NUM_TOKENS, msa_rows=4)
    # Conformers around centres so far apart that both radii of lDDT leave pairs out.
    places = np.zeros((NUM_TOKENS, 1, 3))
    for atom in named_atoms():
        places[atom.token] = 7.0 * (atom.residue + "DBFACE".index(atom.chain))
    places *= np.array([1.0, 0.3, -0.2])
    positions = np.zeros((NUM_TOKENS, 24, 3))
    positions[: len(reference)] = reference
    return Example(batch, labels_of(positions + places))


@functools.cache
def sample() -> ndarray:
    """The truth, disturbed by Ångströms and turned."""
    truth = complex_example().labels.positions
    noise = 1.5 * RANDOM.standard_normal(truth.shape)
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    return ((truth + noise) @ turn + [3.0, -8.0, 20.0]).astype(np.float32)


def computed(target: Callable[..., tuple]) -> list[ndarray]:
    """Values and mask of a target for the sample."""
    example = complex_example()
    found = target(jnp.asarray(sample()), example.batch, example.labels)
    return [np.asarray(part) for part in found]


def place(positions: ndarray, atom: NamedAtom) -> ndarray:
    return positions[atom.token, atom.slot].astype(np.float64)


def known() -> ndarray:
    return complex_example().labels.positions


def distance(positions: ndarray, a: NamedAtom, b: NamedAtom) -> float:
    return float(np.linalg.norm(place(positions, a) - place(positions, b)))
