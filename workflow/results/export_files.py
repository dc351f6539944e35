"""The files of one job as AlphaFold 3 lays them out, and the other formats beside."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from af3_core.af3_output import (
    OutputNames,
    best_output_names,
    distogram_name,
    embeddings_name,
    format_confidences,
    format_ranking_scores,
    format_summary,
    input_name,
    output_names,
    ranking_name,
    summary_confidences,
)
from af3_core.contracts import (
    PREDICTIONS,
    JobRow,
    PredictionRow,
    RelaxedRow,
    ScoreRow,
)
from af3_core.features.values import Features
from af3_core.job import write_job
from af3_core.structures.formats import find_pdb_obstacle, to_binary_cif, to_pdb
from af3_core.structures.hydrogens import add_hydrogens
from af3_core.structures.mmcif import write_mmcif
from af3_core.structures.mmcif_origin import (
    TERMS_NAME,
    Origin,
    foldmill_origin,
    format_terms,
    relaxed_origin,
)
from af3_core.structures.structure import (
    Chemistry,
    Structure,
    chemistry_of,
    structure_of,
)
from workflow.campaign import Campaign
from workflow.engine.items import log
from workflow.needs import chain_needs
from workflow.results.features_file import read_features
from workflow.results.trunk_files import is_trunk_file_current
from workflow.searching.again import with_searches
from workflow.searching.evidence import add_evidence
from workflow.settings import Export, Settings
from workflow.step import job_of
from workflow.tables import read_made_from, read_rows

RELAXED_FOLDER = "relaxed"
type File = tuple[str, bytes | Path]
"""Path inside the job's folder, and content or the file that has it."""


def job_files(
    campaign: Campaign,
    job: JobRow,
    scores: list[ScoreRow],
    relaxed: Callable[[str], list[RelaxedRow]],
    settings: Settings,
) -> Iterator[File]:
    """Everything that is exported of a job, one file at a time; see `export_job`."""
    name = job.name
    features = read_features(campaign.features(job.job_id))
    shared = _Job(name, features, chemistry_of(features))
    for score in scores:
        places = []
        if score.rank == 1:
            places.append(best_output_names(name))
        if settings.export.samples == "all":
            places.append(output_names(name, score.seed, score.sample))
        if not places:
            continue
        path = campaign.prediction(_item_of(score))
        rows = read_rows(path, PREDICTIONS) if path.is_file() else []
        prediction = _row_of(score, rows)
        if prediction is None:
            raise LookupError(
                f"seed {score.seed}, sample {score.sample} of {name} has scores "
                "but no prediction; the next start of the campaign makes it again"
            )
        found = relaxed(_item_of(score)) if settings.export.relaxed else []
        files = list(
            _sample_files(
                shared, score, prediction, _row_of(score, found), settings.export
            )
        )
        for names in places:
            yield from ((_place(names, role), data) for role, data in files)
        if score.rank == 1:
            yield TERMS_NAME, format_terms(_origin(prediction).usage).encode()
    yield from _trunk_files(campaign, name, scores, settings)
    asked = job_of(job)
    complete = with_searches(
        partial(add_evidence, asked, settings), chain_needs(asked), settings.search
    )
    yield input_name(name), write_job(complete).encode()
    ranking = sorted((s.seed, s.sample, s.ranking_score) for s in scores)
    yield ranking_name(name), format_ranking_scores(ranking).encode()


def _trunk_files(
    campaign: Campaign, name: str, scores: list[ScoreRow], settings: Settings
) -> Iterator[File]:
    """What is kept of the trunk, for the seeds of the samples that are exported."""
    names = {"embeddings": embeddings_name, "distogram": distogram_name}
    is_all = settings.export.samples == "all"
    exported = [score for score in scores if is_all or score.rank == 1]
    for item, seed in {_item_of(score): score.seed for score in exported}.items():
        made_from = read_made_from(campaign.prediction(item))
        for kind in settings.predict.trunk_files:
            path = campaign.trunk_file(kind, item)
            if is_trunk_file_current(path, made_from=made_from):
                yield names[kind](name, seed), path


@dataclass(frozen=True, eq=False)
class _Job:
    """What all samples of a job share."""

    name: str
    features: Features
    chemistry: Chemistry


def _place(names: OutputNames, role: str) -> str:
    """Path of a file of one sample; `role` is an AF3 file's, or its ending.

    Relaxed structures have a folder of their own: some programs want exactly one
    mmCIF file where AF3 has one.
    """
    known = {
        "model": names.model,
        "confidences": names.confidences,
        "summary": names.summary,
    }
    if role in known:
        return known[role]
    path = names.model.removesuffix("_model.cif") + role
    return f"{RELAXED_FOLDER}/{Path(path).name}" if "relaxed" in role else path


def _sample_files(
    job: _Job,
    score: ScoreRow,
    prediction: PredictionRow,
    relaxed: RelaxedRow | None,
    settings: Export,
) -> Iterator[File]:
    """Contents by role: those of AF3, and endings of the others."""
    item = _item_of(score)
    features, origin = job.features, _origin(prediction)
    positions = prediction.positions.astype(np.float64).reshape(-1, 3)
    structure = structure_of(features, positions)
    plddt = prediction.atom_plddt
    mmcif = _mmcif(job, structure, plddt, origin, features.bonded_atoms)
    yield "model", mmcif.encode()
    yield from _other_formats(mmcif, "_model", settings, item)
    yield "confidences", format_confidences(prediction, features).encode()
    summary = summary_confidences(prediction, features.chains.chain_id)
    yield "summary", format_summary(summary).encode()
    if relaxed is not None and relaxed.positions is not None:
        mmcif = _relaxed_mmcif(
            job, relaxed, relaxed.positions, plddt, relaxed_origin(origin)
        )
        yield "_relaxed.cif", mmcif.encode()
        yield from _other_formats(mmcif, "_relaxed", settings, item)


def _item_of(score: ScoreRow) -> str:
    return f"{score.job_id}.{score.seed}"


def _row_of[T: (PredictionRow, RelaxedRow)](
    score: ScoreRow, rows: Iterable[T]
) -> T | None:
    """A sample's row among those of its seed."""
    return next((row for row in rows if row.sample == score.sample), None)


def _origin(prediction: PredictionRow) -> Origin:
    facts = json.loads(prediction.provenance)
    return foldmill_origin(
        facts["foldmill"],
        facts["weights"][:16],
        facts["weights_origin"],
        facts.get("weights_version", ""),
    )


def _other_formats(
    mmcif: str, ending: str, settings: Export, item: str
) -> Iterator[File]:
    if "bcif" in settings.formats:
        yield f"{ending}.bcif", to_binary_cif(mmcif)
    if "pdb" in settings.formats:
        obstacle = find_pdb_obstacle(mmcif)
        if obstacle is None:
            yield f"{ending}.pdb", to_pdb(mmcif).encode()
        else:
            log(f"{item}: no PDB file: {obstacle}")


def _relaxed_mmcif(
    job: _Job,
    relaxed: RelaxedRow,
    positions: Float[ndarray, "coordinates"],
    plddt: Float[ndarray, "a"],
    origin: Origin,
) -> str:
    """The relaxed structure, with its hydrogens if they were kept."""
    structure = structure_of(job.features, positions.astype(np.float64).reshape(-1, 3))
    bonds = job.features.bonded_atoms
    names, parents = relaxed.hydrogen_names, relaxed.hydrogen_parents
    places = relaxed.hydrogen_positions
    if names is not None and parents is not None and places is not None:
        found = add_hydrogens(
            structure,
            names,
            parents.astype(np.int64),
            places.astype(np.float64).reshape(-1, 3),
        )
        structure, plddt = found.structure, plddt[found.source]
        bonds = found.row_of[bonds]
    return _mmcif(job, structure, plddt, origin, bonds)


def _mmcif(
    job: _Job,
    structure: Structure,
    plddt: Float[ndarray, "a"],
    origin: Origin,
    bonds: Int[ndarray, "e 2"],
) -> str:
    return write_mmcif(
        structure,
        plddt,
        job.features.chains,
        job.chemistry.components,
        name=job.name,
        origin=origin,
        bonds=bonds,
    )
