"""What the model reads: one job, one seed, padded to a bucket.

`Batch` holds arrays only, grouped as the features are made. Every array has a
static shape given by the bucket, so one compiled model serves all jobs of a bucket.
"""

from dataclasses import dataclass

import jax
from jaxtyping import Array, Bool, Float, Int
from numpy import ndarray

AnyArray = Array | ndarray

NUM_ATOM_SLOTS = 24
"""Atom slots of a token: the largest standard residue (a nucleotide) has 23 atoms."""

QUERIES_PER_WINDOW = 32
KEYS_PER_WINDOW = 128


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gather:
    """Copies values between two layouts: `where(mask, flat(source)[index], 0)`.

    The source's leading axes (one for tokens, two for token atoms) are flattened.
    """

    index: Int[AnyArray, "*target"]
    mask: Bool[AnyArray, "*target"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tokens:
    """Per-token features, AF3 SI table 5, "token features"."""

    mask: Bool[AnyArray, "n"]
    """False for padding (AF3's code: seq_mask)."""
    token_index: Int[AnyArray, "n"]
    """1-based position in the job."""
    residue_index: Int[AnyArray, "n"]
    """The 1-based residue number within the chain (mmCIF label_seq_id)."""
    residue_type: Int[AnyArray, "n"]
    """31 classes (AF3's code: aatype)."""
    asym_id: Int[AnyArray, "n"]
    """1-based: one number per chain."""
    entity_id: Int[AnyArray, "n"]
    """1-based: one number per distinct sequence or ligand."""
    sym_id: Int[AnyArray, "n"]
    """1-based: one number per copy within an entity."""
    is_protein: Bool[AnyArray, "n"]
    is_rna: Bool[AnyArray, "n"]
    is_dna: Bool[AnyArray, "n"]
    is_ligand: Bool[AnyArray, "n"]
    is_water: Bool[AnyArray, "n"]
    is_nonstandard_polymer_chain: Bool[AnyArray, "n"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Msa:
    """Stacked alignment: paired rows first, then each chain's own (SI 2.3)."""

    rows: Int[AnyArray, "s n"]
    """Residue classes, int8; 31 is a gap-like padding value of the published code."""
    mask: Bool[AnyArray, "s n"]
    deletion_matrix: Int[AnyArray, "s n"]
    """Residues deleted to the left of this position, clipped to int8."""
    profile: Float[AnyArray, "n 31"]
    """Distribution over residue classes in the full alignment."""
    deletion_mean: Float[AnyArray, "n"]
    num_alignments: Int[AnyArray, ""]
    """Rows before padding."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Templates:
    """Template structures in the token layout (SI 2.4)."""

    residue_type: Int[AnyArray, "t n"]
    atom_mask: Bool[AnyArray, "t n x"]
    atom_positions: Float[AnyArray, "t n x 3"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ReferenceConformers:
    """One conformer per residue or ligand (SI 2.8); positions depend on the seed."""

    positions: Float[AnyArray, "n x 3"]
    mask: Bool[AnyArray, "n x"]
    element: Int[AnyArray, "n x"]
    """Atomic number."""
    charge: Float[AnyArray, "n x"]
    atom_name_chars: Int[AnyArray, "n x 4"]
    """`ord(character) - 32`, padded with zeros."""
    space_uid: Int[AnyArray, "n x"]
    """One number per conformer: atoms with equal numbers share a frame."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AtomWindows:
    """Moves between tokens, token atoms (n × 24) and windows of flat atoms.

    Each window has 32 query atoms and the 128 key atoms centred on them (SI 3.2,
    sequence-local atom attention).
    """

    token_atoms_to_queries: Gather
    """[w q] from [n x]"""
    tokens_to_queries: Gather
    """[w q] from [n]"""
    tokens_to_keys: Gather
    """[w k] from [n]"""
    queries_to_keys: Gather
    """[w k] from [w q]"""
    queries_to_token_atoms: Gather
    """[n x] from [w q]"""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Bonds:
    """Bonds the model is told of, as pairs of tokens (SI table 5, token_bonds)."""

    polymer_ligand: Gather
    """[e 2] from [n]: bonds between a polymer and a ligand."""
    ligand_ligand: Gather
    """[e 2] from [n]: bonds within and between ligands."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Batch:
    """Everything one prediction needs besides weights and random numbers."""

    tokens: Tokens
    msa: Msa
    templates: Templates
    reference: ReferenceConformers
    windows: AtomWindows
    bonds: Bonds
    pseudo_beta: Gather
    """[n] from [n x]: the atom that stands for the token in distances."""
    predicted_atom_mask: Bool[AnyArray, "n x"]
    """Atoms that exist in the output (AF3's code: pred_dense_atom_mask)."""
    residue_center_index: Int[AnyArray, "n"]
    """Slot of the atom nearest the token's centre (C-alpha, C1' or the atom)."""
    frames_mask: Bool[AnyArray, "n"]
    """Tokens for which a backbone frame can be built."""
