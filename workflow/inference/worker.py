"""One process with the weights on its device: from features to rows of predictions."""

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Float16

from af3_core.contracts import PREDICTIONS, PredictionRow
from af3_core.features.buckets import bucket_for
from af3_core.features.values import Features
from af3_core.job import InputError
from af3_core.model.batch import MAX_MSA_ROWS, Batch, pad, spare_windows
from af3_core.model.checkpoint import (
    Checkpoint,
    load_checkpoint,
)
from af3_core.model.compilation import keep_compiled, watch_compilation
from af3_core.model.config import Conventions, ModelConfig, Runtime
from af3_core.model.conventions import follow
from af3_core.model.model import (
    Prediction,
    compile_predict,
    compile_predict_group,
)
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
from workflow.inference.provenance import provenance
from workflow.planning.memory import items_at_once
from workflow.results.features_file import read_job_arrays, read_search_facts
from workflow.results.trunk_files import write_trunk_file
from workflow.settings import Model, Settings, TrunkFile
from workflow.tables import read_made_from, write_table


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
    conventions: Conventions
    """Of the network."""


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
    at_once: int = 1
    """Items that are computed in one program."""
    trust: Trust | None = None
    """Why the device is trusted; None before it is."""
    few_atoms: bool = True
    """No item has nucleic acids, whose tokens have three times a protein's atoms, so
    windows without atoms are spared; where that can be done for some items only, it
    would make two programs."""
    seen: Seen = field(default_factory=Seen)

    @property
    def phases(self) -> Phases[Item, Loaded, Computed]:
        """What `stream` does with every item."""
        together = self._compute_all if self.at_once > 1 else None
        return Phases(self._load, self._compute, self._finish, together)

    @property
    def device(self) -> str:
        """Kind of the device."""
        return jax.devices()[0].device_kind

    @property
    def platform(self) -> str:
        """The device's platform: cpu, gpu."""
        return jax.default_backend()

    def on(self, rung: Rung, at_once: int | None = None) -> "Worker":
        """The same worker on a rung of the ladder that needs less memory.

        Args:
            rung: how much is saved; beyond the first, items are computed one by one.
            at_once: how many items at most, where more were found to be too many.
        """
        size = min(self.at_once, at_once or self.at_once) if rung == "planned" else 1
        runtime = runtime_on(rung, self.runtime)
        return dataclasses.replace(self, rung=rung, runtime=runtime, at_once=size)

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
        # Stored features are the same for all networks: this one reads them its way.
        batch = follow(batch, self.config.conventions)
        if self.few_atoms:
            batch = spare_windows(batch)
        return Loaded(features, batch, bucket)

    def _padded_rows(self, features: Features) -> int:
        """The batch's depth; AlphaFold 3's for a job that does not fit it after all."""
        is_enough = len(features.msa.rows) <= self.msa_rows
        return self.msa_rows if is_enough else MAX_MSA_ROWS

    def _compute(self, item: Item, loaded: Loaded) -> Computed:
        return self._compute_all([item], [loaded])[0]

    def _compute_all(
        self, items: Sequence[Item], loaded: Sequence[Loaded]
    ) -> list[Computed]:
        shapes = [_shapes_of(one.batch) for one in loaded]
        if any(shape != shapes[0] for shape in shapes):
            # An alignment may be deeper than was planned, and atoms more than most
            # items have. Those of one shape stay together.
            found: dict[int, Computed] = {}
            for shape in dict.fromkeys(shapes):
                members = [i for i, other in enumerate(shapes) if other == shape]
                some = self._compute_all(
                    [items[i] for i in members], [loaded[i] for i in members]
                )
                found.update(zip(members, some, strict=True))
            return [found[i] for i in range(len(items))]
        program = (self.rung, self.at_once, shapes[0])
        is_new = program not in self.seen.programs
        began = time.monotonic()
        with record_choices() as choices, watch_compilation() as compilation:
            predictions = self._predict(items, loaded, choices)
        self.seen.choices.update(choices)
        self.seen.programs.add(program)
        if is_new:
            names = {item.name for item in items}
            self.seen.compiled_for.update(names)
            if compilation.num_found:
                self.seen.found_for.update(names)
            how = "found" if compilation.num_found else "compiled"
            seconds = time.monotonic() - began
            size = f"{self.at_once} x " if self.at_once > 1 else ""
            size += f"{loaded[0].bucket} tokens"
            log(f"network for {size} {how}; first item: {seconds:.1f} s")
        return [
            self._fetch(item, one, prediction)
            for item, one, prediction in zip(items, loaded, predictions, strict=True)
        ]

    def _fetch(self, item: Item, loaded: Loaded, prediction: Prediction) -> Computed:
        """Takes from the device what it computed."""
        # Not in `_finish`: several items may wait there, and this can be gigabytes.
        for kind, arrays in trunk_arrays(prediction, loaded.features.num_tokens):
            path = self.campaign.trunk_file(kind, item.name)
            write_trunk_file(path, arrays, made_from=item.made_from)
        rest = jax.device_get(without_trunk(prediction))
        conventions = self.config.conventions
        return Computed(loaded.features, rest, loaded.bucket, conventions)

    def _predict(
        self,
        items: Sequence[Item],
        loaded: Sequence[Loaded],
        choices: Mapping[Spec, str],
    ) -> Sequence[Prediction]:
        """Runs the network; without a backend that cannot be used, if there is one.

        The canary is small: a kernel may be refused at the size of an item only.
        """
        params, batches = self.checkpoint.params, [one.batch for one in loaded]
        keys = [jax.random.PRNGKey(split_item(item.name)[1]) for item in items]
        # Random numbers as AlphaFold 3 draws them for its own bucket, so a seed gives
        # the same structure whatever bucket it is computed in.
        sizes = self.settings.model.drawn_sizes
        drawn = [np.int32(bucket_for(x.features.num_tokens, sizes)) for x in loaded]
        with Guard(f"network for {', '.join(item.name for item in items)}") as guard:
            if self.at_once == 1:
                run = _compiled(self.config, self.runtime)
                found = [run(params, batches[0], keys[0], drawn[0])]
            else:
                # Copies in free places, so that one program serves every number.
                free = self.at_once - len(items)
                run = _compiled_group(self.config, self.runtime)
                padded = [x + x[-1:] * free for x in (batches, keys, drawn)]
                found = run(params, *padded)[: len(items)]
            return jax.block_until_ready(found)
        guard.raise_unless(
            lambda why, _: (
                why.cause == "backend"
                and do_without(choices, "", why.evidence, self.named)
            )
        )
        return self._predict(items, loaded, choices)

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
            at_once=self.at_once,
            trust=self.trust,
            num_recycles=int(computed.prediction.num_recycles),
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
    _compiled_group.cache_clear()
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
    require_safe(current_device())
    checkpoint = load_checkpoint(
        settings.model.checkpoint, dtype=settings.predict.dtype
    )
    log(
        f"weights {checkpoint.digest[:16]} from {settings.model.checkpoint}:"
        f" {checkpoint.release.title}"
    )
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
    at_once = items_at_once(bucket, _device_gb(), settings.predict.items_at_once)
    if at_once > 1:
        log(f"{at_once} items of {bucket} tokens are computed at once")
    worker = Worker(campaign, checkpoint, config, runtime, settings, bucket, msa_rows)
    return dataclasses.replace(worker, at_once=at_once)


def configure(config: ModelConfig, overrides: Model) -> ModelConfig:
    """The network's configuration with what the campaign sets differently."""
    sampler = dataclasses.replace(config.sampler, noise_buckets=overrides.drawn_sizes)
    if overrides.num_diffusion_steps is not None:
        sampler = dataclasses.replace(sampler, num_steps=overrides.num_diffusion_steps)
    if overrides.num_samples is not None:
        sampler = dataclasses.replace(sampler, num_samples=overrides.num_samples)
    if overrides.num_recycles is not None:
        config = dataclasses.replace(config, num_recycles=overrides.num_recycles)
    if overrides.recycle_tolerance is not None:
        tolerance = overrides.recycle_tolerance
        config = dataclasses.replace(config, recycle_tolerance=tolerance)
    return dataclasses.replace(config, sampler=sampler)


@functools.cache
def _compiled(config: ModelConfig, runtime: Runtime) -> Callable[..., Prediction]:
    return compile_predict(config, runtime)


@functools.cache
def _compiled_group(
    config: ModelConfig, runtime: Runtime
) -> Callable[..., Sequence[Prediction]]:
    return compile_predict_group(config, runtime)


def _shapes_of(batch: Batch) -> tuple[tuple[int, ...], ...]:
    return tuple(np.shape(x) for x in jax.tree.leaves(batch))


def _device_gb() -> float | None:
    """The memory that XLA may use of the device; None where it has none of its own."""
    found = jax.devices()[0].memory_stats() or {}
    limit = found.get("bytes_limit")
    if limit is None or jax.default_backend() == "cpu":
        return None
    return limit / 1e9


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
        computed.conventions,
    )
    return sample_columns(structure, confidence)
