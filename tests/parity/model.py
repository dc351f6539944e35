"""Compares the model's outputs with recorded ones, stage by stage and whole."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from af3_core.model.batch import Batch
from af3_core.model.config import ModelConfig, Runtime
from af3_core.model.diffusion import Embeddings, condition, denoise
from af3_core.model.heads import Confidence, predict_confidence, predict_distogram
from af3_core.model.model import (
    Params,
    Prediction,
    TrunkPass,
    apply,
    compile_predict,
    embed_inputs,
    run_trunk,
    split_keys,
    zero_embeddings,
)
from tests.parity.case import Case
from tests.parity.comparison import (
    Comparison,
    compare_mean,
    compare_positions,
    compare_relative,
)

_TRUNK_STEPS = ("relative_encoding", "bonds", "templates", "msa")
_PAIR_CONFIDENCES = (
    "full_pae",
    "full_pde",
    "tmscore_adjusted_pae_global",
    "tmscore_adjusted_pae_interface",
)
_ATOM_CONFIDENCES = ("predicted_lddt", "predicted_experimentally_resolved")


@dataclass(frozen=True)
class Tolerances:
    """How far each kind of output may be from the recorded one."""

    tap: float
    """Relative, of a stage that is fed with recorded or just computed input."""
    single: float
    """Relative, of the single embeddings after all passes through the trunk."""
    full: float
    """Relative, of every other output of the whole prediction."""
    positions: float
    """Å RMSD without superposition."""
    pae: float
    """Å, mean."""


TOLERANCES = {
    "float32": Tolerances(tap=1e-4, single=1e-3, full=1e-3, positions=0.01, pae=0.01),
    "bfloat16": Tolerances(tap=5e-2, single=0.7, full=0.25, positions=12.0, pae=0.1),
}
"""By dtype of the trunk; docs/numerics.md argues for them."""


@dataclass(frozen=True)
class ModelComparison:
    """One case, one set of weights, one way to compute."""

    case: Case
    batch: Batch
    params: Params
    config: ModelConfig
    runtime: Runtime

    @property
    def tolerances(self) -> Tolerances:
        return TOLERANCES[self.runtime.dtype]

    def compare(self, max_recycles: int | None = None) -> Iterator[Comparison]:
        """All comparisons, stages first.

        With `max_recycles`, the number of recycles is read off the recorded
        embeddings: passes are run until they agree.
        """
        passes = self._compile(run_trunk)
        single_inputs = self._compile(embed_inputs)(self.params, self.batch)
        yield self._tap("out.target_feat", single_inputs, self.case.token_mask)
        start = zero_embeddings(single_inputs, self.config)
        _, key = self._next_key(self._trunk_key())
        first = passes(self.params, self.batch, start, key)
        yield from self._compare_trunk(first)
        yield from self._compare_denoiser(first.embeddings)
        yield from self._compare_heads(first.embeddings)
        if "full.full_pae" not in self.case.recorded:
            return
        config = self.config
        if max_recycles is not None:
            num_recycles = self._find_recycles(start, max_recycles, passes)
            config = replace(config, num_recycles=num_recycles)
        yield from self._compare_prediction(config)

    def _compile(self, stage: Any, **how: Any) -> Any:
        how = how or {"config": self.config, "runtime": self.runtime}
        return jax.jit(functools.partial(apply, stage, **how))

    def _trunk_key(self) -> jax.Array:
        num_templates = self.batch.templates.residue_type.shape[0]
        seed_key = jax.random.PRNGKey(self.case.seed)
        return split_keys(seed_key, self.config, num_templates)[0]

    @staticmethod
    def _next_key(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        key, pass_key = jax.random.split(key)
        return key, pass_key

    def _tap(self, name: str, ours: Any, mask: np.ndarray | None) -> Comparison:
        recorded = self.case.recorded[name]
        return compare_relative(
            name, np.asarray(ours), recorded, mask, self.tolerances.tap
        )

    def _thin(self, pair: Any) -> np.ndarray:
        """Every stride-th row and column of the first two axes."""
        return np.asarray(pair)[:: self.case.stride, :: self.case.stride]

    def _compare_trunk(self, trunk: TrunkPass) -> Iterator[Comparison]:
        pair_mask = self.case.pair_mask
        for step in _TRUNK_STEPS:
            pair = getattr(trunk, f"pair_after_{step}")
            name = f"out.trunk1.pair_after_{step}"
            yield self._tap(name, self._thin(pair), pair_mask)
        embeddings = trunk.embeddings
        yield self._tap("out.trunk1.pair", self._thin(embeddings.pair), pair_mask)
        yield self._tap("out.trunk1.single", embeddings.single, self.case.token_mask)

    def _compare_denoiser(self, embeddings: Embeddings) -> Iterator[Comparison]:
        recorded = self.case.recorded
        conditioning = self._compile(condition)(self.params, self.batch, embeddings)
        run = self._compile(denoise)
        ours = [
            run(self.params, self.batch, conditioning, positions[None], level)[0]
            for positions, level in zip(
                jnp.asarray(recorded["in.positions"]),
                jnp.asarray(recorded["in.noise_level"]),
                strict=True,
            )
        ]
        mask = np.broadcast_to(self.case.atom_mask, recorded["out.denoised"].shape[:-1])
        yield self._tap("out.denoised", np.stack(ours), mask)

    def _compare_heads(self, embeddings: Embeddings) -> Iterator[Comparison]:
        positions = jnp.asarray(self.case.recorded["in.positions"][0])
        confidence = self._compile(predict_confidence)(
            self.params, self.batch, embeddings, positions
        )
        confidence = jax.tree.map(lambda x: x[None], confidence)
        yield from self._compare_confidence(
            "out.confidence.", confidence, self.tolerances.tap
        )
        distogram = self._compile(
            predict_distogram, config=self.config.distogram, runtime=self.runtime
        )(self.params, self.batch, embeddings.pair)
        pair_mask = self.case.pair_mask
        probabilities = self._thin(distogram.contact_probs)
        yield self._tap("out.distogram.contact_probs", probabilities, pair_mask)
        yield self._tap(
            "out.distogram.distogram", self._thin(distogram.logits), pair_mask
        )
        yield self._tap("out.distogram.bin_edges", distogram.bin_edges, None)

    def _compare_confidence(
        self, prefix: str, confidence: Confidence, tolerance: float
    ) -> Iterator[Comparison]:
        """`confidence` has a leading axis for samples; the tap's is 1 long."""
        case, stride = self.case, self.case.stride
        for field in (*_PAIR_CONFIDENCES, *_ATOM_CONFIDENCES, "average_pde"):
            name = prefix + field
            if name not in case.recorded:
                continue
            recorded = case.recorded[name]
            ours, mask = np.asarray(getattr(confidence, field)), None
            if field in _PAIR_CONFIDENCES:
                ours, mask = ours[:, ::stride, ::stride], case.pair_mask
            elif field in _ATOM_CONFIDENCES:
                mask = case.atom_mask
            ours = ours.reshape(recorded.shape) if len(ours) == 1 else ours
            if mask is not None:
                mask = np.broadcast_to(mask, recorded.shape)
            yield compare_relative(name, ours, recorded, mask, tolerance)

    def _find_recycles(self, start: Embeddings, limit: int, passes: Any) -> int:
        """The recycles after which the pair embeddings agree; else the best guess."""
        recorded = self.case.recorded.get("full.pair_embeddings")
        if recorded is None:
            return 1
        errors, embeddings, key = [], start, self._trunk_key()
        for _ in range(limit + 1):
            key, pass_key = self._next_key(key)
            embeddings = passes(
                self.params, self.batch, embeddings, pass_key
            ).embeddings
            pair = self._thin(embeddings.pair)
            mask, tolerance = self.case.pair_mask, self.tolerances.tap
            errors.append(compare_relative("", pair, recorded, mask, tolerance).error)
            if errors[-1] <= tolerance:
                break
        return int(np.argmin(errors))

    def _compare_prediction(self, config: ModelConfig) -> Iterator[Comparison]:
        case, recorded = self.case, self.case.recorded
        positions = recorded["full.diffusion_samples.atom_positions"]
        sampler = replace(config.sampler, num_samples=len(positions))
        config = replace(config, sampler=sampler)
        prediction = compile_predict(config, self.runtime)(
            self.params, self.batch, jax.random.PRNGKey(case.seed)
        )
        yield from self._compare_embeddings(prediction)
        tolerances, pair_mask = self.tolerances, case.pair_mask
        yield compare_positions(
            "full.diffusion_samples.atom_positions",
            np.asarray(prediction.positions),
            positions,
            case.atom_mask,
            tolerances.positions,
        )
        stride, pae = case.stride, np.asarray(prediction.confidence.full_pae)
        yield compare_mean(
            "full.full_pae (mean)",
            pae[:, ::stride, ::stride],
            recorded["full.full_pae"],
            pair_mask,
            tolerances.pae,
        )
        yield from self._compare_confidence(
            "full.", prediction.confidence, tolerances.full
        )

    def _compare_embeddings(self, prediction: Prediction) -> Iterator[Comparison]:
        """Single and pair embeddings after all passes, and the distogram."""
        pair_mask, full = self.case.pair_mask, self.tolerances.full
        embeddings, distogram = prediction.embeddings, prediction.distogram
        token_mask, single = self.case.token_mask, self.tolerances.single
        for name, ours, mask, tolerance in (
            ("single_embeddings", embeddings.single, token_mask, single),
            ("pair_embeddings", self._thin(embeddings.pair), pair_mask, full),
            ("distogram.distogram", self._thin(distogram.logits), pair_mask, full),
            (
                "distogram.contact_probs",
                self._thin(distogram.contact_probs),
                pair_mask,
                full,
            ),
        ):
            if (values := self.case.recorded.get(f"full.{name}")) is not None:
                yield compare_relative(
                    f"full.{name}", np.asarray(ours), values, mask, tolerance
                )
