"""What other networks read differently, made of AlphaFold 3's features.

Features are made and stored once, for all networks. `follow` turns a padded batch into
what a network was trained to see, in NumPy; `residue_classes` and `profile_classes`
number residues its way where they are embedded. For AlphaFold 3 both do nothing.

Sources of OpenFold3's conventions: its release 0.5.0 (Apache-2.0), and numbers recorded
from it; see docs/weights.md.
"""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy import ndarray

from af3_core.features.windows import make_windows
from af3_core.model.batch import Batch, Gather, Templates, windows_of
from af3_core.model.config import Conventions

_UNKNOWN_AMINO_ACID, _GAP, _UNKNOWN_NUCLEOTIDE = 20, 21, 30

_OPENFOLD3_CLASSES = np.array(
    [*range(21), 31, 21, 22, 23, 24, 26, 27, 28, 29, 25, 31], np.int32
)
"""By AlphaFold 3's class: 20 amino acids, unknown, gap, A G C U, DA DG DC DT, N, and
the alignment's padding. OpenFold3: amino acids, unknown, A G C U N, DA DG DC DT DN,
gap."""
_OPENFOLD3_UNKNOWN_DNA = 30
_TERMINAL_ATOMS = {"protein": "OXT", "nucleic": "OP3"}
_BACKBONE_BONDS = {"protein": ("C", "N"), "nucleic": ("O3'", "P")}


def residue_classes(
    types: Int[Array, "*s n"] | Int[ndarray, "*s n"],
    is_dna: Bool[Array, "n"] | Bool[ndarray, "n"],
    conventions: Conventions,
) -> Int[Array, "*s n"]:
    """AlphaFold 3's residue classes in the alphabet of a network."""
    types = jnp.asarray(types)
    if conventions.residue_alphabet == "alphafold3":
        return types
    is_dna = jnp.asarray(is_dna).reshape((1,) * (types.ndim - 1) + (-1,))
    classes = jnp.asarray(_OPENFOLD3_CLASSES)[types]
    is_unknown_dna = is_dna & (types == _UNKNOWN_NUCLEOTIDE)
    return jnp.where(is_unknown_dna, _OPENFOLD3_UNKNOWN_DNA, classes)


def profile_classes(
    profile: Float[Array, "n 31"] | Float[ndarray, "n 31"],
    is_dna: Bool[Array, "n"] | Bool[ndarray, "n"],
    conventions: Conventions,
) -> Float[Array, "n c"]:
    """A profile over AlphaFold 3's classes in the alphabet of a network."""
    profile, is_dna = jnp.asarray(profile), jnp.asarray(is_dna)
    if conventions.residue_alphabet == "alphafold3":
        return profile
    num_tokens, unknown = profile.shape[0], profile[:, _UNKNOWN_NUCLEOTIDE]
    columns = _OPENFOLD3_CLASSES[: profile.shape[1]]
    classes = jnp.zeros((num_tokens, conventions.num_residue_classes), profile.dtype)
    classes = classes.at[:, columns].set(profile)
    rna = columns[_UNKNOWN_NUCLEOTIDE]
    classes = classes.at[:, rna].set(jnp.where(is_dna, 0.0, unknown))
    return classes.at[:, _OPENFOLD3_UNKNOWN_DNA].set(jnp.where(is_dna, unknown, 0.0))


def is_single_atom(batch: Batch) -> Bool[ndarray, "n"]:
    """Tokens of one atom: those of ligands and of residues that were split."""
    tokens = batch.tokens
    return np.asarray(tokens.mask & (tokens.is_ligand | (_num_atoms(batch) == 1)))


def _num_atoms(batch: Batch) -> Int[ndarray, "n"]:
    return np.asarray(batch.predicted_atom_mask).sum(axis=-1)


def follow(batch: Batch, conventions: Conventions) -> Batch:
    """The batch as a network with these conventions was trained to see it.

    Following the same conventions twice changes nothing.

    Args:
        batch: NumPy arrays, from `pad`.
    """
    if conventions == Conventions():
        return batch
    single_atom = is_single_atom(batch)
    if conventions.unsearched_columns == "gap":
        batch = _without_unsearched(batch)
    if conventions.missing_template == "gap":
        batch = _with_template_gaps(batch)
    if conventions.terminal_atoms == "left_out":
        batch = _without_terminal_atoms(batch, single_atom)
    if conventions.bonds == "symmetric":
        batch = _with_single_atom_bonds(batch, single_atom)
    batch = displace_unknown_nucleotides(batch, conventions)
    if conventions.modified_residues == "unknown":
        residue_type = np.where(
            single_atom, _UNKNOWN_AMINO_ACID, batch.tokens.residue_type
        )
        batch = replace(batch, tokens=replace(batch.tokens, residue_type=residue_type))
    return batch


def _without_unsearched(batch: Batch) -> Batch:
    """Gaps, and a profile of zeros, in columns of DNA and ligands."""
    tokens, msa = batch.tokens, batch.msa
    blank = np.asarray(tokens.is_dna | tokens.is_ligand)
    return replace(
        batch,
        msa=replace(
            msa,
            rows=np.where(blank & msa.mask, np.int8(_GAP), msa.rows),
            deletion_matrix=np.where(blank, np.int8(0), msa.deletion_matrix),
            profile=np.where(blank[:, None], np.float32(0), msa.profile),
            deletion_mean=np.where(blank, np.float32(0), msa.deletion_mean),
        ),
    )


def _with_template_gaps(batch: Batch) -> Batch:
    """A gap where a template has neither class nor atom."""
    templates = batch.templates
    if not isinstance(templates, Templates):
        return batch
    is_missing = (templates.residue_type == 0) & ~templates.atom_mask.any(axis=-1)
    is_missing &= batch.tokens.mask
    residue_type = np.where(is_missing, _GAP, templates.residue_type)
    return replace(batch, templates=replace(templates, residue_type=residue_type))


def _without_terminal_atoms(batch: Batch, single_atom: Bool[ndarray, "n"]) -> Batch:
    """Whole residues without OXT and OP3, and windows of the atoms that are left."""
    mask = np.asarray(batch.predicted_atom_mask)
    terminal = np.zeros_like(mask)
    for kind, of_kind in _polymer_kinds(batch).items():
        named = _is_named(batch, _TERMINAL_ATOMS[kind])
        terminal |= named & (of_kind & ~single_atom)[:, None]
    mask = mask & ~terminal
    num_tokens = int(np.asarray(batch.tokens.mask).sum())
    reference = batch.reference
    return replace(
        batch,
        predicted_atom_mask=mask,
        reference=replace(reference, mask=reference.mask & ~terminal),
        windows=windows_of(make_windows(mask[:num_tokens], len(mask))),
    )


def _polymer_kinds(batch: Batch) -> dict[str, Bool[ndarray, "n"]]:
    tokens = batch.tokens
    is_nucleic = np.asarray(tokens.is_rna | tokens.is_dna)
    return {"protein": np.asarray(tokens.is_protein), "nucleic": is_nucleic}


def _is_named(batch: Batch, name: str) -> Bool[ndarray, "n x"]:
    """Atoms of this name."""
    wanted = [ord(letter) - 32 for letter in name.ljust(4)]
    chars = np.asarray(batch.reference.atom_name_chars)
    return (chars == wanted).all(axis=-1) & np.asarray(batch.reference.mask)


def _with_single_atom_bonds(batch: Batch, single_atom: Bool[ndarray, "n"]) -> Batch:
    """Bonds whose tokens are both single atoms, the backbone's among them.

    The backbone's bonds are listed nowhere else; two neighbouring residues that are
    both split have one.
    """
    kept = []
    for layout in (batch.bonds.polymer_ligand, batch.bonds.ligand_ligand):
        pairs = np.asarray(layout.index)[np.asarray(layout.mask).all(axis=-1)]
        kept.append(pairs[single_atom[pairs].all(axis=-1)])
    found = np.concatenate([*kept, _backbone_bonds(batch, single_atom)])
    found = np.unique(np.sort(found, axis=-1), axis=0)
    polymer_ligand, ligand_ligand = (
        batch.bonds.polymer_ligand,
        batch.bonds.ligand_ligand,
    )
    index = np.zeros_like(ligand_ligand.index)
    index[: len(found)] = found
    mask = np.zeros_like(ligand_ligand.mask)
    mask[: len(found)] = True
    none = Gather(
        np.zeros_like(polymer_ligand.index), np.zeros_like(polymer_ligand.mask)
    )
    bonds = replace(batch.bonds, polymer_ligand=none, ligand_ligand=Gather(index, mask))
    return replace(batch, bonds=bonds)


def _backbone_bonds(
    batch: Batch, single_atom: Bool[ndarray, "n"]
) -> Int[ndarray, "e 2"]:
    asym_id, residue = np.asarray(batch.tokens.asym_id), batch.tokens.residue_index
    pairs = []
    for kind, of_kind in _polymer_kinds(batch).items():
        first, second = (
            np.flatnonzero(_is_named(batch, name).any(axis=-1) & of_kind & single_atom)
            for name in _BACKBONE_BONDS[kind]
        )
        starts = {(asym_id[i], residue[i]): i for i in second.tolist()}
        for token in first.tolist():
            following = starts.get((asym_id[token], residue[token] + 1))
            if following is not None:
                pairs.append((token, following))
    return np.array(pairs, np.int32).reshape(-1, 2)


def displace_unknown_nucleotides(batch: Batch, conventions: Conventions) -> Batch:
    """Unknown nucleotides where OpenFold3 takes them to be: at the first atom of all.

    It looks for a representative among purines and pyrimidines and finds none.
    """
    if conventions.unknown_nucleotides == "own_atom":
        return batch
    tokens = batch.tokens
    unknown = np.asarray(tokens.residue_type) == _UNKNOWN_NUCLEOTIDE
    unknown &= np.asarray(tokens.is_rna | tokens.is_dna) & ~is_single_atom(batch)
    (atoms,) = np.nonzero(np.asarray(batch.predicted_atom_mask).ravel())
    first = atoms[0] if len(atoms) else 0
    index = np.where(unknown, np.int32(first), batch.pseudo_beta.index)
    return replace(batch, pseudo_beta=Gather(index, batch.pseudo_beta.mask))
