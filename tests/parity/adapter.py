"""AlphaFold 3's flat dictionary of features as a `Batch`, and back."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from af3_core.model.batch import (
    AtomWindows,
    Batch,
    Bonds,
    Gather,
    Msa,
    ReferenceConformers,
    Templates,
    Tokens,
)


def _names(kind: type, prefix: str = "", **renamed: str) -> dict[str, str]:
    return {f.name: renamed.get(f.name, prefix + f.name) for f in fields(kind)}


# AlphaFold 3's name of each array, by group and field of a `Batch`.
_TOKENS = _names(Tokens, mask="seq_mask", residue_type="aatype")
_MSA = _names(Msa, rows="msa", mask="msa_mask")
_TEMPLATES = _names(Templates, "template_", residue_type="template_aatype")
_REFERENCE = _names(ReferenceConformers, "ref_", positions="ref_pos")
_WINDOWS = _names(AtomWindows)
_BONDS = {
    "polymer_ligand": "tokens_to_polymer_ligand_bonds",
    "ligand_ligand": "tokens_to_ligand_ligand_bonds",
}
_PSEUDO_BETA = "token_atoms_to_pseudo_beta"
_ATOM_MASK = "pred_dense_atom_mask"
# Read with the features, but no part of the network asks for it.
_UNUSED = "token_atoms_to_polymer_ligand_bonds"


def batch_from_features(features: Mapping[str, np.ndarray]) -> Batch:
    """A `Batch` of AlphaFold 3's arrays; `features` is keyed by its names."""

    def take(names: Mapping[str, str]) -> dict[str, np.ndarray]:
        return {ours: features[theirs] for ours, theirs in names.items()}

    def layout(name: str) -> Gather:
        return Gather(features[f"{name}:gather_idxs"], features[f"{name}:gather_mask"])

    return Batch(
        tokens=Tokens(**take(_TOKENS)),
        msa=Msa(**take(_MSA)),
        templates=Templates(**take(_TEMPLATES)),
        reference=ReferenceConformers(**take(_REFERENCE)),
        windows=AtomWindows(**{k: layout(v) for k, v in _WINDOWS.items()}),
        bonds=Bonds(**{k: layout(v) for k, v in _BONDS.items()}),
        pseudo_beta=layout(_PSEUDO_BETA),
        predicted_atom_mask=features[_ATOM_MASK],
        residue_center_index=features["residue_center_index"],
        frames_mask=features["frames_mask"],
    )


def features_from_batch(batch: Batch) -> dict[str, np.ndarray]:
    """What AlphaFold 3's network is fed with: the inverse of `batch_from_features`."""
    num_tokens, num_slots = batch.predicted_atom_mask.shape
    tokens, atoms = (num_tokens,), (num_tokens, num_slots)
    windows = batch.windows.token_atoms_to_queries.index.shape

    def give(group: Any, names: Mapping[str, str]) -> dict[str, Any]:
        return {theirs: getattr(group, ours) for ours, theirs in names.items()}

    sources = {
        "token_atoms_to_queries": atoms,
        "queries_to_keys": windows,
        "queries_to_token_atoms": windows,
        _PSEUDO_BETA: atoms,
        _UNUSED: atoms,
    }
    none = np.zeros((num_tokens, 2), np.int32)
    layouts: dict[str, Gather] = {
        **give(batch.windows, _WINDOWS),
        **give(batch.bonds, _BONDS),
        _PSEUDO_BETA: batch.pseudo_beta,
        _UNUSED: Gather(none, none.astype(bool)),
    }
    features = {
        **give(batch.tokens, _TOKENS),
        **give(batch.msa, _MSA),
        **give(batch.templates, _TEMPLATES),
        **give(batch.reference, _REFERENCE),
        _ATOM_MASK: batch.predicted_atom_mask,
        "residue_center_index": batch.residue_center_index,
        "frames_mask": batch.frames_mask,
        "seq_length": np.int32(np.sum(batch.tokens.mask)),
    }
    for name, layout in layouts.items():
        features[f"{name}:gather_idxs"] = layout.index
        features[f"{name}:gather_mask"] = layout.mask
        features[f"{name}:input_shape"] = np.int32(sources.get(name, tokens))
    return {name: np.asarray(values) for name, values in features.items()}


def batch_arrays(batch: Batch) -> dict[str, np.ndarray]:
    """Every array of a batch by its path, such as `msa.rows`."""
    return dict(_walk(batch, ""))


def _walk(value: Any, path: str) -> Iterator[tuple[str, np.ndarray]]:
    if not is_dataclass(value):
        yield path.removesuffix("."), np.asarray(value)
        return
    for field in fields(value):
        yield from _walk(getattr(value, field.name), f"{path}{field.name}.")
