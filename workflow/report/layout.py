"""What the report needs of a job's features: its atoms, tokens and alignment."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Int, Int8
from numpy import ndarray

from af3_core.contracts import FEATURES
from af3_core.features.values import decode_array
from af3_core.msa import GAP
from af3_core.structures.structure import Structure
from workflow.tables import read_columns

_ARRAYS = (
    "chains.chain_id",
    "chains.kind",
    "atoms.chain_index",
    "atoms.residue_id",
    "atoms.residue_name",
    "atoms.atom_name",
    "atoms.element",
    "atoms.token_index",
    "msa.rows",
    "dropped_chains",
)


@dataclass(frozen=True)
class Layout:
    """Atoms in the order of the predictions, and the token of each."""

    structure: Structure
    """Without positions: all are zero."""
    token_index: Int[ndarray, "a"]
    """0-based token of each atom; -1 for atoms the model cannot place."""
    msa_rows: Int8[ndarray, "s n"]
    """The stacked alignment, the query first."""
    dropped_chains: tuple[str, ...]
    """Ids of chains that were asked for but hold nothing the model knows."""


def read_layout(path: Path) -> Layout:
    """Reads those arrays of a job's features table that the report shows.

    Raises:
        ContractError: the file is not a features table.
        FileNotFoundError: there is no such file.
    """
    wanted = pc.field("array").isin(_ARRAYS)
    rows = FEATURES.rows(read_columns(path, FEATURES, where=wanted))
    arrays = {row.array: decode_array(row) for row in rows}
    chain_index = arrays["atoms.chain_index"]
    structure = Structure(
        chain_id=np.array(arrays["chains.chain_id"])[chain_index],
        residue_id=arrays["atoms.residue_id"],
        residue_name=np.array(arrays["atoms.residue_name"]),
        atom_name=np.array(arrays["atoms.atom_name"]),
        element=np.array(arrays["atoms.element"]),
        kind=np.array(arrays["chains.kind"])[chain_index],
        positions=np.zeros((len(chain_index), 3), np.float32),
    )
    return Layout(
        structure=structure,
        token_index=arrays["atoms.token_index"],
        msa_rows=arrays["msa.rows"],
        dropped_chains=tuple(arrays["dropped_chains"]),
    )


def msa_depth(rows: Int8[ndarray, "s n"]) -> Int[ndarray, "n"]:
    """How many rows, the query among them, have no gap at each token."""
    return (rows != GAP).sum(axis=0)
