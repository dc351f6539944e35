"""AlphaFold 3's flat dictionary of features as a `Batch`, and its outputs by name."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from af3_core.batch import (
    AtomWindows,
    Batch,
    Bonds,
    Gather,
    Msa,
    ReferenceConformers,
    Templates,
    Tokens,
)

# Fields of our groups whose name differs from AlphaFold 3's.
_TOKEN_NAMES = {"mask": "seq_mask", "residue_type": "aatype"}
_MSA_NAMES = {"rows": "msa", "mask": "msa_mask"}
_TEMPLATE_NAMES = {"residue_type": "aatype"}
_REFERENCE_NAMES = {"positions": "pos", "space_uid": "space_uid"}

FEATURE_PATHS: dict[str, str] = {
    **{f"tokens.{f.name}": _TOKEN_NAMES.get(f.name, f.name) for f in fields(Tokens)},
    **{f"msa.{f.name}": _MSA_NAMES.get(f.name, f.name) for f in fields(Msa)},
    **{
        f"templates.{f.name}": f"template_{_TEMPLATE_NAMES.get(f.name, f.name)}"
        for f in fields(Templates)
    },
    **{
        f"reference.{f.name}": f"ref_{_REFERENCE_NAMES.get(f.name, f.name)}"
        for f in fields(ReferenceConformers)
    },
    **{
        f"windows.{f.name}.{part}": f"{f.name}:gather_{theirs}"
        for f in fields(AtomWindows)
        for part, theirs in (("index", "idxs"), ("mask", "mask"))
    },
    **{
        f"{ours}.{part}": f"{theirs}:gather_{key}"
        for ours, theirs in (
            ("bonds.polymer_ligand", "tokens_to_polymer_ligand_bonds"),
            ("bonds.ligand_ligand", "tokens_to_ligand_ligand_bonds"),
            ("pseudo_beta", "token_atoms_to_pseudo_beta"),
        )
        for part, key in (("index", "idxs"), ("mask", "mask"))
    },
    "predicted_atom_mask": "pred_dense_atom_mask",
    "residue_center_index": "residue_center_index",
    "frames_mask": "frames_mask",
}
"""Path of every array of a `Batch` → the name AlphaFold 3 gives it."""


def batch_from_features(features: Mapping[str, np.ndarray]) -> Batch:
    """A `Batch` of AlphaFold 3's arrays; `features` is keyed by its names."""

    def group(kind: Callable[..., Any], prefix: str) -> Any:
        return kind(
            **{
                field.name: features[FEATURE_PATHS[f"{prefix}{field.name}"]]
                for field in fields(kind)
            }
        )

    def layout(path: str) -> Gather:
        return Gather(
            features[FEATURE_PATHS[f"{path}.index"]],
            features[FEATURE_PATHS[f"{path}.mask"]],
        )

    return Batch(
        tokens=group(Tokens, "tokens."),
        msa=group(Msa, "msa."),
        templates=group(Templates, "templates."),
        reference=group(ReferenceConformers, "reference."),
        windows=AtomWindows(
            **{f.name: layout(f"windows.{f.name}") for f in fields(AtomWindows)}
        ),
        bonds=Bonds(layout("bonds.polymer_ligand"), layout("bonds.ligand_ligand")),
        pseudo_beta=layout("pseudo_beta"),
        predicted_atom_mask=features["pred_dense_atom_mask"],
        residue_center_index=features["residue_center_index"],
        frames_mask=features["frames_mask"],
    )
