import functools
from dataclasses import fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from af3_core.chemistry.dictionary import Components
from af3_core.features.featurise import featurise, reference_positions
from af3_core.features.values import Features
from af3_core.job import BondAtom, Job, Ligand, Modification, Polymer
from af3_core.model.batch import Batch, pad
from af3_core.model.config import Conventions, config_from_dict, config_to_dict
from af3_core.model.conventions import follow, profile_classes, residue_classes
from af3_core.model.embedding import token_bond_matrix
from af3_core.model.model import apply, embed_inputs
from af3_core.model.openfold3 import CONVENTIONS, OPENFOLD3
from af3_core.model.parameters import parameter_shapes
from tests.af3_core.model.stages import random_like
from tests.af3_core.model.tiny import FLOAT32, TINY
from tests.parity.adapter import batch_arrays

GAP, UNKNOWN, N = 21, 20, 30


@functools.cache
def features() -> Features:
    """A peptide with two phosphoserines side by side, RNA and DNA with N, a ligand."""
    peptide = Polymer(
        "protein",
        ("A",),
        "GSSKWVL",
        modifications=(Modification("SEP", 2), Modification("SEP", 3)),
        unpaired_msa="",
        paired_msa="",
        templates=(),
    )
    rna = Polymer("rna", ("B",), "GNC", unpaired_msa="")
    dna = Polymer("dna", ("C",), "ANT")
    job = Job("mixed", (1,), (peptide, rna, dna, Ligand(("D",), codes=("GOL",))))
    return featurise(job, Components.load())


@functools.cache
def batch() -> Batch:
    components = Components.load()
    positions = reference_positions(features(), components, seed=1)
    return pad(features(), positions, 64, msa_rows=4)


@functools.cache
def few_atoms() -> Batch:
    """Fewer atoms than an atom has neighbours in attention, of several conformers."""
    peptide = Polymer(
        "protein", ("A",), "GSK", unpaired_msa="", paired_msa="", templates=()
    )
    components = Components.load()
    found = featurise(Job("short", (1,), (peptide,)), components)
    positions = reference_positions(found, components, seed=1)
    return pad(found, positions, 16, msa_rows=2)


def followed(**conventions) -> Batch:
    return follow(batch(), replace(Conventions(), **conventions))


def test_alphafold_3s_batch_is_left_alone() -> None:
    assert follow(batch(), Conventions()) is batch()


def test_following_twice_changes_nothing_more() -> None:
    once = follow(batch(), CONVENTIONS)
    for path, values in batch_arrays(follow(once, CONVENTIONS)).items():
        np.testing.assert_array_equal(values, batch_arrays(once)[path], path)


def test_chains_that_are_not_searched_have_gaps() -> None:
    found, tokens = followed(unsearched_columns="gap").msa, batch().tokens
    blank = tokens.is_dna | tokens.is_ligand
    assert (found.rows[0, blank] == GAP).all()
    assert not found.profile[blank].any()
    kept = tokens.is_protein | tokens.is_rna
    np.testing.assert_array_equal(found.rows[:, kept], batch().msa.rows[:, kept])


def test_split_residues_are_unknown_amino_acids() -> None:
    types = followed(modified_residues="unknown").tokens.residue_type
    serine = (batch().tokens.residue_index == 2) & batch().tokens.is_protein
    assert set(types[serine]) == {UNKNOWN}
    assert (types[~serine] == batch().tokens.residue_type[~serine])[:1].all()


def test_an_empty_template_is_a_gap() -> None:
    found = followed(missing_template="gap").templates.residue_type
    assert (found[:, batch().tokens.mask] == GAP).all()
    assert not found[:, ~batch().tokens.mask].any()


def test_terminal_atoms_of_whole_residues_are_left_out() -> None:
    found = followed(terminal_atoms="left_out")
    atoms = features().atoms
    out = ~found.predicted_atom_mask[atoms.token_index, atoms.slot]
    names = [
        (features().chains.chain_id[atoms.chain_index[i]], atoms.atom_name[i])
        for i in np.flatnonzero(out)
    ]
    assert names == [("A", "OXT"), ("B", "OP3"), ("C", "OP3")]
    real = found.windows.token_atoms_to_queries.index.ravel()
    real = real[: found.predicted_atom_mask.sum()]
    assert found.predicted_atom_mask.ravel()[real].all()


def test_bonds_join_single_atoms_the_backbones_too() -> None:
    found = followed(bonds="symmetric")
    matrix = token_bond_matrix(
        jax.tree.map(jnp.asarray, found.bonds), 64, symmetric=True
    )
    np.testing.assert_array_equal(matrix, matrix.T)
    atoms = features().atoms
    single = {
        (int(r), n): int(t)
        for r, n, t in zip(
            atoms.residue_id, atoms.atom_name, atoms.token_index, strict=True
        )
        if r in (2, 3) and features().tokens.is_protein[t]
    }
    assert matrix[single[2, "C"], single[3, "N"]] == 1
    assert matrix[single[3, "CA"], single[3, "CB"]] == 1
    assert matrix[single[2, "CA"], single[3, "CA"]] == 0


def test_unknown_nucleotides_are_seen_at_the_first_atom() -> None:
    found = followed(unknown_nucleotides="first_atom").pseudo_beta.index
    unknown = batch().tokens.residue_type == N
    assert unknown.sum() == 2
    first = np.flatnonzero(batch().predicted_atom_mask)[0]
    assert (found[unknown] == first).all()
    np.testing.assert_array_equal(found[~unknown], batch().pseudo_beta.index[~unknown])


def test_openfold3s_alphabet_tells_the_two_unknown_nucleotides_apart() -> None:
    is_dna = np.array([False, True, False, False])
    types = np.array([N, N, GAP, 26])
    assert residue_classes(types, is_dna, CONVENTIONS).tolist() == [25, 30, 31, 26]
    profile = np.eye(31, dtype="f4")[types]
    found = profile_classes(profile, is_dna, CONVENTIONS)
    assert found.shape == (4, 32)
    assert found.argmax(axis=1).tolist() == [25, 30, 31, 26]
    np.testing.assert_array_equal(found.sum(axis=1), 1)


def test_conventions_are_written_only_where_they_differ() -> None:
    assert "conventions" not in config_to_dict(TINY)
    assert config_from_dict(config_to_dict(OPENFOLD3)) == OPENFOLD3
    with pytest.raises(ValueError, match="residue_alphabet"):
        config_from_dict({"conventions": {"residue_alphabet": "klingon"}})


@pytest.mark.parametrize("name", [f.name for f in fields(Conventions)])
def test_every_convention_of_openfold3_is_its_own(name) -> None:
    assert getattr(CONVENTIONS, name) != getattr(Conventions(), name)


@pytest.mark.parametrize("name", ["conformer_keys", "padding_keys"])
def test_conventions_of_atoms_change_what_tokens_are_made_of(name) -> None:
    changed = replace(Conventions(), **{name: getattr(CONVENTIONS, name)})
    params = random_like(parameter_shapes(TINY))
    arrays = jax.tree.map(jnp.asarray, few_atoms())
    one, two = (
        apply(embed_inputs, params, arrays, config=config, runtime=FLOAT32)
        for config in (TINY, replace(TINY, conventions=changed))
    )
    assert np.abs(one - two).max() > 1e-3


def test_bonds_to_whole_residues_are_not_seen() -> None:
    peptide = Polymer("protein", ("A",), "GNST", unpaired_msa="", paired_msa="")
    peptide = replace(peptide, templates=())
    bond = (BondAtom("A", 2, "ND2"), BondAtom("B", 1, "C1"))
    sugar = Ligand(("B",), codes=("NAG",))
    job = Job("glycan", (1,), (peptide, sugar), bonds=(bond,))
    found = featurise(job, Components.load())
    padded = pad(found, np.zeros((found.num_tokens, 24, 3), "f4"), 32, msa_rows=2)
    assert padded.bonds.polymer_ligand.mask.any()
    assert not follow(padded, CONVENTIONS).bonds.polymer_ligand.mask.any()
