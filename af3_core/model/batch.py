"""What the model reads: one job, one seed, padded to a bucket.

`Batch` holds arrays only, grouped as the features are made. Every array has a
static shape given by the bucket, so one compiled model serves all jobs of a bucket.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy import ndarray

from af3_core.features.templates import MAX_TEMPLATES
from af3_core.features.tokens import NUM_ATOM_SLOTS as NUM_ATOM_SLOTS
from af3_core.features.values import Features
from af3_core.features.windows import KEYS_PER_WINDOW as KEYS_PER_WINDOW
from af3_core.features.windows import QUERIES_PER_WINDOW as QUERIES_PER_WINDOW
from af3_core.features.windows import GatherIndex, Windows, make_windows

AnyArray = Array | ndarray

MAX_MSA_ROWS = 16_384
"""Rows that AlphaFold 3 pads every alignment to."""

_LIGAND_BONDS_PER_TOKEN = 10


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
class TemplatePairs:
    """Templates as they are embedded: a batch may hold this instead of atoms."""

    residue_type: Int[AnyArray, "t n"]
    """AlphaFold 3's classes."""
    distances: Float[AnyArray, "t n n bins"]
    """One-hot."""
    pseudo_beta_mask: Bool[AnyArray, "t n"]
    directions: Float[AnyArray, "t n n 3"]
    """From the frame of the row to that of the column."""
    frame_mask: Bool[AnyArray, "t n"]


type AnyTemplates = Templates | TemplatePairs


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
    templates: AnyTemplates
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


FEW_WINDOWS = 3 / 8
"""Holds proteins, of which a token has 7.8 atoms on average, in a full bucket."""


def pad(
    features: Features,
    positions: Float[ndarray, "n x 3"],
    num_tokens: int,
    *,
    msa_rows: int = MAX_MSA_ROWS,
) -> Batch:
    """Pads the features of a job and the conformers of one seed to a bucket.

    Args:
        positions: from `af3_core.features.featurise.reference_positions`, Å.
        num_tokens: the bucket.
        msa_rows: padded depth of the alignment.

    Raises:
        ValueError: tokens, alignment or bonds do not fit.
    """
    if features.num_tokens > num_tokens:
        raise ValueError(f"{features.num_tokens} tokens do not fit into {num_tokens}")
    windows = make_windows(features.atom_mask, num_tokens)
    reference = features.reference
    return Batch(
        tokens=_pad_tokens(features, num_tokens),
        msa=_pad_msa(features, num_tokens, msa_rows),
        templates=_pad_templates(features, num_tokens),
        reference=ReferenceConformers(
            positions=_fill(positions, (num_tokens,)),
            mask=_fill(reference.mask, (num_tokens,)),
            element=_fill(reference.element, (num_tokens,)),
            charge=_fill(reference.charge, (num_tokens,)),
            atom_name_chars=_fill(reference.atom_name_chars, (num_tokens,)),
            space_uid=_fill(reference.space_uid, (num_tokens,)),
        ),
        windows=windows_of(windows),
        bonds=Bonds(
            polymer_ligand=_pad_bonds(features.polymer_ligand_bonds, num_tokens),
            ligand_ligand=_pad_bonds(
                features.ligand_ligand_bonds, num_tokens * _LIGAND_BONDS_PER_TOKEN
            ),
        ),
        pseudo_beta=_pseudo_beta(features, num_tokens),
        predicted_atom_mask=_fill(features.atom_mask, (num_tokens,)),
        residue_center_index=_fill(features.centre_slot, (num_tokens,)),
        frames_mask=_fill(features.frames_mask, (num_tokens,)),
    )


def trim_windows(batch: Batch, num_windows: int) -> Batch:
    """Leaves out windows at the end, which hold no atom. What remains is unchanged.

    Raises:
        ValueError: an atom lies in a window that would go.
    """
    windows = batch.windows
    num_atoms = int(batch.predicted_atom_mask.sum())
    if num_atoms > num_windows * QUERIES_PER_WINDOW:
        raise ValueError(f"{num_atoms} atoms do not fit into {num_windows} windows")

    def cut(gather: Gather) -> Gather:
        return Gather(gather.index[:num_windows], gather.mask[:num_windows])

    limit = num_windows * QUERIES_PER_WINDOW
    keys = cut(windows.queries_to_keys)
    back = windows.queries_to_token_atoms
    return replace(
        batch,
        windows=replace(
            windows,
            token_atoms_to_queries=cut(windows.token_atoms_to_queries),
            tokens_to_queries=cut(windows.tokens_to_queries),
            tokens_to_keys=cut(windows.tokens_to_keys),
            queries_to_keys=Gather(
                np.minimum(keys.index, limit - 1), keys.mask & (keys.index < limit)
            ),
            queries_to_token_atoms=Gather(np.minimum(back.index, limit - 1), back.mask),
        ),
    )


def spare_windows(batch: Batch) -> Batch:
    """Leaves out windows that hold no atom, where so many can go that it is worth it.

    A protein has 8 atoms a token, and windows for 24: what follows from the atoms
    alone is computed for a third of them. There are only two sizes, the whole and
    `FEW_WINDOWS` of it, because each is a program of its own.
    """
    num_windows = len(batch.windows.queries_to_keys.index)
    few = math.ceil(FEW_WINDOWS * num_windows)
    num_atoms = int(batch.predicted_atom_mask.sum())
    # Windows of fewer atoms than keys reach beyond them, into padding, as published.
    if not KEYS_PER_WINDOW <= num_atoms <= few * QUERIES_PER_WINDOW:
        return batch
    return trim_windows(batch, few)


def _fill(array: ndarray, shape: Sequence[int]) -> ndarray:
    """Extends the leading axes of an array with zeros."""
    padded = np.zeros((*shape, *array.shape[len(shape) :]), dtype=array.dtype)
    padded[tuple(slice(size) for size in array.shape[: len(shape)])] = array
    return padded


def _pad_tokens(features: Features, num_tokens: int) -> Tokens:
    tokens = features.tokens
    given = {
        f.name: _fill(getattr(tokens, f.name), (num_tokens,)) for f in fields(tokens)
    }
    never = np.zeros(num_tokens, dtype=bool)
    return Tokens(
        mask=np.arange(num_tokens) < features.num_tokens,
        is_water=never,
        is_nonstandard_polymer_chain=never,
        **given,
    )


def _pad_msa(features: Features, num_tokens: int, msa_rows: int) -> Msa:
    msa = features.msa
    if len(msa.rows) > msa_rows:
        raise ValueError(f"an alignment of {len(msa.rows)} rows exceeds {msa_rows}")
    shape = msa_rows, num_tokens
    return Msa(
        rows=_fill(msa.rows, shape),
        mask=_fill(np.ones(msa.rows.shape, dtype=bool), shape),
        deletion_matrix=_fill(msa.deletion_matrix, shape),
        profile=_fill(msa.profile, (num_tokens,)),
        deletion_mean=_fill(msa.deletion_mean, (num_tokens,)),
        num_alignments=np.array(len(msa.rows), dtype=np.int32),
    )


def _pad_templates(features: Features, num_tokens: int) -> Templates:
    shape = MAX_TEMPLATES, num_tokens
    return Templates(
        residue_type=_fill(features.templates.residue_type, shape),
        atom_mask=_fill(features.templates.atom_mask, shape),
        atom_positions=_fill(features.templates.atom_positions, shape),
    )


def windows_of(windows: Windows) -> AtomWindows:
    """The windows of a padded job as the model reads them."""
    return AtomWindows(
        **{f.name: _gather(getattr(windows, f.name)) for f in fields(AtomWindows)}
    )


def _gather(index: GatherIndex) -> Gather:
    return Gather(index.index, index.mask)


def _pad_bonds(bonds: Int[ndarray, "e 2"], size: int) -> Gather:
    if len(bonds) > size:
        raise ValueError(
            f"{len(bonds)} bonds exceed the {size} that the model takes in this bucket"
        )
    mask = np.ones(bonds.shape, dtype=bool)
    return Gather(_fill(bonds, (size,)), _fill(mask, (size,)))


def _pseudo_beta(features: Features, num_tokens: int) -> Gather:
    first_slots = np.arange(features.num_tokens, dtype=np.int32) * NUM_ATOM_SLOTS
    mask = np.ones(features.num_tokens, dtype=bool)
    index = first_slots + features.pseudo_beta_slot
    return Gather(_fill(index, (num_tokens,)), _fill(mask, (num_tokens,)))
