"""The features of one job, unpadded and without anything that depends on a seed.

Plain NumPy and text, so that they can be made, stored and read without JAX. Padding
to a bucket makes the model's `Batch` of them (`af3_core.model.batch.pad`). `to_rows`
and `from_rows` are the table form, contract `features`.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int

from af3_core.contracts import FeatureRow
from af3_core.features.msa import MsaArrays
from af3_core.features.templates import TemplateArrays

_TEXT = "text"


@dataclass(frozen=True, eq=False)
class TokenFeatures:
    """Per-token features, AF3 SI table 5; the fields of the model's `Tokens`."""

    token_index: Int[np.ndarray, "n"]
    """1-based position in the job."""
    residue_index: Int[np.ndarray, "n"]
    """1-based residue number within the chain."""
    residue_type: Int[np.ndarray, "n"]
    asym_id: Int[np.ndarray, "n"]
    entity_id: Int[np.ndarray, "n"]
    sym_id: Int[np.ndarray, "n"]
    is_protein: Bool[np.ndarray, "n"]
    is_rna: Bool[np.ndarray, "n"]
    is_dna: Bool[np.ndarray, "n"]
    is_ligand: Bool[np.ndarray, "n"]


@dataclass(frozen=True, eq=False)
class ReferenceAtoms:
    """What does not depend on a seed of `af3_core.model.batch.ReferenceConformers`."""

    mask: Bool[np.ndarray, "n x"]
    element: Int[np.ndarray, "n x"]
    charge: Float32[np.ndarray, "n x"]
    atom_name_chars: Int[np.ndarray, "n x 4"]
    space_uid: Int[np.ndarray, "n x"]


@dataclass(frozen=True, eq=False)
class ChainTable:
    """The chains of the job in token order, for scores and export."""

    chain_id: tuple[str, ...]
    kind: tuple[str, ...]
    """protein, rna, dna or ligand."""
    mmcif_type: tuple[str, ...]
    """`_entity_poly.type`, or `_entity.type` of ligands."""
    asym_id: tuple[int, ...]
    entity_id: tuple[int, ...]
    """Equal for chains with the same residues."""
    sym_id: tuple[int, ...]
    entity_index: tuple[int, ...]
    """0-based position among the entities of the job."""
    codes: tuple[tuple[str, ...], ...]
    """Component code of every residue."""
    sequence: tuple[str, ...]
    """One-letter codes, modified residues by their parent; empty for ligands."""
    smiles: tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class AtomTable:
    """The predicted atoms, flat: the rows of an output file, in its order."""

    chain_index: Int[np.ndarray, "a"]
    """Position in `ChainTable`."""
    residue_id: Int[np.ndarray, "a"]
    """1-based within the chain."""
    residue_name: tuple[str, ...]
    atom_name: tuple[str, ...]
    element: tuple[str, ...]
    token_index: Int[np.ndarray, "a"]
    """0-based token that holds the atom, -1 if it has more atoms than slots."""
    slot: Int[np.ndarray, "a"]
    """Its slot, -1 likewise."""


@dataclass(frozen=True, eq=False)
class Features:
    """Everything a prediction of one job needs besides seed, weights and padding."""

    tokens: TokenFeatures
    msa: MsaArrays
    templates: TemplateArrays
    reference: ReferenceAtoms
    atom_mask: Bool[np.ndarray, "n x"]
    """Slots that hold a predicted atom."""
    pseudo_beta_slot: Int[np.ndarray, "n"]
    """Slot of the atom that stands for the token in distances."""
    centre_slot: Int[np.ndarray, "n"]
    """Slot of the atom nearest the token's centre."""
    frames_mask: Bool[np.ndarray, "n"]
    """Tokens for which a frame can be built."""
    polymer_ligand_bonds: Int[np.ndarray, "e 2"]
    """0-based tokens."""
    ligand_ligand_bonds: Int[np.ndarray, "e2 2"]
    """0-based tokens; within and between ligands and split residues."""
    chains: ChainTable
    atoms: AtomTable
    bonded_atoms: Int[np.ndarray, "e3 2"]
    """Rows of `atoms` that the user bonded between residues, for the output file."""
    dropped_chains: tuple[str, ...]
    """Ids of chains without any known residue, which are not predicted."""
    user_ccd: str | None
    """The user's components as mmCIF text; with the dictionary's, all there are."""

    @property
    def num_tokens(self) -> int:
        """How many tokens the job has, before padding."""
        return len(self.tokens.token_index)

    def to_rows(self) -> list[FeatureRow]:
        """Returns one row per array, contract `features`."""
        return [_encode(path, value) for path, value in _flatten(self, "")]

    @classmethod
    def from_rows(cls, rows: Iterable[FeatureRow]) -> "Features":
        """Reads what `to_rows` wrote.

        Raises:
            ValueError: an array is missing, or one is there that Features has not.
        """
        values = {row.array: decode_array(row) for row in rows}
        features = _unflatten(cls, values, "")
        if values:
            raise ValueError(f"features hold unknown arrays: {', '.join(values)}")
        return features


def _flatten(value: Any, path: str) -> Iterator[tuple[str, object]]:
    """Yields path and value of every leaf: an array, a tuple or a text."""
    for field in fields(value):
        child = getattr(value, field.name)
        child_path = f"{path}.{field.name}" if path else field.name
        if is_dataclass(child):
            yield from _flatten(child, child_path)
        else:
            yield child_path, child


def _unflatten(kind: Any, leaves: dict[str, Any], path: str) -> Any:
    """Builds a dataclass of its leaves, which are taken out of the dictionary."""
    arguments = {}
    for field in fields(kind):
        child_path = f"{path}.{field.name}" if path else field.name
        if is_dataclass(field.type):
            arguments[field.name] = _unflatten(field.type, leaves, child_path)
        elif child_path in leaves:
            arguments[field.name] = leaves.pop(child_path)
        else:
            raise ValueError(f"features lack the array {child_path}")
    return kind(**arguments)


def _encode(path: str, value: object) -> FeatureRow:
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value)
        data = data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
        return FeatureRow(
            array=path, dtype=value.dtype.name, shape=list(value.shape), data=data
        )
    data = json.dumps(value, separators=(",", ":")).encode()
    shape = [len(value)] if isinstance(value, tuple) else []
    return FeatureRow(array=path, dtype=_TEXT, shape=shape, data=data)


def decode_array(row: FeatureRow) -> Any:
    """The array, tuple or text that a row of contract `features` holds."""
    if row.dtype == _TEXT:
        return _as_tuple(json.loads(row.data))
    dtype = np.dtype(row.dtype).newbyteorder("<")
    array = np.frombuffer(row.data, dtype=dtype).reshape(row.shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _as_tuple(value: object) -> object:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
