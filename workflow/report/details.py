"""One job's details as the page reads them: structure, PAE, traces, tables."""

import json
import math
from collections.abc import Callable
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
    SCORES,
    Contract,
)
from af3_core.structures.structure import Structure, select
from workflow.report.encode import encode_matrix, pack_sections
from workflow.report.jobs import JobRow, read_columns
from workflow.report.layout import msa_depth, read_layout
from workflow.report.samples import read_prediction, read_relaxation

MAX_PAE_SIDE = 768
"""Larger PAE matrices are averaged over squares of tokens before embedding."""


@dataclass(frozen=True)
class Detail:
    """One job's details, ready to embed."""

    packed: str
    provenance: dict[str, object]


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
    relaxation = read_relaxation(results, job)
    turn = turn_flat(positions)
    head = {
        "seed": job.best["seed"],
        "sample": job.best["sample"],
        "pae": {"side": len(pae), "stride": stride, "tokens": len(prediction.pae)},
        "atoms": _atoms(atoms, token_index, plddt),
        "positions": _positions(turn(positions)),
        "tokens": _tokens(atoms, token_index, plddt),
        "msa_depth": msa_depth(layout.msa_rows).tolist(),
        "provenance": provenance,
        "relaxed": relaxation.facts if relaxation else None,
        "relaxed_positions": (
            _positions(turn(relaxation.positions[placed]))
            if relaxation and relaxation.positions is not None
            else None
        ),
        **_tables_of(job, tables),
    }
    return Detail(pack_sections(head, encode_matrix(pae)), provenance)


def turn_flat(
    positions: Float[ndarray, "a 3"],
) -> Callable[[Float[ndarray, "a 3"]], Float[ndarray, "a 3"]]:
    """How to turn atoms so that they are widest along x, thinnest along z, the view.

    The turn is returned rather than its result, for other positions of the same atoms.
    """
    finite = positions[np.isfinite(positions).all(axis=-1)]
    if len(finite) < 3:
        return lambda others: others
    centre = finite.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(finite, rowvar=False))
    rotation = axes[:, ::-1].astype(positions.dtype)
    rotation[:, 2] *= np.sign(np.linalg.det(rotation))  # no mirror images
    return lambda others: (others - centre) @ rotation


def _tables_of(job: JobRow, tables: Tables) -> dict[str, object]:
    sample = (job.best["seed"], job.best["sample"])
    return {
        "chains": tables.chains[job.job_id],
        "scores": sorted(tables.scores[job.job_id], key=lambda row: row["rank"]),
        "interfaces": _of_sample(tables.interfaces[job.job_id], sample),
    }


def _of_sample(
    rows: list[dict[str, object]], sample: tuple[object, object]
) -> list[dict[str, object]]:
    found = [row for row in rows if (row["seed"], row["sample"]) == sample]
    return [{k: v for k, v in r.items() if k not in ("seed", "sample")} for r in found]


def _atoms(
    atoms: Structure, token_index: Int[ndarray, "a"], plddt: Float[ndarray, "a"]
) -> dict[str, object]:
    """Columns of atoms."""
    return {
        "token": token_index.tolist(),
        "name": atoms.atom_name.tolist(),
        "element": atoms.element.tolist(),
        "plddt": rounded(plddt),
    }


def _positions(positions: Float[ndarray, "a 3"]) -> list[int | None]:
    """Flat, in 0.01 Å; null where they are not finite."""
    steps = np.round(positions * 100).ravel().tolist()
    return [int(step) if math.isfinite(step) else None for step in steps]


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
