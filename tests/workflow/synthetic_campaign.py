"""Tables of a made-up campaign that fulfil the contracts: bundles of ideal helices."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from af3_core.columns import Column, Contract
from af3_core.contracts import (
    CHAINS,
    FEATURES,
    INTERFACES,
    JOBS,
    OUTCOMES,
    PREDICTIONS,
    PROVENANCE,
    RELAXED,
    SCORES,
    TIMINGS,
)
from af3_core.msa import GAP
from af3_core.structures.mmcif_origin import WeightsOrigin
from af3_core.structures.structure import Structure
from tests.oracles.dockq_scores import pdb_text
from workflow.batches import Batch, Plan, write_plan_file
from workflow.campaign import Campaign
from workflow.results.batch_files import BatchFiles
from workflow.tables import write_json, write_table

# Radius (Å), angle (deg) and height (Å) of an alpha helix's atoms around its axis.
_HELIX = {
    "N": (1.55, -27.9, -0.90),
    "CA": (2.28, 0.0, 0.0),
    "C": (1.66, 26.6, 1.06),
    "O": (1.97, 23.2, 2.26),
    "CB": (3.30, -18.4, -0.61),
}
_SEGMENT = 18
_CODES = {"A": "ALA", "E": "GLU", "K": "LYS", "L": "LEU"}


@dataclass(frozen=True)
class Chain:
    """One chain to make up: residues of a protein, or atoms of a ligand."""

    id: str
    length: int
    kind: str = "protein"
    name: str = "ATP"


@dataclass(frozen=True)
class MadeUpJob:
    """One job to make up."""

    name: str
    chains: tuple[Chain, ...]
    seed: int = 1
    samples: int = 2
    source: str = "inputs/jobs.fasta"
    dropped: tuple[str, ...] = ()
    """Chains that the features leave out."""
    quality: float = 0.7
    """pTM and ranking score of the best sample."""
    weights_origin: WeightsOrigin = "untrained"

    @property
    def job_id(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()[:16]

    @property
    def num_tokens(self) -> int:
        return sum(chain.length for chain in self.chains)


THREE_JOBS = (
    MadeUpJob("monomer", (Chain("A", 90),), source="inputs/a.fasta", quality=0.92),
    MadeUpJob("trimer", (Chain("A", 54), Chain("B", 54), Chain("C", 36)), quality=0.81),
    MadeUpJob(
        "with_ligand",
        (
            Chain("A", 72),
            Chain("B", 31, "ligand"),
            Chain("C", 1, "ligand", "MG"),
        ),
        quality=0.58,
    ),
)


def write_campaign(
    results: Path, jobs: tuple[MadeUpJob, ...], failures: list[dict[str, object]] = ()
) -> None:
    """Writes every table of a campaign in which these jobs succeeded."""
    plan, tables = results / "plan", results / "tables"
    write_table(plan / "jobs.parquet", JOBS, filled(JOBS, [job_row(j) for j in jobs]))
    chains = [row for job in jobs for row in chain_rows(job)]
    write_table(plan / "chains.parquet", CHAINS, filled(CHAINS, chains))
    made = [provenance_row(job) for job in jobs]
    path = tables / "provenance.parquet"
    write_table(path, PROVENANCE, filled(PROVENANCE, made))
    done = [outcome("predict", f"{j.job_id}.{j.seed}", "done", j.job_id) for j in jobs]
    outcomes = filled(OUTCOMES, [*done, *failures])
    write_table(tables / "outcomes.parquet", OUTCOMES, outcomes)
    scores, interfaces = [], []
    for job in jobs:
        predictions = prediction_rows(job)
        write_prediction(results, job, predictions)
        scores += score_rows(job, predictions)
        interfaces += interface_rows(job, predictions[0])
    write_relaxed(results, {f"{j.job_id}.{j.seed}": relaxed_row(j) for j in jobs})
    write_table(
        results / "timings" / "b0.parquet", TIMINGS, filled(TIMINGS, timing_rows(jobs))
    )
    write_table(tables / "scores.parquet", SCORES, filled(SCORES, scores))
    write_table(
        tables / "interfaces.parquet", INTERFACES, filled(INTERFACES, interfaces)
    )


def write_prediction(
    results: Path, job: MadeUpJob, predictions: list[dict[str, object]]
) -> None:
    """Writes the two files a job has of its own."""
    item = f"{job.job_id}.{job.seed}.parquet"
    predicted = filled(PREDICTIONS, predictions)
    write_table(results / "predictions" / item, PREDICTIONS, predicted)
    features = results / "features" / f"{job.job_id}.parquet"
    write_table(features, FEATURES, features_table(job))


def write_relaxed(results: Path, relaxed: dict[str, dict[str, object]]) -> None:
    """Writes one relaxed sample of every item, as a batch, and the plan."""
    files = BatchFiles(RELAXED, Campaign.of_results(results).relaxed)
    for name, row in relaxed.items():
        write_table(files.path(name), RELAXED, filled(RELAXED, [row]))
    files.join("b0", list(relaxed))
    plan = Plan(jobs={"b0": Batch(tuple(relaxed))})
    write_plan_file(Campaign.of_results(results), plan)


def write_reference(results: Path, job: MadeUpJob) -> None:
    """Writes a known structure of a job, turned and moved, and the setting for it."""
    columns = atom_columns(job)
    names = ("chain_id", "residue_id", "residue_name", "atom_name", "element", "kind")
    turned = columns["positions"][:, [1, 2, 0]] + (50.0, -20.0, 7.0)
    structure = Structure(**{n: columns[n] for n in names}, positions=turned)
    folder = results.parent / "known"
    folder.mkdir(exist_ok=True)
    (folder / f"{job.name}.pdb").write_text(pdb_text(structure))
    settings = {"score": {"references": "known"}}
    write_json(results / "plan" / "settings.json", settings)


def filled(contract: Contract, rows: list[dict[str, object]]) -> pa.Table:
    """A table of rows that name only what the report reads; the rest is neutral."""
    neutral = {c.name: _neutral(c) for c in contract.columns}
    known = [{k: row[k] for k in row if k in neutral} for row in rows]
    return contract.table([{**neutral, **row} for row in known])


def _neutral(column: Column) -> object:
    if column.nullable:
        return None
    if pa.types.is_list(column.type):
        return []
    if pa.types.is_large_binary(column.type):
        return b""
    return pa.scalar(0).cast(column.type).as_py()


def job_row(job: MadeUpJob) -> dict[str, object]:
    return {
        "job_id": job.job_id,
        "name": job.name,
        "source": job.source,
        "num_tokens": job.num_tokens,
        "seeds": [job.seed],
        "json": "{}",
    }


def provenance_row(job: MadeUpJob) -> dict[str, object]:
    json_columns = ("network", "backends", "search_engines", "databases")
    return {
        "job_id": job.job_id,
        "seed": job.seed,
        "bucket": 256,
        **dict.fromkeys(json_columns, "{}"),
    }


def chain_rows(job: MadeUpJob) -> list[dict[str, object]]:
    return [
        {
            "job_id": job.job_id,
            "entity_index": index,
            "kind": chain.kind,
            "chain_ids": [chain.id],
            "sequence_id": None if chain.kind == "ligand" else f"seq-{chain.length}",
            "sequence": None if chain.kind == "ligand" else sequence(chain.length),
        }
        for index, chain in enumerate(job.chains)
    ]


def outcome(
    stage: str, item: str, status: str, job_id: str | None = None, **failure: str
) -> dict[str, object]:
    """A row of outcomes; `failure` has cause, evidence and remedy."""
    reasons = dict.fromkeys(("cause", "evidence", "remedy"))
    return {
        "stage": stage,
        "batch_id": "b0",
        "item": item,
        "job_id": job_id,
        "status": status,
        "seconds": 1.5,
        **reasons,
        **failure,
    }


def timing_rows(jobs: tuple[MadeUpJob, ...]) -> list[dict[str, object]]:
    """A batch that computes for 9 of every 10 s, the first item with compiling."""
    return [
        {
            "batch_id": "b0",
            "item": f"{job.job_id}.{job.seed}",
            "phase": phase,
            "start": 10.0 * place + start,
            "end": 10.0 * place + end,
            "bucket": 256,
            "num_tokens": job.num_tokens,
            "compiled": phase == "compute" and place == 0,
            "device": "made up",
        }
        for place, job in enumerate(jobs)
        for phase, start, end in (("load", 0.0, 1.0), ("compute", 1.0, 10.0))
    ]


def sequence(length: int) -> str:
    return ("LKELEKALAELAKKLEEA" * (length // _SEGMENT + 1))[:length]


def atom_columns(job: MadeUpJob) -> dict[str, np.ndarray]:
    """Names, tokens and positions of all atoms, flat."""
    rows = [
        row
        for place, chain in enumerate(job.chains)
        for row in (
            _ligand_atoms(chain, place)
            if chain.kind == "ligand"
            else _protein_atoms(chain, place)
        )
    ]
    keys = ("chain_id", "kind", "residue_id", "residue_name", "atom_name", "element")
    columns = {k: np.array([row[i] for row in rows]) for i, k in enumerate(keys)}
    columns["positions"] = np.array([row[6] for row in rows], np.float32)
    ligand = columns["kind"] == "ligand"
    is_new = np.append(True, np.diff(columns["residue_id"]) != 0)
    is_new[1:] |= columns["chain_id"][1:] != columns["chain_id"][:-1]
    starts = is_new | ligand
    columns["token_index"] = np.cumsum(starts) - 1
    return columns


def _protein_atoms(chain: Chain, place: int) -> list[tuple[object, ...]]:
    rows = []
    for index, code in enumerate(sequence(chain.length)):
        segment, step = divmod(index, _SEGMENT)
        for atom, (radius, angle, height) in _HELIX.items():
            turn = np.deg2rad(100.0 * step + angle)
            x, y = radius * np.cos(turn), radius * np.sin(turn)
            z = 1.5 * step + height
            if segment % 2:  # half a turn about x: the chain comes back
                y, z = -y, 1.5 * _SEGMENT - z
            position = (x + 10.0 * segment, y + 11.0 * place, z)
            residue = _CODES[code]
            rows.append(
                (chain.id, "protein", index + 1, residue, atom, atom[0], position)
            )
    return rows


def _ligand_atoms(chain: Chain, place: int) -> list[tuple[object, ...]]:
    element = "Mg" if chain.name == "MG" else "C"
    turns = np.arange(chain.length) * 1.1
    spots = np.stack([1.3 * np.cos(turns), 1.3 * np.sin(turns), 0.45 * turns], axis=1)
    return [
        (
            chain.id,
            "ligand",
            1,
            chain.name,
            chain.name if chain.length == 1 else f"C{i + 1}'",
            element,
            tuple(spot + (5.0, 9.0 * place, 8.0)),
        )
        for i, spot in enumerate(spots)
    ]


def features_table(job: MadeUpJob) -> pa.Table:
    """The arrays of a job's features that the report reads."""
    columns = atom_columns(job)
    ids = [chain.id for chain in job.chains]
    arrays = {
        "chains.chain_id": np.array(ids),
        "chains.kind": np.array([chain.kind for chain in job.chains]),
        "atoms.chain_index": np.array([ids.index(c) for c in columns["chain_id"]]),
        "msa.rows": made_up_alignment(job.num_tokens),
        "dropped_chains": np.array(job.dropped, str),
    }
    for name in ("residue_id", "residue_name", "atom_name", "element", "token_index"):
        arrays[f"atoms.{name}"] = columns[name]
    return filled(FEATURES, [_array_row(name, arrays[name]) for name in arrays])


def made_up_alignment(num_tokens: int) -> np.ndarray:
    """300 rows that end one after the other, so that depth falls towards the end."""
    ends = np.linspace(num_tokens // 3, num_tokens, 300).astype(int)
    is_residue = np.arange(num_tokens) < ends[:, None]
    return np.where(is_residue, 0, GAP).astype(np.int8)


def _array_row(name: str, array: np.ndarray) -> dict[str, object]:
    text = array.dtype.kind == "U"
    return {
        "array": name,
        "dtype": "text" if text else array.dtype.name,
        "shape": list(array.shape),
        "data": json.dumps(array.tolist()).encode() if text else array.tobytes(),
    }


def prediction_rows(job: MadeUpJob) -> list[dict[str, object]]:
    """Samples from good to bad; PAE grows with the distance between tokens."""
    columns = atom_columns(job)
    _, first = np.unique(columns["token_index"], return_index=True)
    centres = columns["positions"][first]
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    rng = np.random.default_rng(int(job.job_id[:8], 16))
    num_chains = len(job.chains)
    rows = []
    for sample in range(job.samples):
        quality = job.quality - 0.1 * sample
        wave = np.sin(np.arange(len(first)) / 9.0)[columns["token_index"]]
        noise = rng.normal(0.0, 3.0, len(columns["token_index"]))
        plddt = np.clip(100 * quality + 14 * wave + noise, 5, 98)
        jitter = rng.uniform(0.0, 1.0, distance.shape)
        pae = np.clip(distance * (1.3 - quality) + jitter, 0, 31)
        contacts = (100 * (distance < 8)).astype(np.uint8).ravel().tolist()
        pairs = np.full(num_chains * num_chains, quality - 0.1)
        rows.append(
            {
                "job_id": job.job_id,
                "seed": job.seed,
                "sample": sample,
                "positions": columns["positions"].ravel().tolist(),
                "atom_plddt": plddt.tolist(),
                "pae": np.round(pae * 10).astype(np.uint16).ravel().tolist(),
                "contact_probs": contacts,
                "ptm": quality,
                "iptm": quality - 0.1 if num_chains > 1 else None,
                "ranking_score": quality,
                "has_clash": False,
                "fraction_disordered": 0.0,
                "chain_ptm": [quality] * num_chains,
                "chain_iptm": [quality - 0.1] * num_chains,
                "chain_pair_iptm": pairs.tolist(),
                "chain_pair_pae_min": (0 * pairs + 1.0).tolist(),
                "chain_pair_pde_mean": (0 * pairs + 2.0).tolist(),
                "provenance": json.dumps(
                    {
                        "weights": {"name": "made up", "sha256": "0" * 64},
                        "weights_origin": job.weights_origin,
                    }
                ),
            }
        )
    return rows


def score_rows(
    job: MadeUpJob, predictions: list[dict[str, object]]
) -> list[dict[str, object]]:
    shared = ("seed", "sample", "ranking_score", "ptm", "iptm", "has_clash")
    return [
        {
            "job_id": job.job_id,
            "name": job.name,
            "rank": rank,
            "num_tokens": job.num_tokens,
            "num_chains": len(job.chains),
            **{key: prediction[key] for key in shared},
            "mean_plddt": float(np.mean(prediction["atom_plddt"])),
            "fraction_disordered": 0.0,
            "clashes": 3 * (rank - 1),
            "relax_status": "relaxed" if rank == 1 else None,
            "relaxed_clashes": 0 if rank == 1 else None,
        }
        for rank, prediction in enumerate(predictions, start=1)
    ]


def interface_rows(
    job: MadeUpJob, prediction: dict[str, object]
) -> list[dict[str, object]]:
    return [
        {
            "job_id": job.job_id,
            "seed": job.seed,
            "sample": 0,
            "chain_1": one.id,
            "chain_2": two.id,
            "iptm": prediction["iptm"],
            "pae_min": 1.0 + place,
            "contacts": 12 - place,
            "ipsae_max": 0.7 - 0.01 * place,
        }
        for place, (one, two) in enumerate(
            (a, b) for a in job.chains for b in job.chains if a.id != b.id
        )
    ]


def relaxed_row(job: MadeUpJob) -> dict[str, object]:
    counts = {
        f"{name}_{when}": number
        for name in (
            "clashes",
            "bond_violations",
            "angle_violations",
            "chirality_errors",
        )
        for when, number in (("before", 2), ("after", 0))
    }
    return {
        "job_id": job.job_id,
        "seed": job.seed,
        "sample": 0,
        "status": "relaxed",
        "reason": None,
        "positions": (atom_columns(job)["positions"] * 1.01).ravel().tolist(),
        "treatments": json.dumps({"B/1": "held in place"}),
        "hydrogen_names": None,
        "hydrogen_parents": None,
        "hydrogen_positions": None,
        "energy_before": 1250.0,
        "energy_after": -8421.0,
        **counts,
        "rmsd": 0.21,
        "seconds": 4.2,
    }
