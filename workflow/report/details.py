"""One job's details as the page reads them: structure, PAE, traces, tables."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int, UInt16
from numpy import ndarray

from af3_core.contracts import (
    CHAINS,
    INTERFACES,
    PREDICTIONS,
    RELAXED,
    SCORES,
    Contract,
)
from af3_core.structure import Structure, moved, select
from workflow.report.encode import encode_matrix, pack_sections
from workflow.report.jobs import JobRow, read_columns
from workflow.report.layout import msa_depth, read_layout

MAX_PAE_SIDE = 768
"""Larger PAE matrices are averaged over squares of tokens before embedding."""


@dataclass(frozen=True)
class Detail:
    """One job's details, ready to embed."""

    packed: str
    provenance: dict[str, object]


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
class Tables:
    """The campaign's small tables, cut to the jobs whose details are written."""

    chains: dict[str, list[dict[str, object]]]
    scores: dict[str, list[dict[str, object]]]
    interfaces: dict[str, list[dict[str, object]]]


def read_tables(results: Path, job_ids: list[str]) -> Tables:
    """Reads the rows of these jobs."""
    plan, tables = results / "plan", results / "tables"
    return Tables(
        chains=_rows_by_job(plan / "chains.parquet", CHAINS, job_ids),
        scores=_rows_by_job(tables / "scores.parquet", SCORES, job_ids),
        interfaces=_rows_by_job(tables / "interfaces.parquet", INTERFACES, job_ids),
    )


def _rows_by_job(
    path: Path, contract: Contract, job_ids: list[str]
) -> dict[str, list[dict[str, object]]]:
    wanted = pc.field("job_id").isin(pa.array(job_ids, pa.string()))
    by_job: dict[str, list[dict[str, object]]] = {job_id: [] for job_id in job_ids}
    for row in read_columns(path, contract, where=wanted).to_pylist():
        by_job[row.pop("job_id")].append(row)
    return by_job


def pack_details(results: Path, job: JobRow, tables: Tables) -> Detail | None:
    """Everything shown of one job's best sample, or None where nothing is predicted."""
    prediction = read_prediction(results, job)
    if prediction is None:
        return None
    layout = read_layout(results / "features" / f"{job.job_id}.parquet")
    placed = layout.token_index >= 0
    atoms, token_index = select(layout.structure, placed), layout.token_index[placed]
    positions = prediction.positions[placed]
    plddt = prediction.atom_plddt[placed]
    pae, stride = shrink_matrix(prediction.pae, MAX_PAE_SIDE)
    provenance = json.loads(prediction.provenance)
    head = {
        "seed": job.best["seed"],
        "sample": job.best["sample"],
        "pae": {"side": len(pae), "stride": stride, "tokens": len(prediction.pae)},
        "atoms": _atoms(moved(atoms, lay_flat(positions)), token_index, plddt),
        "tokens": _tokens(atoms, token_index, plddt),
        "msa_depth": msa_depth(layout.msa_rows).tolist(),
        "provenance": provenance,
        "relaxed": _relaxed(results, job),
        **_tables_of(job, tables),
    }
    return Detail(pack_sections(head, encode_matrix(pae)), provenance)


def prediction_path(results: Path, job: JobRow) -> Path | None:
    """The file that holds a job's best sample; None for a job without scores."""
    if job.best is None:
        return None
    return results / "predictions" / f"{job.job_id}.{job.best['seed']}.parquet"


def read_prediction(results: Path, job: JobRow) -> Prediction | None:
    """A job's best sample, if its file is there."""
    path = prediction_path(results, job)
    if path is None or not path.is_file():
        return None
    columns = ["positions", "atom_plddt", "pae", "provenance"]
    is_best = pc.field("sample") == job.best["sample"]
    rows = read_columns(path, PREDICTIONS, columns, is_best)
    if rows.num_rows == 0:
        return None
    positions, plddt, pae = (rows[name][0].values.to_numpy() for name in columns[:3])
    side = math.isqrt(len(pae))
    return Prediction(
        positions.reshape(-1, 3),
        plddt,
        pae.reshape(side, side),
        rows["provenance"][0].as_py(),
    )


def lay_flat(positions: Float[ndarray, "a 3"]) -> Float[ndarray, "a 3"]:
    """Turns atoms so that they are widest along x and thinnest along z, the view."""
    finite = positions[np.isfinite(positions).all(axis=-1)]
    if len(finite) < 3:
        return positions
    _, axes = np.linalg.eigh(np.cov(finite, rowvar=False))
    rotation = axes[:, ::-1].copy()
    rotation[:, 2] *= np.sign(np.linalg.det(rotation))  # no mirror images
    return (positions - finite.mean(axis=0)) @ rotation.astype(positions.dtype)


def _tables_of(job: JobRow, tables: Tables) -> dict[str, object]:
    sample = (job.best["seed"], job.best["sample"])
    return {
        "chains": tables.chains[job.job_id],
        "scores": sorted(tables.scores[job.job_id], key=lambda row: row["rank"]),
        "interfaces": _of_sample(tables.interfaces[job.job_id], sample),
    }


def _relaxed(results: Path, job: JobRow) -> list[dict[str, object]]:
    """The relaxation of the best sample, without its positions; may be none."""
    path = results / "relaxed" / f"{job.job_id}.{job.best['seed']}.parquet"
    if not path.is_file():
        return []
    columns = [n for n in RELAXED.schema.names if n not in ("job_id", "positions")]
    rows = read_columns(path, RELAXED, columns).to_pylist()
    return _of_sample(rows, (job.best["seed"], job.best["sample"]))


def _of_sample(
    rows: list[dict[str, object]], sample: tuple[object, object]
) -> list[dict[str, object]]:
    found = [row for row in rows if (row["seed"], row["sample"]) == sample]
    return [{k: v for k, v in r.items() if k not in ("seed", "sample")} for r in found]


def _atoms(
    atoms: Structure, token_index: Int[ndarray, "a"], plddt: Float[ndarray, "a"]
) -> dict[str, object]:
    """Columns of atoms; positions in 0.01 Å, null where they are not finite."""
    steps = np.round(atoms.positions * 100).ravel()
    return {
        "token": token_index.tolist(),
        "name": atoms.atom_name.tolist(),
        "element": atoms.element.tolist(),
        "xyz": [int(s) if math.isfinite(s) else None for s in steps.tolist()],
        "plddt": rounded(plddt),
    }


def _tokens(
    atoms: Structure, token_index: Int[ndarray, "a"], plddt: Float[ndarray, "a"]
) -> dict[str, object]:
    """Columns of tokens, each named by its first atom."""
    tokens, first = np.unique(token_index, return_index=True)
    if not np.array_equal(tokens, np.arange(len(tokens))):
        raise ValueError("some tokens have no atoms")
    return {
        "chain": atoms.chain_id[first].tolist(),
        "kind": atoms.kind[first].tolist(),
        "residue": atoms.residue_id[first].tolist(),
        "name": atoms.residue_name[first].tolist(),
        "plddt": rounded(token_means(plddt, token_index)),
    }


def rounded(values: Float[ndarray, "n"]) -> list[float]:
    """To one decimal, as short numbers."""
    return np.round(values.astype(np.float64), 1).tolist()


def token_means(
    values: Float[ndarray, "a"], token_index: Int[ndarray, "a"]
) -> Float[ndarray, "n"]:
    """Mean over the atoms of each token."""
    counts = np.bincount(token_index)
    return np.bincount(token_index, weights=values) / np.maximum(counts, 1)


def shrink_matrix(
    matrix: UInt16[ndarray, "n n"], max_side: int
) -> tuple[UInt16[ndarray, "m m"], int]:
    """Averages squares of `stride` × `stride` values until the matrix fits."""
    side = len(matrix)
    stride = -(-side // max_side)
    if stride <= 1:
        return matrix, 1
    starts = np.arange(0, side, stride)
    totals = np.add.reduceat(matrix.astype(np.uint32), starts, axis=0)
    totals = np.add.reduceat(totals, starts, axis=1)
    widths = np.diff(np.append(starts, side))
    return np.round(totals / np.outer(widths, widths)).astype(np.uint16), stride
