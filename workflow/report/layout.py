"""What the report needs of a job's features: its atoms, its tokens, its MSA depth."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int
from numpy import ndarray

from af3_core.contracts import FEATURES
from af3_core.structure import Structure
from workflow.tables import read_table


@dataclass(frozen=True)
class Layout:
    """Atoms in the order of the predictions, and the token of each."""

    structure: Structure
    token_index: Int[ndarray, "a"]
    """0-based token of each atom; tokens are in order."""
    msa_depth: Int[ndarray, "n"] | None
    """Aligned sequences without a gap at each token."""


def read_layout(path: Path) -> Layout:
    """Reads a job's features table.

    Raises:
        ContractError: the file is not a features table.
        FileNotFoundError: there is no such file.
    """
    arrays = _arrays(read_table(path, FEATURES))
    structure = Structure(
        chain_id=arrays["atoms.chain_id"],
        residue_id=arrays["atoms.residue_id"],
        residue_name=arrays["atoms.residue_name"],
        atom_name=arrays["atoms.atom_name"],
        element=arrays["atoms.element"],
        kind=arrays["atoms.kind"],
        positions=np.zeros((len(arrays["atoms.atom_name"]), 3), np.float32),
    )
    return Layout(structure, arrays["atoms.token_index"], arrays.get("msa.depth"))


def _arrays(table: pa.Table) -> dict[str, ndarray]:
    found = {}
    for row in table.to_pylist():
        if row["dtype"] == "text":
            flat = np.array(json.loads(row["data"]), dtype=str)
        else:
            flat = np.frombuffer(row["data"], dtype=row["dtype"])
        found[row["array"]] = flat.reshape(row["shape"])
    return found
