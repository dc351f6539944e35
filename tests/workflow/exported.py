"""A campaign whose jobs are predicted, made up but for its features; and its export."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from af3_core.contracts import (
    CHAINS,
    FEATURES,
    JOBS,
    PREDICTIONS,
    RELAXED,
    SCORES,
    PredictionRow,
)
from af3_core.job import write_job
from tests.af3_core.features.feature_examples import case, read_job
from tests.af3_core.output_examples import predicted
from tests.workflow.synthetic_campaign import filled, write_relaxed
from workflow.campaign import Campaign
from workflow.export import export_job
from workflow.results.batch_files import BatchFiles
from workflow.settings import Export, Settings
from workflow.step import read_job_row
from workflow.tables import write_table

SEED, SAMPLES = 1, 2
PROVENANCE = json.dumps(
    {"foldmill": "0.0.0", "weights": "0" * 64, "weights_origin": "untrained"}
)

HERE = Campaign()
"""The campaign in the current folder."""


def job_id_of(name: str) -> str:
    return name.encode().hex()[:16].ljust(16, "0")


def sample_positions(name: str, sample: int) -> np.ndarray:
    """Å; compact, and another place for every sample."""
    return predicted(name).structure.positions / 2 + np.float32(sample)


def write_predicted(names: tuple[str, ...]) -> None:
    """Writes plan, features, predictions and relaxed structures below the folder."""
    rows = [
        {
            "job_id": job_id_of(name),
            "name": name,
            "source": f"{name}.json",
            "num_tokens": predicted(name).features.num_tokens,
            "seeds": [SEED],
            "json": write_job(read_job(case(name))),
        }
        for name in names
    ]
    results = Path("results")
    write_table(results / "plan" / "jobs.parquet", JOBS, filled(JOBS, rows))
    write_table(results / "plan" / "chains.parquet", CHAINS, filled(CHAINS, []))
    write_relaxed(results, {f"{job_id_of(n)}.{SEED}": relaxed_row(n) for n in names})
    for name in names:
        example, item = predicted(name), f"{job_id_of(name)}.{SEED}.parquet"
        features = FEATURES.table(example.features.to_rows())
        path = results / "features" / f"{job_id_of(name)}.parquet"
        write_table(path, FEATURES, features)
        samples = [prediction_row(name, sample) for sample in range(SAMPLES)]
        write_table(
            results / "predictions" / item, PREDICTIONS, PREDICTIONS.table(samples)
        )


def prediction_row(name: str, sample: int) -> PredictionRow:
    return replace(
        predicted(name).row,
        job_id=job_id_of(name),
        seed=SEED,
        sample=sample,
        positions=sample_positions(name, sample).ravel(),
        provenance=PROVENANCE,
    )


def relaxed_row(name: str) -> dict[str, Any]:
    """The best sample, moved by 0.1 Å, with a hydrogen on its first and last atom."""
    places = sample_positions(name, 0) + np.float32(0.1)
    ends = [0, len(places) - 1]
    return {
        "job_id": job_id_of(name),
        "seed": SEED,
        "sample": 0,
        "status": "relaxed",
        "positions": places.ravel().tolist(),
        "treatments": "{}",
        "hydrogen_names": ["H1", "HX"],
        "hydrogen_parents": ends,
        "hydrogen_positions": (places[ends] + 1).ravel().tolist(),
    }


def score_rows(name: str) -> list[dict[str, Any]]:
    return [
        {
            "job_id": job_id_of(name),
            "name": name,
            "seed": SEED,
            "sample": sample,
            "rank": sample + 1,
            "ranking_score": 0.8 - 0.1 * sample,
        }
        for sample in range(SAMPLES)
    ]


def export(name: str, **choices: object) -> Path:
    """Exports one job and returns the folder of all exported jobs."""
    settings = Settings.model_validate(
        {
            "inputs": ["inputs"],
            "search": {"databases": "none.tsv"},
            "model": {"checkpoint": "none.bin"},
        }
    )
    settings = settings.model_copy(update={"export": Export(**choices)})
    job = read_job_row(HERE, job_id_of(name))
    scores = SCORES.rows(filled(SCORES, score_rows(name)))
    files = BatchFiles(RELAXED, HERE.relaxed)
    export_job(HERE, job, scores, lambda item: files.rows("b0", item), settings)
    return Path("results/alphafold3")
