"""What one step computes: forward passes and their losses. SI 3.7, 4 and 5."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from af3_core.model.batch import Batch
from af3_core.model.config import ModelConfig, Runtime
from af3_core.model.diffusion import (
    Embeddings,
    centre_random_augmentation,
    condition,
    denoise,
    sample_positions,
)
from af3_core.model.heads import predict_confidence, predict_distogram
from af3_core.model.model import (
    Params,
    apply,
    embed_inputs,
    run_trunk,
    zero_embeddings,
)
from af3_core.training.confidence_loss import confidence_losses
from af3_core.training.diffusion_loss import (
    centre,
    diffusion_losses,
    draw_noise_levels,
    draw_partners,
    flatten_labels,
    has_fixed_pose,
)
from af3_core.training.distogram_loss import distogram_loss
from af3_core.training.examples import Example
from af3_core.training.settings import Confidence, Noise, Structure, Training

Losses = dict[str, Float[Array, ""]]


@dataclass(frozen=True)
class Setup:
    """What stays the same from step to step."""

    config: ModelConfig
    training: Training
    # In one piece: derivatives of a loop over chunks carry the whole of it.
    runtime: Runtime = Runtime(dtype="float32", pair_chunk=2**21)

    @property
    def how(self) -> dict[str, ModelConfig | Runtime]:
        """Arguments of every stage of the model, with what losses read."""
        runtime = dataclasses.replace(
            self.runtime, return_distogram=True, return_confidence_logits=True
        )
        return {"config": self.config, "runtime": runtime}


def structure_loss(
    params: Params, example: Example, key: Array, setup: Setup, stage: Structure
) -> tuple[Float[Array, ""], Losses]:
    """Denoiser, trunk and distogram. SI equations 6 and 15 without confidence.

    Returns:
        The sum to be minimised, and its terms before weights.
    """
    batch, labels = example.batch, example.labels
    keys = jax.random.split(key, 5)
    num_recycles = jax.random.randint(keys[0], (), 0, setup.config.num_recycles + 1)
    embeddings = embed_recycled(params, batch, keys[1], num_recycles, setup)
    levels = draw_noise_levels(keys[2], stage.noise_levels, stage.noise)
    denoised = denoise_labels(
        params, example, embeddings, keys[3], levels, setup, stage.noise
    )
    resolved = flatten_labels(batch, labels).resolved
    number = stage.lddt_partners or len(resolved)
    partners = draw_partners(keys[4], resolved, min(number, len(resolved)))
    diffusion = diffusion_losses(denoised, levels, batch, labels, partners, stage.noise)
    distogram = apply(
        predict_distogram,
        params,
        batch,
        embeddings.pair,
        config=setup.config.distogram,
        runtime=setup.how["runtime"],
    )
    losses = {**vars(diffusion), "distogram": distogram_loss(distogram, batch, labels)}
    weights = stage.weights
    of_diffusion = (
        losses["mse"]
        + weights.bond * losses["bond"]
        + weights.smooth_lddt * losses["smooth_lddt"]
    )
    total = weights.diffusion * of_diffusion + weights.distogram * losses["distogram"]
    return total, losses


def confidence_loss(
    params: Params, example: Example, key: Array, setup: Setup, stage: Confidence
) -> tuple[Float[Array, ""], Losses]:
    """The confidence head, on a sample of the network itself. SI 4.3, equation 15.

    Gradients reach the head alone.
    """
    batch, how = example.batch, setup.how
    frozen = jax.lax.stop_gradient(params)
    keys = jax.random.split(key, 3)
    num_recycles = jax.random.randint(keys[0], (), 0, setup.config.num_recycles + 1)
    embeddings = embed_recycled(frozen, batch, keys[1], num_recycles, setup)
    sample = roll_out(frozen, batch, embeddings, keys[2], setup, stage.rollout_steps)
    embeddings, sample = jax.lax.stop_gradient((embeddings, sample))
    confidence = apply(predict_confidence, params, batch, embeddings, sample, **how)
    losses = vars(
        confidence_losses(
            confidence.logits,
            sample,
            batch,
            example.labels,
            setup.config.confidence.max_error,
        )
    )
    total = losses["plddt"] + losses["pde"] + losses["resolved"]
    return total + stage.pae * losses["pae"], dict(losses)


def embed_recycled(
    params: Params,
    batch: Batch,
    key: Array,
    num_recycles: Int[Array, ""],
    setup: Setup,
) -> Embeddings:
    """The trunk, with a gradient through its last pass only. SI Algorithm 1.

    `num_recycles` may differ from step to step without compiling anew.
    """
    single_inputs = apply(embed_inputs, params, batch, **setup.how)
    frozen = jax.lax.stop_gradient((params, single_inputs))
    key, last_key = jax.random.split(key)

    def recycle(index: Array, previous: Embeddings) -> Embeddings:
        pass_key = jax.random.fold_in(key, index)
        return apply(
            run_trunk, frozen[0], batch, previous, pass_key, **setup.how
        ).embeddings

    start = zero_embeddings(frozen[1], setup.config)
    previous = jax.lax.fori_loop(0, num_recycles, recycle, start)
    previous = Embeddings(
        single_inputs, *jax.lax.stop_gradient((previous.single, previous.pair))
    )
    return apply(run_trunk, params, batch, previous, last_key, **setup.how).embeddings


def denoise_labels(
    params: Params,
    example: Example,
    embeddings: Embeddings,
    key: Array,
    noise_levels: Float[Array, "b"],
    setup: Setup,
    noise: Noise,
) -> Float[Array, "b n x 3"]:
    """Denoises the experiment's positions, in a new pose for every noise level.

    At levels where `noise` fixes the pose they keep that of their file. Atoms that were
    not resolved start from noise around the origin.
    """
    batch, labels = example.batch, example.labels
    conditioning = apply(condition, params, batch, embeddings, **setup.how)
    positions = jnp.asarray(labels.positions)
    resolved = jnp.asarray(labels.resolved)
    mask = jnp.asarray(batch.predicted_atom_mask)[..., None]

    def one(key: Array, level: Array) -> Float[Array, "n x 3"]:
        pose_key, noise_key = jax.random.split(key)
        posed = jnp.where(
            has_fixed_pose(level, noise),
            centre(positions, resolved),
            centre_random_augmentation(pose_key, positions, resolved),
        )
        drawn = level * jax.random.normal(noise_key, positions.shape)
        noisy = jnp.where(mask, posed + drawn, 0.0)[None]
        return apply(denoise, params, batch, conditioning, noisy, level, **setup.how)[0]

    return jax.vmap(one)(jax.random.split(key, len(noise_levels)), noise_levels)


def roll_out(
    params: Params,
    batch: Batch,
    embeddings: Embeddings,
    key: Array,
    setup: Setup,
    num_steps: int,
) -> Float[Array, "n x 3"]:
    """One sample, Å, in fewer steps than inference takes."""
    conditioning = apply(condition, params, batch, embeddings, **setup.how)

    def denoise_at(noisy: Array, noise_level: Array) -> Array:
        return apply(
            denoise, params, batch, conditioning, noisy, noise_level, **setup.how
        )

    sampler = dataclasses.replace(
        setup.config.sampler, num_steps=num_steps, num_samples=1
    )
    mask = jnp.asarray(batch.predicted_atom_mask)
    return sample_positions(denoise_at, mask, key, sampler)[0]
