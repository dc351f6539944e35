"""Reads the best sample of a job: its prediction and its relaxation."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, UInt16
from numpy import ndarray

from af3_core.contracts import PREDICTIONS, RELAXED, Column, Contract, ContractError
from workflow.report.jobs import JobRow, read_columns


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


def prediction_path(results: Path, job: JobRow) -> Path | None:
    """The file that holds a job's best sample; None for a job without scores."""
    if job.best is None:
        return None
    return results / "predictions" / f"{job.job_id}.{job.best['seed']}.parquet"


def read_prediction(results: Path, job: JobRow) -> Prediction | None:
    """A job's best sample, if its file is there."""
    path = prediction_path(results, job)
    columns = ["positions", "atom_plddt", "pae", "provenance"]
    rows = _rows_of_best(path, job, PREDICTIONS, columns)
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


def read_provenance(results: Path, job: JobRow) -> dict[str, object]:
    """What made a job's best sample; empty where its file cannot tell."""
    path = prediction_path(results, job)
    try:
        rows = _rows_of_best(path, job, PREDICTIONS, ["provenance"])
    except (OSError, ValueError, ContractError):
        return {}
    return {} if rows is None else json.loads(rows["provenance"][0].as_py())


def read_relaxation(results: Path, job: JobRow) -> Relaxation | None:
    """The relaxation of a job's best sample, if there is one."""
    path = results / "relaxed" / f"{job.job_id}.{job.best['seed']}.parquet"
    facts_of = [c.name for c in RELAXED.columns if _is_fact(c)]
    rows = _rows_of_best(path, job, RELAXED, [*facts_of, "positions"])
    if rows is None:
        return None
    positions = rows["positions"][0]
    facts = rows.select(facts_of).to_pylist()[0]
    if not positions.is_valid:
        return Relaxation(facts, None)
    return Relaxation(facts, positions.values.to_numpy().reshape(-1, 3))


def _is_fact(column: Column) -> bool:
    return column.name not in RELAXED.key and not pa.types.is_list(column.type)


def _rows_of_best(
    path: Path | None, job: JobRow, contract: Contract, columns: list[str] | None
) -> pa.Table | None:
    if path is None or not path.is_file():
        return None
    is_best = pc.field("sample") == job.best["sample"]
    rows = read_columns(path, contract, columns, is_best)
    return rows if rows.num_rows else None
