"""A job's features, the conformers of its seeds, and where its evidence is from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float
from numpy import ndarray

from af3_core.contracts import FEATURES, FeatureRow
from af3_core.features.values import Features
from workflow.tables import read_columns, read_rows

_CONFORMERS = "conformers"
_SEARCH = "search"


def features_table(
    features: Features,
    positions: dict[int, Float[ndarray, "n x 3"]],
    search: Mapping[str, object],
) -> pa.Table:
    """Features and, by seed, reference positions (Å) as a table of the contract.

    `search` says what alignments and templates come from; see `evidence.search_facts`.
    """
    rows = features.to_rows()
    facts = json.dumps(search, sort_keys=True).encode()
    rows.append(FeatureRow(array=_SEARCH, dtype="text", shape=[], data=facts))
    for seed, values in positions.items():
        rows.append(
            FeatureRow(
                array=f"{_CONFORMERS}.{seed}",
                dtype="float32",
                shape=list(values.shape),
                data=values.astype("<f4").tobytes(),
            )
        )
    return FEATURES.table(rows)


def read_features(path: Path) -> Features:
    """The seed-independent features of a job."""
    rows = read_rows(path, FEATURES)
    return Features.from_rows(r for r in rows if not _is_no_feature(r.array))


def read_job_arrays(path: Path, seed: int) -> tuple[Features, Float[ndarray, "n x 3"]]:
    """The features of a job and the reference positions of one seed.

    Raises:
        LookupError: the file has no conformers of this seed.
    """
    rows = read_rows(path, FEATURES)
    features = Features.from_rows(r for r in rows if not _is_no_feature(r.array))
    for row in rows:
        if row.array == f"{_CONFORMERS}.{seed}":
            values = np.frombuffer(row.data, "<f4").reshape(row.shape)
            return features, values.astype(np.float32)
    raise LookupError(f"{path} has no conformers of seed {seed}")


def read_search_facts(path: Path) -> dict[str, Any]:
    """What a job's alignments and templates come from."""
    is_asked = pc.field("array") == _SEARCH
    rows = read_columns(path, FEATURES, ["data"], is_asked).to_pylist()
    return json.loads(rows[0]["data"])


def _is_no_feature(array: str) -> bool:
    return array == _SEARCH or array.startswith(f"{_CONFORMERS}.")
