"""A recorded case: the input of a job, its features, and what AlphaFold 3 computed."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from af3_core.inputs.files import read_jobs
from af3_core.job import Job
from af3_core.model.batch import Batch
from tests.parity.adapter import batch_from_features


@dataclass(frozen=True)
class Case:
    """The files of one case."""

    json_path: Path
    npz_path: Path

    @functools.cached_property
    def recorded(self) -> dict[str, np.ndarray]:
        """All recorded arrays."""
        with np.load(self.npz_path) as arrays:
            return dict(arrays)

    @functools.cached_property
    def job(self) -> Job:
        """The job of the JSON file; the first, if it holds several."""
        jobs, errors = read_jobs(self.json_path)
        if errors:
            raise errors[0]
        return jobs[0]

    @property
    def seed(self) -> int:
        """The job's first seed, with which everything was recorded."""
        return self.job.seeds[0]

    @property
    def stride(self) -> int:
        """Arrays over pairs of tokens keep every stride-th row and column."""
        return int(self.recorded.get("stride", 1))

    @functools.cached_property
    def batch(self) -> Batch:
        """The recorded features."""
        prefix = "batch."
        return batch_from_features(
            {
                key.removeprefix(prefix): value
                for key, value in self.recorded.items()
                if key.startswith(prefix)
            }
        )

    @property
    def token_mask(self) -> np.ndarray:
        """Real tokens."""
        return np.asarray(self.batch.tokens.mask)

    @property
    def pair_mask(self) -> np.ndarray:
        """Real pairs of tokens among those that are recorded."""
        mask = self.token_mask[:: self.stride]
        return mask[:, None] & mask[None, :]

    @property
    def atom_mask(self) -> np.ndarray:
        """Atoms of the output."""
        return np.asarray(self.batch.predicted_atom_mask)


def on_device(batch: Batch) -> Batch:
    """The batch as JAX arrays, without alignment rows that hold nothing.

    Which rows the model draws does not depend on the number of empty rows.
    """
    mask = np.asarray(batch.msa.mask)
    depth = max(1, int(np.flatnonzero(mask.any(axis=1)).max(initial=0)) + 1)
    msa = replace(
        batch.msa,
        rows=batch.msa.rows[:depth],
        mask=mask[:depth],
        deletion_matrix=batch.msa.deletion_matrix[:depth],
    )
    return jax.tree.map(jnp.asarray, replace(batch, msa=msa))
