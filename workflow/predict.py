"""Predicts every (job, seed) of a batch with one compiled model.

    python -m workflow.predict --batch ID

All items of a batch share a bucket, so the weights are loaded and the network is
compiled once. The samples of each item are committed to
`results/predictions/JOB.SEED.parquet`.
"""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa

from af3_core.batch import Batch, pad
from af3_core.contracts import PREDICTIONS
from af3_core.feature_values import Features
from af3_core.model.checkpoint import Checkpoint, load_checkpoint
from af3_core.model.config import ModelConfig, Runtime
from af3_core.model.model import Params, Prediction, compile_predict
from af3_core.prediction import sample_confidence, sample_row
from workflow.buckets import AF3_BUCKETS, bucket_for
from workflow.campaign import (
    features_path,
    outcomes_path,
    prediction_path,
    split_item,
)
from workflow.features_file import read_job_arrays
from workflow.items import (
    Item,
    commit_outcomes,
    items_from,
    log,
    unfinished,
    work_through,
)
from workflow.provenance import provenance
from workflow.settings import Model, Settings, digest_of
from workflow.step import parse_step, read_plan, read_planned_settings, run_step
from workflow.tables import read_made_from


def main(argv: list[str] | None = None) -> int:
    """Predicts one batch."""
    arguments = parse_step("predict", __doc__, argv)
    return run_step(lambda: predict_batch(arguments.batch))


def predict_batch(batch: str) -> None:
    """Makes what is missing and writes the batch's outcomes."""
    settings, planned = read_planned_settings(), read_plan().jobs[batch]
    checkpoint = load_checkpoint(settings.model.checkpoint)
    log(f"weights {checkpoint.digest[:16]} from {settings.model.checkpoint}")
    config = configure(checkpoint.config, settings.model)
    runtime = Runtime(
        dtype=settings.predict.dtype, attention_backend=settings.predict.attention
    )
    key = digest_of(
        *(checkpoint.digest, dataclasses.asdict(config)),
        *(runtime.dtype, PREDICTIONS.version),
    )
    items = items_from(planned.items, _features_of, prediction_path, PREDICTIONS, key)
    rows = work_through(
        "predict",
        batch,
        items,
        Worker(checkpoint, config, runtime, planned.bucket, settings).make_table,
        blocked=unfinished(outcomes_path("featurise", batch)),
    )
    commit_outcomes("predict", batch, rows)


def _features_of(item: str) -> Path:
    return features_path(split_item(item)[0])


def configure(config: ModelConfig, overrides: Model) -> ModelConfig:
    """The network's configuration with what the campaign sets differently."""
    sampler = config.sampler
    if overrides.num_diffusion_steps is not None:
        sampler = dataclasses.replace(sampler, num_steps=overrides.num_diffusion_steps)
    if overrides.num_samples is not None:
        sampler = dataclasses.replace(sampler, num_samples=overrides.num_samples)
    if overrides.num_recycles is not None:
        config = dataclasses.replace(config, num_recycles=overrides.num_recycles)
    return dataclasses.replace(config, sampler=sampler)


@dataclass(frozen=True)
class Worker:
    """Weights on the device, and how they are used."""

    checkpoint: Checkpoint
    config: ModelConfig
    runtime: Runtime
    bucket: int
    settings: Settings

    def make_table(self, item: Item) -> pa.Table:
        """Predicts one (job, seed); a row per sample."""
        job_id, seed = split_item(item.name)
        path = features_path(job_id)
        features, positions = read_job_arrays(path, seed)
        runtime = self._runtime_for(features.num_tokens)
        predict = _compiled(self.config, runtime)
        prediction = jax.device_get(
            predict(
                self.checkpoint.params,
                pad(features, positions, self.bucket),
                jax.random.PRNGKey(seed),
            )
        )
        facts = provenance(
            *(self.checkpoint, runtime, self.settings),
            bucket=self.bucket,
            features=read_made_from(path),
        )
        return PREDICTIONS.table(
            [
                {
                    **{"job_id": job_id, "seed": seed, "sample": sample},
                    **_sample_columns(features, prediction, sample),
                    "provenance": facts,
                }
                for sample in range(len(prediction.positions))
            ]
        )

    def _runtime_for(self, num_tokens: int) -> Runtime:
        """Random numbers as AlphaFold 3 draws them for its own bucket.

        So a seed gives the same structure whatever bucket it is computed in.
        """
        noise_tokens = num_tokens
        if num_tokens <= AF3_BUCKETS[-1]:
            noise_tokens = bucket_for(num_tokens, AF3_BUCKETS)
        return dataclasses.replace(self.runtime, noise_tokens=noise_tokens)


@functools.cache
def _compiled(
    config: ModelConfig, runtime: Runtime
) -> Callable[[Params, Batch, jax.Array], Prediction]:
    return compile_predict(config, runtime)


def _sample_columns(
    features: Features, prediction: Prediction, sample: int
) -> dict[str, object]:
    heads = {
        field.name: np.asarray(getattr(prediction.confidence, field.name)[sample])
        for field in dataclasses.fields(prediction.confidence)
    }
    structure, confidence = sample_confidence(
        features,
        prediction.positions[sample],
        heads,
        prediction.distogram.contact_probs,
    )
    return sample_row(structure, confidence)


if __name__ == "__main__":
    raise SystemExit(main())
