import gemmi
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from af3_core.model.batch import Batch, trim_windows
from af3_core.model.model import apply, embed_inputs
from af3_core.model.parameters import parameter_shapes
from af3_core.training.examples import label
from tests.af3_core.model.stages import random_like
from tests.af3_core.model.tiny import FLOAT32, TINY
from tests.af3_core.training.known import (
    example_for,
    features_for,
    structure_for,
    text_of,
)


def test_labels_are_the_deposited_coordinates() -> None:
    features = features_for("ubiquitin")
    labels = label(features, structure_for("ubiquitin"), 80)
    chain = gemmi.read_structure_string(text_of("ubiquitin"))[0]["A"]
    for token, name in ((0, "SD"), (30, "CA"), (75, "O")):
        rows = np.flatnonzero(features.atoms.token_index == token)
        (row,) = (r for r in rows if features.atoms.atom_name[r] == name)
        expected = chain[token][name][0].pos.tolist()
        slot = features.atoms.slot[row]
        np.testing.assert_allclose(labels.positions[token, slot], expected, atol=1e-3)


def test_every_resolved_atom_is_labelled_once() -> None:
    for name in ("lac_repressor_dna", "trypsin_inhibitor", "trna_phe"):
        labels = label(features_for(name), structure_for(name), 80)
        assert labels.resolved.sum() == structure_for(name).num_atoms


def test_nucleotides_and_ligands_weigh_more() -> None:
    features = features_for("lac_repressor_dna")
    labels = label(features, structure_for("lac_repressor_dna"), 80)
    is_dna = np.pad(features.tokens.is_dna, (0, 80 - features.num_tokens))
    assert set(labels.weight[is_dna][labels.resolved[is_dna]]) == {6.0}
    assert set(labels.weight[~is_dna][labels.resolved[~is_dna]]) == {1.0}
    ligand = label(
        features_for("trypsin_inhibitor"), structure_for("trypsin_inhibitor"), 64
    )
    assert set(ligand.weight[58:63, 0]) == {11.0}


def test_bonds_of_a_ligand_are_known() -> None:
    features = features_for("trypsin_inhibitor")
    labels = label(features, structure_for("trypsin_inhibitor"), 64)
    ends = labels.positions.reshape(-1, 3)[labels.bond_atoms[labels.bond_mask]]
    lengths = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1)
    assert len(lengths) == 4  # phosphorus to each oxygen
    np.testing.assert_allclose(lengths, 1.53, atol=0.08)


def test_frames_are_backbones_of_residues_and_nucleotides() -> None:
    features = features_for("lac_repressor_dna")
    labels = label(features, structure_for("lac_repressor_dna"), 80)
    names = {
        int(token) * 24 + int(slot): name
        for token, slot, name in zip(
            features.atoms.token_index,
            features.atoms.slot,
            features.atoms.atom_name,
            strict=True,
        )
    }
    assert [names[i] for i in labels.frame_atoms[10].tolist()] == ["N", "CA", "C"]
    assert [names[i] for i in labels.frame_atoms[60].tolist()] == ["C1'", "C3'", "C4'"]
    assert labels.frame_mask.sum() == 73


def test_frames_of_ligand_atoms_are_their_neighbours() -> None:
    features = features_for("trypsin_inhibitor")
    labels = label(features, structure_for("trypsin_inhibitor"), 64)
    phosphorus = labels.frame_atoms[58] // 24
    assert labels.frame_mask[58]
    assert phosphorus[1] == 58
    assert {int(i) for i in phosphorus} <= set(range(58, 63))


def test_a_structure_of_another_chain_is_refused() -> None:
    with pytest.raises(ValueError, match="no atom of the job"):
        label(features_for("ubiquitin"), structure_for("villin_headpiece"), 80)


def test_windows_without_atoms_can_be_left_out() -> None:
    batch = example_for("villin_headpiece", 40).batch
    params = random_like(parameter_shapes(TINY))

    def embed(batch: Batch) -> np.ndarray:
        batch = jax.tree.map(jnp.asarray, batch)
        return np.asarray(
            apply(embed_inputs, params, batch, config=TINY, runtime=FLOAT32)
        )

    cut = trim_windows(batch, 10)
    assert cut.windows.token_atoms_to_queries.index.shape == (10, 32)
    real = np.asarray(batch.tokens.mask)
    np.testing.assert_allclose(
        embed(cut)[real], embed(batch)[real], rtol=1e-5, atol=1e-5
    )


def test_windows_that_hold_atoms_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="295 atoms do not fit into 9 windows"):
        trim_windows(example_for("villin_headpiece", 40).batch, 9)
