"""The whole network: Algorithm 1 of AlphaFold 3's supplementary information.

Each stage is a Haiku function of its own, so that it can be run and compared alone;
their parameters live side by side in one tree. No stage draws random numbers of its
own: keys are split here, exactly as the published code does.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from af3_core.model.batch import Batch
from af3_core.model.config import ModelConfig, Runtime
from af3_core.model.diffusion import (
    Embeddings,
    condition,
    denoise,
    sample_positions,
)
from af3_core.model.embedding import (
    BondEmbedding,
    InputFeatureEmbedder,
    PairInitialisation,
)
from af3_core.model.heads import (
    Confidence,
    Distogram,
    predict_confidence,
    predict_distogram,
)
from af3_core.model.msa_module import MsaModule
from af3_core.model.pairformer import PairformerStack
from af3_core.model.primitives import LayerNorm, Linear
from af3_core.model.templates import TemplateEmbedder

Params = Mapping[str, Mapping[str, Any]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Prediction:
    """Samples of one job and seed, and what the network thinks of them."""

    positions: Float[Array, "b n x 3"]
    """Å; meaningless where `mask` is False."""
    mask: Bool[Array, "b n x"]
    confidence: Confidence
    distogram: Distogram
    embeddings: Embeddings | None
    num_recycles: Int[Array, ""]
    """Passes through the trunk after the first that were computed."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrunkPass:
    """One pass through the trunk, with the pair representation after each step."""

    embeddings: Embeddings
    pair_after_relative_encoding: Float[Array, "n n c"]
    pair_after_bonds: Float[Array, "n n c"]
    pair_after_templates: Float[Array, "n n c"]
    pair_after_msa: Float[Array, "n n c"]


def embed_inputs(
    batch: Batch, config: ModelConfig, runtime: Runtime
) -> Float[Array, "n c"]:
    """s_inputs. Algorithm 1, line 1."""
    return InputFeatureEmbedder(config, runtime, name="input_embedder")(batch)


def run_trunk(
    batch: Batch,
    previous: Embeddings,
    key: Array,
    config: ModelConfig,
    runtime: Runtime,
) -> TrunkPass:
    """One pass through the trunk. Algorithm 1, lines 2-5 and 8-12.

    What line 3 to 5 make is made anew in every pass: it costs less than it would to
    keep one more pair representation in memory.
    """
    dtype, tokens = runtime.float_dtype, batch.tokens
    inputs, mask = previous.single_inputs, jnp.asarray(tokens.mask)
    # A key for the templates is split off first; they do not use it.
    key, _ = jax.random.split(key)
    _, msa_key = jax.random.split(key)

    norm = LayerNorm(name="recycle_pair_norm")
    project = Linear(config.pair_channels, name="recycle_pair", init="zeros")
    encoded = PairInitialisation(config, runtime, name="pair_initialisation")(
        tokens, inputs, previous.pair.astype(dtype), lambda rows: project(norm(rows))
    )  # line 8
    bonds = BondEmbedding(config, runtime, name="bond_embedding")
    bonded = bonds(batch.bonds, encoded)
    templates = TemplateEmbedder(
        config.templates, config.conventions, runtime, name="template_embedder"
    )
    templated = templates(
        batch.templates, bonded, mask, jnp.asarray(tokens.asym_id)
    )  # line 9
    msa_module = MsaModule(config.msa, config.conventions, runtime, name="msa_module")
    aligned = msa_module(batch.msa, templated, inputs, tokens, msa_key)  # line 10

    single = Linear(config.single_channels, name="single_initialisation")(inputs)
    recycled = LayerNorm(name="recycle_single_norm")(previous.single.astype(dtype))
    single = single + Linear(
        config.single_channels, name="recycle_single", init="zeros"
    )(recycled)  # line 11
    pairformer = PairformerStack(config.pairformer, runtime, name="pairformer")
    single, pair = pairformer(single, aligned, mask)  # line 12
    return TrunkPass(
        Embeddings(inputs, single.astype(jnp.float32), pair),
        encoded,
        bonded,
        templated,
        aligned,
    )


def apply(stage: Callable[..., Any], params: Params, *args: Any, **kwargs: Any) -> Any:
    """Runs one stage of the network with parameters."""
    function = hk.without_apply_rng(hk.transform(functools.partial(stage, **kwargs)))
    return function.apply(params, *args)


def zero_embeddings(
    single_inputs: Float[Array, "n c"], config: ModelConfig
) -> Embeddings:
    """What the first pass recycles. Algorithm 1, line 6."""
    num_tokens = single_inputs.shape[0]
    return Embeddings(
        single_inputs,
        jnp.zeros((num_tokens, config.single_channels), jnp.float32),
        jnp.zeros((num_tokens, num_tokens, config.pair_channels), single_inputs.dtype),
    )


def split_keys(
    seed_key: Array, config: ModelConfig, num_templates: int
) -> tuple[Array, Array]:
    """The keys of the trunk and of the sampler, from a seed's key.

    The published code takes them from one sequence of keys, of which every stack of
    layers takes two whether it needs random numbers or not: the atom transformer of
    the input embedder once; templates (each of them), MSA module and pairformer in
    every pass.
    """
    stacks_per_pass = 2 + (num_templates if config.templates.num_blocks else 0)
    num_between = 2 * (1 + (config.num_recycles + 1) * stacks_per_pass)

    state, trunk_key = jax.random.split(seed_key)
    state = jax.lax.fori_loop(
        0, num_between, lambda _, key: jax.random.split(key)[0], state
    )
    return trunk_key, jax.random.split(state)[1]


def embed(
    params: Params,
    batch: Batch,
    trunk_key: Array,
    config: ModelConfig,
    runtime: Runtime,
) -> tuple[Embeddings, Int[Array, ""]]:
    """All passes through the trunk, and how many recycles they were.

    Algorithm 1, lines 1-13; with `config.recycle_tolerance` passes are left out at the
    end, which no published network does.
    """
    how = {"config": config, "runtime": runtime}
    single_inputs = apply(embed_inputs, params, batch, **how)

    def recycle(_: Any, carry: tuple[Embeddings, Array]) -> tuple[Embeddings, Array]:
        previous, key = carry
        key, pass_key = jax.random.split(key)
        return apply(
            run_trunk, params, batch, previous, pass_key, **how
        ).embeddings, key

    start = zero_embeddings(single_inputs, config), trunk_key
    num_passes, tolerance = config.num_recycles + 1, config.recycle_tolerance
    if tolerance is None:
        carry = jax.lax.fori_loop(0, num_passes, recycle, start)
        return carry[0], jnp.int32(config.num_recycles)

    mask = jnp.asarray(batch.tokens.mask)

    def goes_on(state: tuple[Any, Array, Array]) -> Array:
        _, number, change = state
        return (number < num_passes) & (change >= tolerance)

    def recycle_and_compare(
        state: tuple[Any, Array, Array],
    ) -> tuple[Any, Array, Array]:
        carry, number, _ = state
        following = recycle(number, carry)
        change = relative_change(carry[0].pair, following[0].pair, mask)
        return following, number + 1, change

    first = start, jnp.int32(0), jnp.float32(jnp.inf)
    carry, number, _ = jax.lax.while_loop(goes_on, recycle_and_compare, first)
    return carry[0], number - 1


def relative_change(
    before: Float[Array, "n n c"], now: Float[Array, "n n c"], mask: Bool[Array, "n"]
) -> Float[Array, ""]:
    """Root mean square of what changed, as a share of that of `now`; of real pairs."""
    is_real = (mask[:, None] & mask[None, :])[..., None]

    def total(values: Array) -> Array:
        return jnp.sum(jnp.square(values), where=is_real)

    after = now.astype(jnp.float32)
    return jnp.sqrt(total(after - before.astype(jnp.float32)) / total(after))


def predict(
    params: Params,
    batch: Batch,
    seed_key: Array,
    drawn_tokens: Int[Array, ""] | None = None,
    *,
    config: ModelConfig,
    runtime: Runtime,
) -> Prediction:
    """Predicts `config.sampler.num_samples` structures of one job and seed.

    Algorithm 1. `seed_key` is `jax.random.PRNGKey(seed)`; equal seeds, parameters and
    settings give the structures of AlphaFold 3 if `drawn_tokens` is the size that
    it pads the job to (see `draw_noise`). `config` and `runtime` are static under
    jit; a batch of another shape compiles anew.
    """
    with _precision(runtime):
        return _predict(params, batch, seed_key, drawn_tokens, config, runtime)


def predict_group(
    params: Params,
    batches: Sequence[Batch],
    seed_keys: Sequence[Array],
    drawn_tokens: Sequence[Int[Array, ""]] | None = None,
    *,
    config: ModelConfig,
    runtime: Runtime,
) -> tuple[Prediction, ...]:
    """`predict` for several items at once, in one program.

    Small items leave a large device idle when they come one after another. Items do not
    see one another: each gets what `predict` gives it alone, up to the order of
    summation, and as many times the memory is needed.

    Raises ValueError when the batches are not of one shape.
    """
    structure = jax.tree.structure(batches[0])
    shapes = [[x.shape for x in jax.tree.leaves(batch)] for batch in batches]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("items of one group must be padded to the same shape")
    result = None

    def one(leaves: list[Array], key: Array, drawn: Array | None) -> list[Array]:
        nonlocal result
        batch = jax.tree.unflatten(structure, leaves)
        prediction = _predict(params, batch, key, drawn, config, runtime)
        leaves, result = jax.tree.flatten(prediction)
        return leaves

    drawn = None if drawn_tokens is None else jnp.stack(drawn_tokens)
    leaves = zip(*map(jax.tree.leaves, batches), strict=True)
    stacked = [jnp.stack(x) for x in leaves]
    with _precision(runtime):
        together = jax.vmap(one)(stacked, jnp.stack(seed_keys), drawn)
    return tuple(
        jax.tree.unflatten(result, [x[i] for x in together])
        for i in range(len(batches))
    )


def _precision(runtime: Runtime) -> AbstractContextManager[None]:
    # float32 means float32: by default a GPU multiplies float32 as TensorFloat-32.
    highest = "highest" if runtime.dtype == "float32" else None
    return jax.default_matmul_precision(highest)


def _predict(
    params: Params,
    batch: Batch,
    seed_key: Array,
    drawn_tokens: Int[Array, ""] | None,
    config: ModelConfig,
    runtime: Runtime,
) -> Prediction:
    how = {"config": config, "runtime": runtime}
    num_templates = batch.templates.residue_type.shape[0]
    trunk_key, sampler_key = split_keys(seed_key, config, num_templates)
    embeddings, num_recycles = embed(
        params, batch, trunk_key, config, runtime
    )  # lines 1-13

    conditioning = apply(condition, params, batch, embeddings, **how)

    def denoise_at(noisy: Array, noise_level: Array) -> Array:
        def some(samples: Array) -> Array:
            return apply(
                denoise, params, batch, conditioning, samples, noise_level, **how
            )

        if runtime.one_sample_at_a_time:
            return jax.lax.map(lambda sample: some(sample[None])[0], noisy)
        return some(noisy)

    mask = jnp.asarray(batch.predicted_atom_mask)
    positions = sample_positions(
        denoise_at, mask, sampler_key, config.sampler, drawn_tokens
    )  # line 14
    confidence = jax.lax.map(
        lambda sample: apply(
            predict_confidence, params, batch, embeddings, sample, **how
        ),
        positions,
    )  # line 15
    distogram = apply(
        predict_distogram,
        params,
        batch,
        embeddings.pair,
        config=config.distogram,
        runtime=runtime,
    )  # line 16
    return Prediction(
        positions=positions,
        mask=jnp.broadcast_to(mask[None], positions.shape[:-1]),
        confidence=confidence,
        distogram=distogram,
        embeddings=embeddings if runtime.return_embeddings else None,
        num_recycles=num_recycles,
    )


def compile_predict(config: ModelConfig, runtime: Runtime) -> Callable[..., Prediction]:
    """`predict` for one configuration, compiled once for each shape of batch.

    It takes the parameters, the batch, the seed's key and, optionally, `drawn_tokens`.
    """
    return jax.jit(functools.partial(predict, config=config, runtime=runtime))


def compile_predict_group(
    config: ModelConfig, runtime: Runtime
) -> Callable[..., tuple[Prediction, ...]]:
    """`predict_group` for one configuration, compiled once for each shape and number.

    It takes the parameters and sequences of batches, of keys and of `drawn_tokens`.
    """
    return jax.jit(functools.partial(predict_group, config=config, runtime=runtime))
