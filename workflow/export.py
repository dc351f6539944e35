"""Writes predictions as AlphaFold 3 folders, for the tools that read those.

    python -m workflow.export --batch ID

The folder of a job is `results/alphafold3/NAME`: mmCIF and JSON of its best sample, or
of every sample as the setting `export.samples` says, its input with alignments and
templates, and the ranking of all samples.
"""

import json
import time
from pathlib import Path

import numpy as np

from af3_core.af3_output import (
    OutputNames,
    best_output_names,
    format_confidences,
    format_ranking_scores,
    format_summary,
    input_name,
    output_names,
    ranking_name,
    summary_confidences,
)
from af3_core.contracts import PREDICTIONS, SCORES
from af3_core.features.values import Features
from af3_core.job import write_job
from af3_core.structures.mmcif import write_mmcif
from af3_core.structures.mmcif_origin import (
    ALPHAFOLD3_USAGE,
    TERMS_NAME,
    UNTRAINED_USAGE,
    Origin,
    foldmill_origin,
    format_terms,
)
from af3_core.structures.structure import Chemistry, chemistry_of, structure_of
from workflow.campaign import (
    FOLDERS,
    RESULTS,
    features_path,
    prediction_path,
    split_item,
)
from workflow.evidence import add_evidence
from workflow.failures import ITEM_ERRORS, classify
from workflow.features_file import read_features
from workflow.items import Progress, commit_outcomes, outcome
from workflow.manifest import Manifest
from workflow.ranking import rank_rows
from workflow.settings import Settings
from workflow.step import (
    Row,
    job_of,
    parse_step,
    read_job_rows,
    read_plan,
    read_planned_settings,
    run_step,
)
from workflow.tables import read_rows, replacing


def main(argv: list[str] | None = None) -> int:
    """Exports one batch."""
    arguments = parse_step("export", __doc__, argv)
    return run_step(lambda: export_batch(arguments.batch))


def export_batch(batch: str) -> None:
    """Writes the folders of the batch's jobs and the batch's outcomes."""
    settings, manifest = read_planned_settings(), read_plan()
    scores = read_scores(manifest, batch)
    jobs = read_job_rows(set(scores))
    progress = Progress("export", batch, len(jobs))
    rows = []
    for job_id, job in sorted(jobs.items()):
        began, failure = time.monotonic(), None
        try:
            if settings.export.samples != "none":
                export_job(job, scores[job_id], settings)
        except ITEM_ERRORS as error:
            failure = classify(error)
        rows.append(
            outcome(
                *("export", batch, job_id),
                job_id=job_id,
                seconds=time.monotonic() - began,
                failure=failure,
            )
        )
        progress.advance()
    commit_outcomes("export", batch, rows)


def read_scores(manifest: Manifest, batch: str) -> dict[str, list[Row]]:
    """Ranked scores of the batch's jobs, with the seeds that other batches hold."""
    job_ids = {split_item(item)[0] for item in manifest.jobs[batch].items}
    holders = [
        name
        for name, other in manifest.jobs.items()
        if any(split_item(item)[0] in job_ids for item in other.items)
    ]
    rows = [
        row
        for name in holders
        for row in read_rows(RESULTS / "score" / f"{name}.scores.parquet", SCORES)
        if row["job_id"] in job_ids
    ]
    by_job: dict[str, list[Row]] = {}
    for row in rank_rows(rows, read_planned_settings().score.rank_by):
        by_job.setdefault(row["job_id"], []).append(row)
    return by_job


def export_job(job: Row, scores: list[Row], settings: Settings) -> None:
    """Writes one job's folder."""
    name = str(job["name"])
    folder = FOLDERS / name
    features = read_features(features_path(str(job["job_id"])))
    asked = job_of(job)
    chemistry = chemistry_of(features, asked.user_ccd)
    for score in scores:
        places = []
        if score["rank"] == 1:
            places.append(best_output_names(name))
        if settings.export.samples == "all":
            places.append(output_names(name, score["seed"], score["sample"]))
        for names in places:
            _write_sample(folder, names, score, features, chemistry)
    _write(folder / input_name(name), write_job(add_evidence(asked, settings)))
    ranking = [(s["seed"], s["sample"], s["ranking_score"]) for s in scores]
    _write(folder / ranking_name(name), format_ranking_scores(ranking))


def _write_sample(
    folder: Path,
    names: OutputNames,
    score: Row,
    features: Features,
    chemistry: Chemistry,
) -> None:
    prediction = _prediction(score)
    positions = np.asarray(prediction["positions"], np.float64).reshape(-1, 3)
    origin = _origin(prediction)
    mmcif = write_mmcif(
        structure_of(features, positions),
        np.asarray(prediction["atom_plddt"]),
        features.chains,
        chemistry.components,
        name=str(score["name"]),
        origin=origin,
        bonds=features.bonded_atoms,
    )
    _write(folder / names.model, mmcif)
    _write(folder / names.confidences, format_confidences(prediction, features))
    summary = summary_confidences(prediction, features.chains.chain_id)
    _write(folder / names.summary, format_summary(summary))
    _write(folder / TERMS_NAME, format_terms(origin.usage))


def _prediction(score: Row) -> Row:
    item = f"{score['job_id']}.{score['seed']}"
    rows = read_rows(prediction_path(item), PREDICTIONS)
    return next(row for row in rows if row["sample"] == score["sample"])


def _origin(prediction: Row) -> Origin:
    facts = json.loads(str(prediction["provenance"]))
    usage = UNTRAINED_USAGE if facts["untrained"] else ALPHAFOLD3_USAGE
    return foldmill_origin(facts["foldmill"], facts["weights"][:16], usage)


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
