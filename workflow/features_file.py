"""The features of a job and the conformers of its seeds, in one file."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from numpy import ndarray

from af3_core.contracts import FEATURES
from af3_core.features.values import Features
from workflow.tables import read_table

_CONFORMERS = "conformers"


def features_table(
    features: Features, positions: dict[int, Float[ndarray, "n x 3"]]
) -> pa.Table:
    """Features and, by seed, reference positions (Å) as a table of the contract."""
    rows = features.to_rows()
    for seed, values in positions.items():
        rows.append(
            {
                "array": f"{_CONFORMERS}.{seed}",
                "dtype": "float32",
                "shape": list(values.shape),
                "data": values.astype("<f4").tobytes(),
            }
        )
    return FEATURES.table(rows)


def read_features(path: Path) -> Features:
    """The seed-independent features of a job."""
    rows = read_table(path, FEATURES).to_pylist()
    return Features.from_rows(r for r in rows if not _is_conformer(r["array"]))


def read_job_arrays(path: Path, seed: int) -> tuple[Features, Float[ndarray, "n x 3"]]:
    """The features of a job and the reference positions of one seed.

    Raises:
        LookupError: the file has no conformers of this seed.
    """
    rows = read_table(path, FEATURES).to_pylist()
    features = Features.from_rows(r for r in rows if not _is_conformer(r["array"]))
    for row in rows:
        if row["array"] == f"{_CONFORMERS}.{seed}":
            values = np.frombuffer(row["data"], "<f4").reshape(row["shape"])
            return features, values.astype(np.float32)
    raise LookupError(f"{path} has no conformers of seed {seed}")


def _is_conformer(array: str) -> bool:
    return array.startswith(f"{_CONFORMERS}.")
