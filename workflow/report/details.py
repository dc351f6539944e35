"""One job's details as the page reads them: structure, PAE, traces, tables."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int, UInt16
from numpy import ndarray

from af3_core.columns import Contract
from af3_core.contracts import CHAINS, INTERFACES, SCORES
from af3_core.structures.structure import Structure, moved, select
from af3_core.structures.superposition import superpose
from workflow.report.encode import encode_matrix, pack_sections
from workflow.report.jobs import ListedJob
from workflow.report.layout import Layout, msa_depth, read_layout
from workflow.report.overlay import Overlay, read_overlay
from workflow.report.samples import (
    Prediction,
    Sample,
    best_sample,
    read_prediction,
    read_relaxation,
)
from workflow.tables import read_columns

MAX_PAE_SIDE = 768
"""Larger PAE matrices are averaged over squares of tokens before embedding."""


@dataclass(frozen=True)
class Detail:
    """One job's details, ready to embed."""

    packed: str
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Tables:
    """The campaign's small tables, cut to the jobs whose details are written."""

    chains: dict[str, list[dict[str, Any]]]
    scores: dict[str, list[dict[str, Any]]]
    interfaces: dict[str, list[dict[str, Any]]]
    batches: Mapping[str, str]
    """The batch of every `job.seed`."""


def read_tables(
    results: Path,
    job_ids: list[str],
    batches: Mapping[str, str],
    tables: Path | None = None,
) -> Tables:
    """Reads the rows of these jobs; `tables` as for `read_job_list`."""
    tables = tables or results / "tables"
    return Tables(
        chains=_rows_by_job(results / "plan/chains.parquet", CHAINS, job_ids),
        scores=_rows_by_job(tables / "scores.parquet", SCORES, job_ids),
        interfaces=_rows_by_job(tables / "interfaces.parquet", INTERFACES, job_ids),
        batches=batches,
    )


def _rows_by_job(
    path: Path, contract: Contract, job_ids: list[str]
) -> dict[str, list[dict[str, Any]]]:
    wanted = pc.field("job_id").isin(pa.array(job_ids, pa.string()))
    by_job: dict[str, list[dict[str, Any]]] = {job_id: [] for job_id in job_ids}
    for row in read_columns(path, contract, where=wanted).to_pylist():
        by_job[row.pop("job_id")].append(row)
    return by_job


def pack_details(
    results: Path, job: ListedJob, tables: Tables, references: Path | None = None
) -> Detail | None:
    """Everything shown of a job and its best sample, None where nothing is predicted.

    Args:
        references: the folder of known structures, if there is one.
    """
    best = best_sample(job)
    prediction = read_prediction(results, best)
    if best is None or prediction is None:
        return None
    layout = read_layout(results / "features" / f"{job.job_id}.parquet")
    view = _view_of(layout, prediction)
    overlay = read_overlay(references, job.name, view.atoms)
    head, pae = _sample_head(results, best, prediction, view, tables)
    provenance = json.loads(prediction.provenance)
    head |= {
        "atoms": {
            "token": view.token_index.tolist(),
            "name": view.atoms.atom_name.tolist(),
            "element": view.atoms.element.tolist(),
        },
        "tokens": _tokens(view.atoms, view.token_index),
        "msa_depth": msa_depth(layout.msa_rows).tolist(),
        "chains": tables.chains[best.job_id],
        "dropped_chains": list(layout.dropped_chains),
        "notes": list(job.notes),
        "scores": sorted(tables.scores[best.job_id], key=lambda row: row["rank"]),
        "overlay": _overlay(overlay, view),
    }
    return Detail(pack_sections(head, encode_matrix(pae)), provenance)


def other_samples(job: ListedJob, tables: Tables) -> list[Sample]:
    """A job's samples after the best, by rank."""
    best = best_sample(job)
    if best is None:
        return []
    rows = sorted(tables.scores[best.job_id], key=lambda row: row["rank"])
    samples = [Sample(best.job_id, row["seed"], row["sample"]) for row in rows]
    return [sample for sample in samples if sample != best]


def pack_sample(
    results: Path, job: ListedJob, sample: Sample, tables: Tables
) -> str | None:
    """What differs between samples, of one that is not the best; laid over the best."""
    best = read_prediction(results, best_sample(job))
    prediction = read_prediction(results, sample)
    if best is None or prediction is None:
        return None
    layout = read_layout(results / "features" / f"{job.job_id}.parquet")
    view = _view_of(layout, best)
    own = prediction.positions[view.placed]
    finite = np.isfinite(own).all(axis=-1) & np.isfinite(view.atoms.positions).all(-1)
    if finite.any():
        motion = superpose(own[finite], view.atoms.positions[finite])
        flat = view.turn
        view = replace(view, turn=lambda positions: flat(motion.apply(positions)))
    head, pae = _sample_head(results, sample, prediction, view, tables)
    return pack_sections(head, encode_matrix(pae))


@dataclass(frozen=True, eq=False)
class _View:
    """What all samples of a job are shown in."""

    atoms: Structure
    """Those that the model places, where the best sample has them."""
    placed: Bool[ndarray, "all"]
    token_index: Int[ndarray, "a"]
    turn: Callable[[Float[ndarray, "n 3"]], Float[ndarray, "n 3"]]


def _view_of(layout: Layout, best: Prediction) -> _View:
    placed = layout.token_index >= 0
    positions = best.positions[placed]
    atoms = moved(select(layout.structure, placed), positions)
    return _View(atoms, placed, layout.token_index[placed], turn_flat(positions))


def _sample_head(
    results: Path,
    sample: Sample,
    prediction: Prediction,
    view: _View,
    tables: Tables,
) -> tuple[dict[str, Any], UInt16[ndarray, "m m"]]:
    """What belongs to one sample, and its PAE matrix."""
    plddt = prediction.atom_plddt[view.placed]
    pae, stride = shrink_matrix(prediction.pae, MAX_PAE_SIDE)
    relaxation = read_relaxation(results, sample, tables.batches.get(sample.item))
    relaxed = relaxation.positions if relaxation else None
    head = {
        "seed": sample.seed,
        "sample": sample.sample,
        "pae": {"side": len(pae), "stride": stride, "tokens": len(prediction.pae)},
        "atom_plddt": rounded(plddt),
        "token_plddt": rounded(token_means(plddt, view.token_index)),
        "positions": _positions(view.turn(prediction.positions[view.placed])),
        "provenance": json.loads(prediction.provenance),
        "relaxed": relaxation.facts if relaxation else None,
        "relaxed_positions": (
            None if relaxed is None else _positions(view.turn(relaxed[view.placed]))
        ),
        "interfaces": _of_sample(tables.interfaces[sample.job_id], sample),
    }
    return head, pae


def _overlay(overlay: Overlay | None, view: _View) -> dict[str, Any] | None:
    if overlay is None:
        return None
    atoms = overlay.structure
    return {
        "label": overlay.name,
        "chain": atoms.chain_id.tolist(),
        "kind": atoms.kind.tolist(),
        "residue": atoms.residue_id.tolist(),
        "residue_name": atoms.residue_name.tolist(),
        "name": atoms.atom_name.tolist(),
        "element": atoms.element.tolist(),
        "positions": _positions(view.turn(atoms.positions)),
    }


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


def _of_sample(rows: list[dict[str, Any]], sample: Sample) -> list[dict[str, Any]]:
    key = (sample.seed, sample.sample)
    found = [row for row in rows if (row["seed"], row["sample"]) == key]
    return [{k: v for k, v in r.items() if k not in ("seed", "sample")} for r in found]


def _positions(positions: Float[ndarray, "a 3"]) -> list[int | None]:
    """Flat, in 0.01 Å; null where they are not finite."""
    steps = np.round(positions * 100).ravel().tolist()
    return [int(step) if math.isfinite(step) else None for step in steps]


def _tokens(atoms: Structure, token_index: Int[ndarray, "a"]) -> dict[str, Any]:
    """Columns of tokens, each named by its first atom."""
    tokens, first = np.unique(token_index, return_index=True)
    if not np.array_equal(tokens, np.arange(len(tokens))):
        raise ValueError("some tokens have no atoms")
    return {
        "chain": atoms.chain_id[first].tolist(),
        "kind": atoms.kind[first].tolist(),
        "residue": atoms.residue_id[first].tolist(),
        "name": atoms.residue_name[first].tolist(),
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
