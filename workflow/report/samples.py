"""Reads the samples of a job: predictions and their relaxation."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, UInt16
from numpy import ndarray

from af3_core.columns import Column, ContractError
from af3_core.contracts import PREDICTIONS, RELAXED
from workflow.campaign import Campaign
from workflow.report.jobs import ListedJob
from workflow.results.batch_files import BatchFiles
from workflow.tables import DamagedFile, read_columns


@dataclass(frozen=True)
class Prediction:
    """What is shown of one sample."""

    positions: Float[ndarray, "a 3"]
    """Å."""
    atom_plddt: Float[ndarray, "a"]
    pae: UInt16[ndarray, "n n"]
    """0.1 Å."""
    provenance: str
    """JSON."""


@dataclass(frozen=True)
class Relaxation:
    """What became of relaxing one sample."""

    facts: dict[str, object]
    """The row of contract `relaxed` without its key and its lists."""
    positions: Float[ndarray, "a 3"] | None
    """Å; None where relaxation gave none."""


@dataclass(frozen=True)
class Sample:
    """Which of a job's structures."""

    job_id: str
    seed: int
    sample: int

    @property
    def key(self) -> str:
        """How the page calls what it holds of this sample."""
        return f"{self.job_id}.{self.seed}.{self.sample}"

    @property
    def item(self) -> str:
        """The seed of the job that it is of."""
        return f"{self.job_id}.{self.seed}"

    def path(self, results: Path) -> Path:
        """The file that holds all predicted samples of the seed."""
        return Campaign.of_results(results).prediction(self.item)


def best_sample(job: ListedJob) -> Sample | None:
    """A job's best sample; None for a job without scores."""
    if job.best is None or job.job_id is None:
        return None
    return Sample(job.job_id, job.best["seed"], job.best["sample"])


def read_prediction(results: Path, sample: Sample | None) -> Prediction | None:
    """A sample's prediction, if its file is there."""
    columns = ["positions", "atom_plddt", "pae", "provenance"]
    rows = _predicted(results, sample, columns)
    if rows is None:
        return None
    positions, plddt, pae = (rows[name][0].values.to_numpy() for name in columns[:3])
    side = math.isqrt(len(pae))
    return Prediction(
        positions.reshape(-1, 3),
        plddt,
        pae.reshape(side, side),
        rows["provenance"][0].as_py(),
    )


def read_provenance(results: Path, sample: Sample | None) -> dict[str, object]:
    """What made a sample; empty where its file cannot tell."""
    try:
        rows = _predicted(results, sample, ["provenance"])
    except (OSError, ValueError, ContractError, DamagedFile):
        return {}
    return {} if rows is None else json.loads(rows["provenance"][0].as_py())


def read_relaxation(
    results: Path, sample: Sample, batch: str | None
) -> Relaxation | None:
    """The relaxation of a sample in the file of its batch, if there is one."""
    if batch is None:
        return None
    files = BatchFiles(RELAXED, Campaign.of_results(results).relaxed)
    try:
        rows = files.rows(batch, sample.item)
    except FileNotFoundError:
        return None
    for row in rows:
        if row.sample == sample.sample:
            names = (c.name for c in RELAXED.columns if _is_fact(c))
            facts = {name: getattr(row, name) for name in names}
            places = row.positions
            return Relaxation(facts, None if places is None else places.reshape(-1, 3))
    return None


def _is_fact(column: Column) -> bool:
    return column.name not in RELAXED.key and not pa.types.is_list(column.type)


def _predicted(
    results: Path, sample: Sample | None, columns: list[str]
) -> pa.Table | None:
    if sample is None or not sample.path(results).is_file():
        return None
    is_wanted = pc.field("sample") == sample.sample
    rows = read_columns(sample.path(results), PREDICTIONS, columns, is_wanted)
    return rows if rows.num_rows else None
