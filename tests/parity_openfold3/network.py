"""Compares the network's stages, heads, a sampler's steps and scores with a record."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from numpy import ndarray

from af3_core.model.batch import Batch
from af3_core.model.config import ModelConfig, Runtime
from af3_core.model.diffusion import (
    Embeddings,
    PairConditioning,
    condition,
    denoise,
    noise_schedule,
    raised_level,
    step_towards,
)
from af3_core.model.embedding import BondEmbedding, PairInitialisation
from af3_core.model.heads import Confidence, predict_confidence, predict_distogram
from af3_core.model.model import Params, embed_inputs, run_trunk, zero_embeddings
from af3_core.model.msa_module import shuffle_rows
from af3_core.scores.frames import predicted_frames
from af3_core.structures.superposition import superpose
from tests.parity.comparison import Comparison, compare_exactly, compare_relative
from tests.parity_openfold3.recorded import Case
from tests.parity_openfold3.scores import derive_scores

TOLERANCE = 1e-4
_KEY = jax.random.PRNGKey(0)
_DENOISER_TAPS = (
    "diffusion/noise_conditioning",
    "diffusion/atom_encoder",
    "diffusion/transformer",
)
Taps = dict[str, Any]


def initialise_pairs(
    batch: Batch, start: Embeddings, config: ModelConfig, runtime: Runtime
) -> tuple[jax.Array, jax.Array]:
    """The pair representation before recycling: without and with token bonds."""
    initialise = PairInitialisation(config, runtime, name="pair_initialisation")
    pair = initialise(batch.tokens, start.single_inputs, start.pair, jnp.zeros_like)
    bonds = BondEmbedding(config, runtime, name="bond_embedding")
    return pair, bonds(batch.bonds, pair)


def condition_pairs(
    batch: Batch, embeddings: Embeddings, config: ModelConfig, runtime: Runtime
) -> jax.Array:
    """The pair conditioning of the diffusion module, all rows at once."""
    module = PairConditioning(config, name="diffusion_pair_conditioning")
    return module(embeddings.pair, batch.tokens, batch.tokens)


def tapped(stage: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """The stage, returning beside its own result what modules of these names made."""

    def run(*args: Any, **kwargs: Any) -> tuple[Any, Taps]:
        taps: Taps = {}

        def keep(
            call: Callable[..., Any],
            args: tuple[Any, ...],
            kwargs: Mapping[str, Any],
            context: hk.MethodContext,
        ) -> Any:
            result = call(*args, **kwargs)
            name = context.module.module_name
            if context.method_name == "__call__" and name in names:
                taps[name] = result
            return result

        with hk.intercept_methods(keep):
            result = stage(*args, **kwargs)
        return result, taps

    return run


@dataclass(frozen=True)
class NetworkComparison:
    """One case, one set of weights."""

    case: Case
    batch: Batch
    """Padded, and following the network's conventions."""
    params: Params
    config: ModelConfig
    runtime: Runtime

    def compare(self) -> Iterator[Comparison]:
        """Everything, stages first."""
        with jax.default_matmul_precision("highest"):
            inputs = self._run(embed_inputs)(self.batch)
            atoms = self.config.single_channels
            theirs = jnp.concatenate([inputs[:, -atoms:], inputs[:, :-atoms]], axis=1)
            yield self._tokens("out.s_inputs", theirs)
            first = yield from self._compare_trunk(zero_embeddings(inputs, self.config))
            conditioning = self._run(condition)(self.batch, first)
            denoise_one = self._run(denoise, _DENOISER_TAPS)
            run = functools.partial(denoise_one, self.batch, conditioning)
            yield from self._compare_diffusion(first, run)
            yield from self._compare_sampler(run)
            yield from self._compare_heads(first)

    def _run(
        self,
        stage: Callable[..., Any],
        taps: tuple[str, ...] = (),
        **how: Any,
    ) -> Callable[..., Any]:
        how = how or {"config": self.config, "runtime": self.runtime}
        chosen = tapped(stage, taps) if taps else stage
        function = hk.without_apply_rng(
            hk.transform(functools.partial(chosen, **how))
        ).apply
        return functools.partial(jax.jit(function), self.params)

    def _compare(self, name: str, ours: Any, mask: ndarray | None = None) -> Comparison:
        recorded = self.case.arrays[name]
        ours = np.asarray(ours).reshape(recorded.shape)
        return compare_relative(name, ours, recorded, mask, TOLERANCE)

    def _tokens(self, name: str, ours: Any) -> Comparison:
        return self._compare(name, np.asarray(ours)[: self.case.num_tokens])

    def _pairs(self, name: str, ours: Any) -> Comparison:
        real = np.asarray(ours)[: self.case.num_tokens, : self.case.num_tokens]
        return self._compare(name, real[:: self.case.stride, :: self.case.stride])

    def _compare_trunk(self, start: Embeddings) -> Any:
        initial, bonded = self._run(initialise_pairs)(self.batch, start)
        yield self._pairs("out.z_after_relpos", initial)
        yield self._pairs("out.z_init", bonded)
        pairs = self.case.arrays["in.bonded_tokens"]
        if len(pairs):
            bonded = np.asarray(bonded)[pairs[:, 0], pairs[:, 1]]
            yield self._compare("out.z_init_bonded", bonded)
        names = ("msa_module/embed_rows", "msa_module/embed_single")
        run = self._run(run_trunk, names)
        trunk, taps = run(self.batch, start, _KEY)
        yield self._pairs("out.z_after_templates", trunk.pair_after_templates)
        rows = taps["msa_module/embed_rows"] + taps["msa_module/embed_single"][None]
        in_order = np.argsort(self._row_order())
        rows = np.asarray(rows)[in_order, : self.case.num_tokens]
        yield self._compare("out.m_embedded", rows[:, :: self.case.stride])
        yield self._pairs("out.z_after_msa", trunk.pair_after_msa)
        second, _ = run(self.batch, trunk.embeddings, _KEY)
        for number, one in ((1, trunk), (2, second)):
            yield self._tokens(f"out.s_trunk{number}", one.embeddings.single)
            yield self._pairs(f"out.z_trunk{number}", one.embeddings.pair)
        return trunk.embeddings

    def _row_order(self) -> ndarray:
        """Which row of the alignment the network puts where."""
        _, key = jax.random.split(jax.random.split(_KEY)[0])
        shape = self.batch.msa.rows.shape
        index = jnp.broadcast_to(jnp.arange(shape[0])[:, None], shape)
        msa = replace(self.batch.msa, rows=index)
        return np.asarray(shuffle_rows(msa, key, self.config.msa.max_rows).rows)[:, 0]

    def _spread(self, atoms: ndarray) -> Any:
        return jnp.asarray(self._layout.spread(atoms, len(self.batch.tokens.mask)))

    @functools.cached_property
    def _layout(self) -> Any:
        """Atoms of the record in the batch at hand, by their place in the token."""
        mask = np.asarray(self.batch.predicted_atom_mask)
        token, slot = np.nonzero(mask)
        return replace(self.case.layout, token=token, slot=slot)

    def _compare_diffusion(
        self, embeddings: Embeddings, run: Callable[..., Any]
    ) -> Iterator[Comparison]:
        arrays = self.case.arrays
        denoised, taps = [], []
        for positions, level in zip(
            arrays["in.positions"], arrays["in.noise_level"], strict=True
        ):
            noisy = self._spread(positions)[None]
            found, tap = run(noisy, jnp.asarray(level))
            denoised.append(self._layout.flat(found[0]))
            taps.append(tap)
        yield self._compare("out.denoised", np.stack(denoised))
        first = taps[0]
        yield self._tokens("out.diffusion_s", first["diffusion/noise_conditioning"][0])
        pair = self._run(condition_pairs)(self.batch, embeddings)
        yield self._pairs("out.diffusion_z", pair)
        encoded = first["diffusion/atom_encoder"].tokens[0]
        yield self._tokens("out.diffusion_tokens_in", encoded)
        tokens = first["diffusion/transformer"][0]
        yield self._tokens("out.diffusion_tokens_out", tokens)

    def _compare_sampler(self, run: Callable[..., Any]) -> Iterator[Comparison]:
        """Every recorded step from its inputs."""
        arrays = self.case.arrays
        schedule, levels = arrays["sampler.schedule"], arrays["sampler.level"]
        sampler = replace(self.config.sampler, num_steps=len(levels))
        yield self._compare("sampler.schedule", noise_schedule(sampler))
        raised = [
            raised_level(jnp.asarray(previous), jnp.asarray(level), sampler)
            for previous, level in zip(schedule[:-1], schedule[1:], strict=True)
        ]
        yield self._compare("sampler.level", np.stack(raised))
        denoised, after = [], []
        for step, level in enumerate(levels):
            noisy = self._spread(arrays["sampler.noisy"][step])
            found = run(noisy[None], jnp.asarray(level))[0][0]
            denoised.append(self._layout.flat(found))
            positions = step_towards(
                noisy,
                found,
                jnp.asarray(level),
                jnp.asarray(schedule[step + 1]),
                sampler,
            )
            after.append(self._layout.flat(positions))
        yield self._compare("sampler.denoised", np.stack(denoised))
        # The next step begins with a rotation and a shift that are not recorded.
        moved = [
            superpose(ours.astype(np.float64), augmented.astype(np.float64)).apply(ours)
            for ours, augmented in zip(
                after, arrays["sampler.augmented"][1:], strict=False
            )
        ]
        yield compare_relative(
            "sampler.augmented (superposed)",
            np.stack(moved),
            arrays["sampler.augmented"][1:],
            None,
            TOLERANCE,
        )
        yield self._compare("sampler.final", after[-1])

    def _compare_heads(self, embeddings: Embeddings) -> Iterator[Comparison]:
        distogram = self._run(
            predict_distogram, config=self.config.distogram, runtime=self.runtime
        )(self.batch, embeddings.pair)
        yield self._pairs("out.distogram_logits", distogram.logits)
        yield self._compare_representatives()
        n = self.case.num_tokens
        contacts = np.asarray(distogram.contact_probs)[:n, :n]
        arrays, predict = self.case.arrays, self._run(predict_confidence)
        for positions, infix, suffix in (
            (arrays["in.positions"][0], "", ""),
            (arrays["in.positions_compact"], "compact_", "_compact"),
        ):
            confidence = predict(self.batch, embeddings, self._spread(positions))
            yield from self._compare_logits(confidence, f"out.{infix}")
            has_frame = predicted_frames(
                positions.astype(np.float64),
                self.case.layout.token,
                self.case.feature("asym_id"),
            )
            name = f"derived.has_frame{suffix}"
            yield compare_exactly(name, has_frame, arrays[name])
            for score, value in derive_scores(
                self.case,
                confidence,
                self._layout.flat(confidence.predicted_lddt),
                contacts,
                positions,
                has_frame,
            ):
                yield self._compare(f"score{suffix}.{score}", value)

    def _compare_logits(
        self, confidence: Confidence, prefix: str
    ) -> Iterator[Comparison]:
        logits = confidence.logits
        if logits is None:
            raise ValueError("the runtime does not return logits")
        for name in ("plddt", "resolved", "pae", "pde"):
            values = getattr(logits, name)
            if f"{prefix}{name}_logits" not in self.case.arrays:
                continue
            if name in ("plddt", "resolved"):
                atoms = self._layout.flat(values)
                yield self._compare(f"{prefix}{name}_logits", atoms)
            else:
                yield self._pairs(f"{prefix}{name}_logits", values)

    def _compare_representatives(self) -> Comparison:
        """The atom that stands for each token, as an index of the flat atoms."""
        name = "derived.representative_atom"
        mask = np.asarray(self.batch.predicted_atom_mask)
        flat = np.cumsum(mask.ravel()) - 1
        chosen = flat[np.asarray(self.batch.pseudo_beta.index)[: self.case.num_tokens]]
        return compare_exactly(name, chosen, self.case.arrays[name])
