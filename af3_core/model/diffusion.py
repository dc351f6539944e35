"""The diffusion module and its sampler. SI Algorithms 18-22."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from af3_core.features.buckets import AF3_BUCKETS, bucket_for
from af3_core.model.atoms import (
    AtomCondition,
    AtomConditioning,
    AtomDecoder,
    AtomEncoder,
    AtomPairBias,
)
from af3_core.model.batch import Batch, Tokens
from af3_core.model.conditioned import (
    TokenPairBias,
    TokenTransformer,
    project_pair_bias,
)
from af3_core.model.config import Conventions, ModelConfig, Runtime, Sampler
from af3_core.model.embedding import encode_relative_positions
from af3_core.model.fourier import FourierEmbedding
from af3_core.model.primitives import (
    LayerNorm,
    Linear,
    Transition,
    gather,
    map_rows,
    mean_where,
)

SIGMA_DATA = 16.0
"""Standard deviation of atom positions in the training data, Å."""

_HIGHEST = jax.lax.Precision.HIGHEST


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Embeddings:
    """What the trunk hands to the heads."""

    single_inputs: Float[Array, "n ci"]
    single: Float[Array, "n cs"]
    pair: Float[Array, "n n cz"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Conditioning:
    """What every denoising step of every sample shares."""

    single: Float[Array, "1 n cs"]
    """Before the noise level is added."""
    trunk_pair: Float[Array, "n n cz"] | None
    """Normalised; None where the biases below are projected already."""
    token_bias: Array
    """[super blocks h n n], or the weights that project them from `trunk_pair`."""
    atoms: AtomCondition
    encoder_bias: Float[Array, "blocks w h q k"]
    decoder_bias: Float[Array, "blocks w h q k"]


class PairConditioning(hk.Module):
    """SI Algorithm 21, lines 1-5."""

    def __init__(self, config: ModelConfig, *, name: str) -> None:
        super().__init__(name=name)
        self.config = config

    def __call__(
        self, rows: Float[Array, "r n c"], row_tokens: Tokens, tokens: Tokens
    ) -> Float[Array, "r n c"]:
        """Rows of the conditioning, float32, from rows of the pair representation."""
        config = self.config
        encoding = encode_relative_positions(
            row_tokens, tokens, config.max_relative_index, config.max_relative_chain
        )
        pair = rows.astype(jnp.float32)
        features = jnp.concatenate([pair, encoding], axis=-1)  # line 1
        normed = LayerNorm(name="norm", use_offset=False)(features)
        x = Linear(config.pair_channels, name="project", precision=_HIGHEST)(normed)
        for i in (1, 2):
            x = Transition(2, name=f"transition_{i}")(x)  # lines 3-5
        return x


class SingleConditioning(hk.Module):
    """SI Algorithm 21, lines 6-7: the part without the noise level."""

    def __call__(self, embeddings: Embeddings) -> Float[Array, "1 n c"]:
        inputs = embeddings.single_inputs.astype(jnp.float32)
        features = jnp.concatenate([embeddings.single, inputs], axis=-1)  # line 6
        normed = LayerNorm(name="norm", use_offset=False)(features)
        num_channels = embeddings.single.shape[-1]
        return Linear(num_channels, name="project", precision=_HIGHEST)(normed)[None]


class NoiseConditioning(hk.Module):
    """SI Algorithm 21, lines 8-12: the noise level joins the single conditioning."""

    def __init__(self, conventions: Conventions, *, name: str) -> None:
        super().__init__(name=name)
        self.conventions = conventions

    def __call__(
        self, single: Float[Array, "1 n c"], noise_level: Float[Array, ""]
    ) -> Float[Array, "1 n c"]:
        embed = FourierEmbedding(self.conventions.noise_frequencies, name="fourier")
        embedded = embed(noise_level / SIGMA_DATA)  # line 8
        normed = LayerNorm(name="norm", use_offset=False)(embedded)
        project = Linear(single.shape[-1], name="project", precision=_HIGHEST)
        single = single + project(normed)[None, None]  # line 9
        for i in (1, 2):
            single = Transition(2, name=f"transition_{i}")(single)  # 10-12
        return single


def condition(
    batch: Batch, embeddings: Embeddings, config: ModelConfig, runtime: Runtime
) -> Conditioning:
    """The conditioning that does not depend on the noise level.

    SI Algorithm 21, lines 1-7, and SI Algorithm 5, lines 1-14; all in float32.
    """
    settings = config.diffusion
    num_tokens = len(embeddings.pair)
    condition_pair = PairConditioning(config, name="diffusion_pair_conditioning")
    condition_atoms = AtomConditioning(
        config.atom_channels,
        config.atom_pair_channels,
        config.conventions,
        name="diffusion_atom_conditioning",
    )
    pair_bias = TokenPairBias(settings.transformer, name="diffusion_token_pair_bias")

    bias_weights = pair_bias.weights(config.pair_channels)
    is_cached = num_tokens <= runtime.cached_bias_tokens

    def condition_rows(rows: Array, row_tokens: Tokens) -> tuple[Array, Array]:
        pair = condition_pair(rows, row_tokens, batch.tokens)
        normed = pair_bias(pair)
        return (
            condition_atoms.embed_trunk_pair(pair),
            project_pair_bias(normed, bias_weights) if is_cached else normed,
        )

    # Wide and float32: a part of the rows that the trunk computes at once.
    chunk = runtime.rows_at_once(num_tokens, share=32)
    for_atoms, for_tokens = map_rows(
        condition_rows,
        chunk,
        embeddings.pair,
        batch.tokens,
        out_axis=(0, 3 if is_cached else 0),
    )
    atoms = condition_atoms(batch, embeddings.single, for_atoms)
    encoder_bias = AtomPairBias(
        settings.atom_encoder, name="diffusion_encoder_pair_bias"
    )
    decoder_bias = AtomPairBias(
        settings.atom_decoder, name="diffusion_decoder_pair_bias"
    )
    return Conditioning(
        single=SingleConditioning(name="diffusion_single_conditioning")(embeddings),
        trunk_pair=None if is_cached else for_tokens,
        token_bias=for_tokens if is_cached else bias_weights,
        atoms=atoms,
        encoder_bias=encoder_bias(atoms.pair),
        decoder_bias=decoder_bias(atoms.pair),
    )


class DiffusionModule(hk.Module):
    """Denoises samples of positions (Å). SI Algorithm 20."""

    def __init__(self, config: ModelConfig, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(
        self,
        batch: Batch,
        conditioning: Conditioning,
        noisy: Float[Array, "b n x 3"],
        noise_level: Float[Array, ""],
    ) -> Float[Array, "b n x 3"]:
        config, runtime = self.config.diffusion, self.runtime
        channels, windows = config.transformer.num_channels, batch.windows
        atoms = conditioning.atoms
        atom_mask = jnp.asarray(batch.predicted_atom_mask)[None, ..., None]
        single = NoiseConditioning(self.config.conventions, name="noise_conditioning")(
            conditioning.single, noise_level
        )  # line 1
        scale = jnp.sqrt(jnp.square(noise_level) + SIGMA_DATA**2)
        scaled = jnp.where(atom_mask, noisy, 0.0) / scale  # line 2

        queries = gather(windows.token_atoms_to_queries, scaled, axis=1, num_axes=2)
        embed = Linear(
            atoms.single.shape[-1], name="embed_positions", precision=_HIGHEST
        )
        embedded = jnp.where(atoms.mask[None, ..., None], embed(queries), 0.0)
        # Differs from the paper: q starts from c with the trunk's part (SI Algorithm
        # 5, line 9), not from c before it (line 7).
        encoded = AtomEncoder(
            config.atom_encoder, channels, runtime, name="atom_encoder"
        )(embedded + atoms.single, atoms, conditioning.encoder_bias, batch)  # line 3
        normed = LayerNorm(name="single_norm", use_offset=False)(single)
        embed = Linear(channels, name="embed_single", init="zeros", precision=_HIGHEST)
        tokens = encoded.tokens + embed(normed)  # line 4
        tokens = TokenTransformer(config.transformer, runtime, name="transformer")(
            tokens,
            single,
            conditioning.trunk_pair,
            conditioning.token_bias,
            jnp.asarray(batch.tokens.mask),
        )  # line 5
        tokens = LayerNorm(name="output_norm", use_offset=False)(tokens)  # line 6
        update = AtomDecoder(config.atom_decoder, runtime, name="atom_decoder")(
            tokens, encoded.skip, atoms, conditioning.decoder_bias, windows
        )  # line 7
        kept = SIGMA_DATA**2 / jnp.square(scale)
        updated = noise_level * SIGMA_DATA / scale
        return jnp.where(atom_mask, kept * noisy + updated * update, 0.0)  # line 8


def denoise(
    batch: Batch,
    conditioning: Conditioning,
    noisy: Float[Array, "b n x 3"],
    noise_level: Float[Array, ""],
    config: ModelConfig,
    runtime: Runtime,
) -> Float[Array, "b n x 3"]:
    """The diffusion module as a function."""
    module = DiffusionModule(config, runtime, name="diffusion")
    return module(batch, conditioning, noisy, noise_level)


def noise_schedule(sampler: Sampler) -> Float[np.ndarray, "steps_and_one"]:
    """Noise levels from the highest to the lowest, Å. SI equation 7."""
    first, last = (
        sampler.sigma_max ** (1 / sampler.rho),
        sampler.sigma_min ** (1 / sampler.rho),
    )
    t = np.linspace(0, 1, sampler.num_steps + 1, dtype=np.float32)
    levels = SIGMA_DATA * (first + t * (last - first)) ** sampler.rho
    return levels.astype(np.float32)


def random_rotation(key: Array) -> Float[Array, "3 3"]:
    """A uniform rotation: two random normal vectors, made orthonormal."""

    def normalise(x: Array) -> Array:
        return x / jnp.maximum(1e-10, jnp.linalg.norm(x))

    first, second = jax.random.normal(key, (2, 3))
    x = normalise(first)
    y = normalise(second - x * jnp.dot(second, x, precision=_HIGHEST))
    return jnp.stack([x, y, jnp.cross(x, y)])


def centre_random_augmentation(
    key: Array, positions: Float[Array, "n x 3"], mask: Bool[Array, "n x"]
) -> Float[Array, "n x 3"]:
    """Centres, rotates at random and shifts by about 1 Å. SI Algorithm 19."""
    rotation_key, translation_key = jax.random.split(key)
    centre = mean_where(mask[..., None], positions, axis=(0, 1), epsilon=1e-6)
    centred = positions - centre[None, None]  # line 1
    rotation = random_rotation(rotation_key)  # line 2
    translation = jax.random.normal(translation_key, (3,))  # line 3
    rotated = jnp.einsum("nxi,ij->nxj", centred, rotation, precision=_HIGHEST)
    return jnp.where(mask[..., None], rotated + translation[None, None], 0.0)  # line 4


def draw_noise(
    key: Array,
    num_samples: int,
    shape: tuple[int, int],
    drawn_tokens: Int[Array, ""] | None,
    buckets: Sequence[int] = AF3_BUCKETS,
) -> Float[Array, "b n x 3"]:
    """Normal noise for every atom slot of all samples, cut from one draw.

    It is what AlphaFold 3 draws for `drawn_tokens` tokens, whatever this batch is
    padded to. The i-th number of a draw depends on the key and on i alone, so one
    draw that is long enough holds those of all sizes.

    Args:
        shape: tokens and slots of the batch.
        drawn_tokens: at most the bucket for a batch of this size; None: the batch's.
            Tokens beyond it get noise that means nothing.
        buckets: what it may be.
    """
    if not jax.config.jax_threefry_partitionable:
        raise RuntimeError("random numbers need jax_threefry_partitionable, a default")
    num_tokens, num_slots = shape
    if drawn_tokens is None:
        return jax.random.normal(key, (num_samples, num_tokens, num_slots, 3))
    per_token = 3 * num_slots
    longest = num_samples * bucket_for(num_tokens, buckets) * per_token
    numbers = jax.random.normal(key, (longest,))
    starts = jnp.arange(num_samples) * drawn_tokens * per_token

    def cut(start: Int[Array, ""]) -> Float[Array, "numbers"]:
        return jax.lax.dynamic_slice(numbers, (start,), (num_tokens * per_token,))

    return jax.vmap(cut)(starts).reshape(num_samples, num_tokens, num_slots, 3)


def raised_level(previous: Array, level: Array, sampler: Sampler) -> Array:
    """The noise level (Å) that a step denoises from. SI Algorithm 18, lines 4-5."""
    gamma = jnp.where(level > sampler.gamma_min, sampler.gamma_0, 0.0)
    return previous * (1 + gamma)


def step_towards(
    noisy: Float[Array, "*b n x 3"],
    denoised: Float[Array, "*b n x 3"],
    t_hat: Array,
    level: Array,
    sampler: Sampler,
) -> Float[Array, "*b n x 3"]:
    """Positions at the next noise level. SI Algorithm 18, lines 9-11."""
    delta = (noisy - denoised) / t_hat
    return noisy + sampler.step_scale * (level - t_hat) * delta


def sample_positions(
    denoise_at: Callable[[Array, Array], Array],
    mask: Bool[Array, "n x"],
    key: Array,
    sampler: Sampler,
    drawn_tokens: Int[Array, ""] | None = None,
) -> Float[Array, "b n x 3"]:
    """Samples structures, Å. SI Algorithm 18.

    `denoise_at(noisy, noise_level)` maps [b n x 3] to the same; `drawn_tokens` is as
    in `draw_noise`. Differs from the paper: the step of line 9 starts from the noisy
    positions.
    """
    levels = jnp.asarray(noise_schedule(sampler))
    key, first_key = jax.random.split(key)
    num_samples = sampler.num_samples
    buckets = sampler.noise_buckets
    first = draw_noise(
        first_key, num_samples, (len(mask), mask.shape[1]), drawn_tokens, buckets
    )
    positions = levels[0] * first

    def step(carry: tuple[Array, Array], level_pair: Array) -> tuple[tuple, None]:
        keys, positions = carry
        previous, level = level_pair
        split = jax.vmap(lambda k: jax.random.split(k, 3))(keys)
        keys, noise_keys, augmentation_keys = (split[:, i] for i in range(3))
        positions = jax.vmap(centre_random_augmentation, in_axes=(0, 0, None))(
            augmentation_keys, positions, mask
        )  # line 3
        t_hat = raised_level(previous, level, sampler)  # lines 4-5
        variance = jnp.square(t_hat) - jnp.square(previous)
        # Every sample has a key of its own, so these do not depend on the padding.
        noise = jax.vmap(lambda k: jax.random.normal(k, (*mask.shape, 3)))(noise_keys)
        # Rounding may make the variance of a step without noise negative.
        noise = sampler.noise_scale * jnp.sqrt(jnp.maximum(variance, 0.0)) * noise
        noisy = positions + noise  # lines 6-7
        denoised = denoise_at(noisy, t_hat)  # line 8
        positions = step_towards(noisy, denoised, t_hat, level, sampler)  # lines 9-11
        return (keys, positions), None

    start = jax.random.split(key, num_samples), positions  # line 1
    level_pairs = jnp.stack([levels[:-1], levels[1:]], axis=1)
    (_, positions), _ = jax.lax.scan(step, start, level_pairs)
    return positions
