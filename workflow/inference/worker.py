"""One process with the weights on its device: from features to rows of predictions."""

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Float16

from af3_core.contracts import PREDICTIONS, PredictionRow
from af3_core.features.buckets import bucket_for
from af3_core.features.values import Features
from af3_core.job import InputError
from af3_core.model.batch import MAX_MSA_ROWS, Batch, pad
from af3_core.model.checkpoint import (
    Checkpoint,
    find_parts,
    load_checkpoint,
    read_config,
)
from af3_core.model.compilation import keep_compiled, watch_compilation
from af3_core.model.config import ModelConfig, Runtime, config_to_dict
from af3_core.model.model import Prediction, compile_predict
from af3_core.prediction import sample_columns, sample_confidence
from kernels import (
    Spec,
    backends_used,
    current_device,
    demote,
    record_choices,
    require_safe,
)
from workflow.campaign import Campaign, split_item
from workflow.engine.guard import Guard, log
from workflow.engine.items import Item
from workflow.engine.ladder import RUNGS, Rung
from workflow.engine.stream import Phases
from workflow.inference.canary import Trust, find_culprit
from workflow.inference.devices import claim_device, visible_devices
from workflow.inference.provenance import provenance
from workflow.results.features_file import read_job_arrays, read_search_facts
from workflow.results.trunk_files import write_trunk_file
from workflow.settings import Model, Settings, TrunkFile, digest_of
from workflow.tables import digest_file, read_made_from, write_table


@dataclass(frozen=True)
class Loaded:
    """One item, ready for the device."""

    features: Features
    batch: Batch
    bucket: int


@dataclass(frozen=True)
class Computed:
    """One item, back from the device."""

    features: Features
    prediction: Prediction
    bucket: int


@dataclass
class Seen:
    """What a worker saw of its items on the way; rungs share it."""

    num_tokens: dict[str, int] = field(default_factory=dict)
    """Tokens of the items loaded so far."""
    compiled_for: set[str] = field(default_factory=set)
    """Items for which the network had to be made ready."""
    found_for: set[str] = field(default_factory=set)
    """Those of them for which it had been compiled before."""
    choices: dict[Spec, str] = field(default_factory=dict)
    """Which backend computes which operation, as decided while compiling."""
    programs: set[object] = field(default_factory=set)
    """Programs that were made ready, by all that tells them apart."""


@dataclass(frozen=True)
class Worker:
    """Weights on the device, and how they are used."""

    campaign: Campaign
    checkpoint: Checkpoint
    config: ModelConfig
    runtime: Runtime
    settings: Settings
    bucket: int
    msa_rows: int = MAX_MSA_ROWS
    rung: Rung = "planned"
    """How much memory is saved; see `workflow.engine.ladder`."""
    trust: Trust | None = None
    """Why the device is trusted; None before it is."""
    seen: Seen = field(default_factory=Seen)

    @property
    def phases(self) -> Phases[Item, Loaded, Computed]:
        """What `stream` does with every item."""
        return Phases(self._load, self._compute, self._finish)

    @property
    def device(self) -> str:
        """Kind of the device."""
        return jax.devices()[0].device_kind

    @property
    def platform(self) -> str:
        """The device's platform: cpu, gpu."""
        return jax.default_backend()

    def on(self, rung: Rung) -> "Worker":
        """The same worker on a rung of the ladder that needs less memory."""
        runtime = runtime_on(rung, self.runtime)
        return dataclasses.replace(self, rung=rung, runtime=runtime)

    def _load(self, item: Item) -> Loaded:
        job_id, seed = split_item(item.name)
        features, positions = read_job_arrays(self.campaign.features(job_id), seed)
        self.seen.num_tokens[item.name] = features.num_tokens
        bucket = self.bucket
        if self.rung != "planned":
            # A batch may share a bucket far larger than this item needs.
            bucket = min(bucket, bucket_for(features.num_tokens))
        msa_rows = self._padded_rows(features)
        batch = pad(features, positions, bucket, msa_rows=msa_rows)
        return Loaded(features, batch, bucket)

    def _padded_rows(self, features: Features) -> int:
        """The batch's depth; AlphaFold 3's for a job that does not fit it after all."""
        is_enough = len(features.msa.rows) <= self.msa_rows
        return self.msa_rows if is_enough else MAX_MSA_ROWS

    def _compute(self, item: Item, loaded: Loaded) -> Computed:
        program = (self.rung, [np.shape(x) for x in jax.tree.leaves(loaded.batch)])
        is_new = str(program) not in self.seen.programs
        began = time.monotonic()
        with record_choices() as choices, watch_compilation() as compilation:
            prediction = self._predict(item, loaded, choices)
        self.seen.choices.update(choices)
        self.seen.programs.add(str(program))
        if is_new:
            self.seen.compiled_for.add(item.name)
            if compilation.num_found:
                self.seen.found_for.add(item.name)
            how = "found" if compilation.num_found else "compiled"
            seconds = time.monotonic() - began
            size = f"{loaded.bucket} tokens"
            log(f"network for {size} {how}; first item: {seconds:.1f} s")
        # Not in `_finish`: several items may wait there, and this can be gigabytes.
        for kind, arrays in trunk_arrays(prediction, loaded.features.num_tokens):
            path = self.campaign.trunk_file(kind, item.name)
            write_trunk_file(path, arrays, made_from=item.made_from)
        rest = jax.device_get(without_trunk(prediction))
        return Computed(loaded.features, rest, loaded.bucket)

    def _predict(
        self, item: Item, loaded: Loaded, choices: Mapping[Spec, str]
    ) -> Prediction:
        """Runs the network; without a backend that cannot be used, if there is one.

        The canary is small: a kernel may be refused at the size of an item only.
        """
        run = _compiled(self.config, self.runtime)
        _, seed = split_item(item.name)
        # Random numbers as AlphaFold 3 draws them for its own bucket, so a seed gives
        # the same structure whatever bucket it is computed in.
        sizes = self.config.sampler.noise_buckets
        drawn_tokens = np.int32(bucket_for(loaded.features.num_tokens, sizes))
        with Guard(f"network for {item}") as guard:
            key = jax.random.PRNGKey(seed)
            params = self.checkpoint.params
            return jax.block_until_ready(run(params, loaded.batch, key, drawn_tokens))
        guard.raise_unless(
            lambda why, _: (
                why.cause == "backend"
                and do_without(choices, "", why.evidence, self.named)
            )
        )
        return self._predict(item, loaded, choices)

    @property
    def named(self) -> str:
        """The backend that the campaign asks for; auto if it leaves the choice."""
        return self.settings.predict.attention

    def _finish(self, item: Item, computed: Computed) -> None:
        job_id, seed = split_item(item.name)
        facts = provenance(
            self.checkpoint,
            self.config,
            self.runtime,
            self.settings,
            backends=backends_used(self.seen.choices),
            bucket=computed.bucket,
            msa_rows=self._padded_rows(computed.features),
            features=read_made_from(self.campaign.features(job_id)),
            search=read_search_facts(self.campaign.features(job_id)),
            seed=seed,
            rung=self.rung,
            trust=self.trust,
        )
        rows = [
            PredictionRow(
                job_id=job_id,
                seed=seed,
                sample=sample,
                provenance=facts,
                **_sample_columns(computed, sample),
            )
            for sample in range(len(computed.prediction.positions))
        ]
        table = PREDICTIONS.table(rows)
        write_table(item.path, PREDICTIONS, table, made_from=item.made_from)


def trunk_arrays(
    prediction: Prediction, num_tokens: int
) -> Iterator[tuple[TrunkFile, dict[str, Float16[np.ndarray, "..."]]]]:
    """What the network was asked to return of its trunk, without padding.

    Embeddings are those of the last pass; the distogram's are logits. Keys and
    precision are AlphaFold 3's.
    """

    def half(values: Float[Array, "*n c"]) -> Float16[np.ndarray, "*k c"]:
        # Rounded on the device, so that half as much is fetched and held.
        rounded = np.asarray(values.astype(np.float16))
        return rounded[(slice(num_tokens),) * (rounded.ndim - 1)]

    if (embeddings := prediction.embeddings) is not None:
        single, pair = half(embeddings.single), half(embeddings.pair)
        yield "embeddings", {"single_embeddings": single, "pair_embeddings": pair}
    if (logits := prediction.distogram.logits) is not None:
        yield "distogram", {"distogram": half(logits)}


def without_trunk(prediction: Prediction) -> Prediction:
    """The prediction without what `trunk_arrays` takes from it."""
    distogram = dataclasses.replace(prediction.distogram, logits=None)
    return dataclasses.replace(prediction, distogram=distogram, embeddings=None)


_SMALL_CHUNKS = {"pair_chunk": 2**17, "cached_bias_tokens": 0}


def runtime_on(rung: Rung, runtime: Runtime) -> Runtime:
    """How the network is run on a rung of the ladder.

    The numbers differ from rung to rung by the order of summation at most.
    """
    if rung == "planned":
        return runtime
    runtime = dataclasses.replace(runtime, **_SMALL_CHUNKS)
    if rung == "small_chunks":
        return runtime
    return dataclasses.replace(runtime, one_sample_at_a_time=True)


def do_without(
    choices: Mapping[Spec, str], computation: str, why: str, named: str
) -> bool:
    """Has all that follows computed without a backend that is wrong or unusable.

    Args:
        choices: which backend computed what.
        computation: of the canary, that came out wrong, if it did.
        why: what was seen.
        named: the backend that the campaign asks for, or auto.

    Returns:
        Whether there is a backend to do without.

    Raises:
        InputError: it is the one that the campaign asks for.
    """
    culprit = find_culprit(choices, computation)
    if culprit is None:
        return False
    if culprit == named:
        allowed = f"auto, xla or another backend that works here: {why}"
        raise InputError("config", "predict.attention", named, allowed)
    log(f"backend {culprit} is not used from now on: {why}")
    demote(culprit, why)
    _compiled.cache_clear()
    # Whatever was traced before would still call it.
    jax.clear_caches()
    return True


def rungs_here() -> tuple[Rung, ...]:
    """The rungs that this device has: only NVIDIA's shares memory with the host."""
    return RUNGS if jax.default_backend() == "gpu" else RUNGS[:-1]


def has_unified_memory() -> bool:
    """Whether this process lets the device use the host's memory."""
    return os.environ.get("TF_FORCE_UNIFIED_MEMORY") == "1"


def start_worker(
    campaign: Campaign,
    settings: Settings,
    bucket: int,
    msa_rows: int = MAX_MSA_ROWS,
) -> Worker:
    """Loads the weights onto the device, for batches padded to one size.

    Raises:
        RuntimeError: the device computes wrong numbers unless XLA is told not to.
        InputError: the checkpoint cannot be used; see `load_checkpoint`.
    """
    if device := claim_device(visible_devices()):
        log(f"device {device} of this machine")
    require_safe(current_device())
    checkpoint = load_checkpoint(settings.model.checkpoint)
    log(f"weights {checkpoint.digest[:16]} from {settings.model.checkpoint}")
    if settings.predict.compilation_cache is not None:
        folder = keep_compiled(settings.predict.compilation_cache)
        log(f"compiled networks are kept in {folder}")
    runtime = Runtime(
        dtype=settings.predict.dtype,
        attention_backend=settings.predict.attention,
        return_embeddings=settings.predict.save_embeddings,
        return_distogram=settings.predict.save_distogram,
    )
    config = configure(checkpoint.config, settings.model)
    return Worker(campaign, checkpoint, config, runtime, settings, bucket, msa_rows)


def prediction_key(settings: Settings) -> str:
    """Names everything but the features that decides a prediction's numbers.

    Raises:
        InputError: there is no checkpoint.
    """
    checkpoint = settings.model.checkpoint
    return digest_of(
        [digest_file(part) for part in find_parts(checkpoint)],
        config_to_dict(read_config(checkpoint)),
        settings.model.model_dump(exclude={"checkpoint"}),
        settings.predict.dtype,
        PREDICTIONS.version,
    )


def configure(config: ModelConfig, overrides: Model) -> ModelConfig:
    """The network's configuration with what the campaign sets differently."""
    sampler = dataclasses.replace(config.sampler, noise_buckets=overrides.drawn_sizes)
    if overrides.num_diffusion_steps is not None:
        sampler = dataclasses.replace(sampler, num_steps=overrides.num_diffusion_steps)
    if overrides.num_samples is not None:
        sampler = dataclasses.replace(sampler, num_samples=overrides.num_samples)
    if overrides.num_recycles is not None:
        config = dataclasses.replace(config, num_recycles=overrides.num_recycles)
    return dataclasses.replace(config, sampler=sampler)


@functools.cache
def _compiled(config: ModelConfig, runtime: Runtime) -> Callable[..., Prediction]:
    return compile_predict(config, runtime)


def _sample_columns(computed: Computed, sample: int) -> dict[str, Any]:
    prediction = computed.prediction
    heads = {
        name: np.asarray(values[sample])
        for name, values in vars(prediction.confidence).items()
        if name != "logits"
    }
    structure, confidence = sample_confidence(
        computed.features,
        np.asarray(prediction.positions[sample]),
        heads,
        np.asarray(prediction.distogram.contact_probs),
    )
    return sample_columns(structure, confidence)
