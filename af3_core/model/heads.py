"""Confidence and distogram. SI Algorithm 31 and SI 4.3-4.4."""

from dataclasses import dataclass

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from af3_core.model.batch import Batch
from af3_core.model.config import ConfidenceHead, DistogramHead, ModelConfig, Runtime
from af3_core.model.diffusion import Embeddings
from af3_core.model.pairformer import PairformerStack
from af3_core.model.primitives import LayerNorm, Linear, gather
from af3_core.model.templates import one_hot_distances

CONTACT_DISTANCE = 8.0
"""Representative atoms closer than this, Å, are in contact."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ConfidenceLogits:
    """What the confidence head says before it is summed up; training reads it."""

    plddt: Float[Array, "*b n x lddt_bins"]
    pae: Float[Array, "*b n n error_bins"]
    pde: Float[Array, "*b n n error_bins"]
    resolved: Float[Array, "*b n x 2"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Confidence:
    """What the network expects its errors to be, for one sample or several (b)."""

    predicted_lddt: Float[Array, "*b n x"]
    """0 to 100."""
    predicted_experimentally_resolved: Float[Array, "*b n x"]
    """Probability."""
    full_pae: Float[Array, "*b n n"]
    """Error (Å) of token j when aligned on the frame of token i (row)."""
    full_pde: Float[Array, "*b n n"]
    """Error (Å) of the distance between tokens."""
    average_pde: Float[Array, "*b"]
    tmscore_adjusted_pae_global: Float[Array, "*b n n"]
    """Expected TM-score term of each aligned pair, d0 from the whole complex."""
    tmscore_adjusted_pae_interface: Float[Array, "*b n n"]
    """The same, d0 from the two chains of the pair."""
    logits: ConfidenceLogits | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Distogram:
    """Distances between representative atoms, before any structure is sampled."""

    contact_probs: Float[Array, "n n"]
    bin_edges: Float[Array, "edges"]
    """Å"""
    logits: Float[Array, "n n bins"] | None


def error_bin_centres(max_error: float, num_bins: int) -> Float[Array, "bins"]:
    """Centres of bins of equal width, Å; the last is beyond `max_error`."""
    width = max_error / (num_bins - 2)
    return width * (jnp.arange(num_bins, dtype=jnp.float32) + 0.5)


class ConfidenceModule(hk.Module):
    """SI Algorithm 31.

    Differs from the paper: distances fall in the bins of the template embedder, the
    pairformer's output replaces its input, and pairs outside the mask get error 0.
    """

    def __init__(self, config: ConfidenceHead, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(
        self, batch: Batch, embeddings: Embeddings, positions: Float[Array, "n x 3"]
    ) -> Confidence:
        config, dtype = self.config, self.runtime.float_dtype
        mask = jnp.asarray(batch.tokens.mask)
        pair_mask = mask[:, None] & mask[None, :]
        inputs = embeddings.single_inputs.astype(dtype)
        num_channels = embeddings.pair.shape[-1]
        left = Linear(num_channels, name="left")(inputs)
        right = Linear(num_channels, name="right")(inputs)
        representatives = gather(batch.pseudo_beta, positions, num_axes=2)
        distances = one_hot_distances(representatives, config.distance_bins)
        distances = jnp.where(pair_mask[..., None], distances, 0.0).astype(dtype)
        pair = embeddings.pair.astype(dtype) + left[None, :] + right[:, None]  # 1
        pair = pair + Linear(num_channels, name="distance")(distances)  # lines 2-3
        stack = PairformerStack(config.pairformer, self.runtime, name="pairformer")
        single, pair = stack(embeddings.single.astype(dtype), pair, mask)  # line 4
        return self._predict_errors(
            batch, single.astype(jnp.float32), pair.astype(jnp.float32), pair_mask
        )

    @hk.transparent
    def _predict_errors(
        self,
        batch: Batch,
        single: Float[Array, "n cs"],
        pair: Float[Array, "n n cz"],
        pair_mask: Bool[Array, "n n"],
    ) -> Confidence:
        config = self.config
        centres = error_bin_centres(config.max_error, config.num_error_bins)

        def predict(x: Array, output: int | tuple[int, ...], name: str) -> Array:
            normed = LayerNorm(name=f"{name}_norm")(x)
            return Linear(output, name=name, init="zeros")(normed)

        half = predict(pair, config.num_error_bins, "pde")
        pde_logits = half + jnp.swapaxes(half, 0, 1)  # line 6
        pde = jnp.where(pair_mask, expect(pde_logits, centres), 0.0)
        pae_logits = predict(pair, config.num_error_bins, "pae")  # line 5
        num_pairs = jnp.sum(pair_mask.astype(jnp.float32))
        scale_global, scale_interface = tm_scales(
            jnp.asarray(batch.tokens.asym_id), jnp.asarray(batch.tokens.mask)
        )
        num_slots = batch.predicted_atom_mask.shape[-1]
        bins = config.num_plddt_bins
        lddt_centres = 100.0 * (jnp.arange(bins, dtype=jnp.float32) + 0.5) / bins
        lddt = predict(single, (num_slots, bins), "plddt")  # line 7
        resolved = predict(single, (num_slots, 2), "resolved")  # line 8
        return Confidence(
            predicted_lddt=expect(lddt, lddt_centres),
            predicted_experimentally_resolved=jax.nn.softmax(resolved)[..., 1],
            full_pae=jnp.where(pair_mask, expect(pae_logits, centres), 0.0),
            full_pde=pde,
            average_pde=jnp.sum(pde) / num_pairs,
            tmscore_adjusted_pae_global=expect_tm(pae_logits, centres, scale_global),
            tmscore_adjusted_pae_interface=expect_tm(
                pae_logits, centres, scale_interface
            ),
            logits=(
                ConfidenceLogits(lddt, pae_logits, pde_logits, resolved)
                if self.runtime.return_confidence_logits
                else None
            ),
        )


def expect(
    logits: Float[Array, "*shape bins"], values: Float[Array, "bins"]
) -> Float[Array, "*shape"]:
    """The mean of `values` under the distribution that `logits` state."""
    highest = jax.lax.Precision.HIGHEST
    return jnp.einsum("...b,b->...", jax.nn.softmax(logits), values, precision=highest)


def tm_scales(
    asym_id: Int[Array, "n"], mask: Bool[Array, "n"]
) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """d0 (Å) of the TM-score for each pair: of the complex, and of its two chains.

    Zhang and Skolnick 2004, equation 5, doi:10.1002/prot.20264; 19 residues at least,
    below which it would not be positive.
    """
    pair_mask = mask[:, None] & mask[None, :]
    same_chain = asym_id[:, None] == asym_id[None, :]
    chain_tokens = jnp.sum(same_chain & pair_mask, axis=-1)
    pair_tokens = chain_tokens[None, :] + chain_tokens[:, None]
    # A pair within one chain must not count the chain twice.
    pair_tokens = jnp.where(same_chain, pair_tokens - pair_tokens // 2, pair_tokens)

    def scale(num_tokens: Int[Array, "n n"]) -> Float[Array, "n n"]:
        num_tokens = jnp.maximum(num_tokens, 19).astype(jnp.float32)
        return 1.24 * (num_tokens - 15.0) ** (1.0 / 3.0) - 1.8

    everything = jnp.broadcast_to(jnp.sum(mask), pair_mask.shape)
    return scale(everything), scale(jnp.where(pair_mask, pair_tokens, 0))


def expect_tm(
    logits: Float[Array, "n n bins"],
    centres: Float[Array, "bins"],
    scale: Float[Array, "n n"],
) -> Float[Array, "n n"]:
    """The expected TM-score term 1 / (1 + (error / d0)²) of each pair."""
    ratio = jnp.square(centres[None, None]) / jnp.square(scale[..., None])
    return jnp.sum(jax.nn.softmax(logits) / (1.0 + ratio), axis=-1)


def predict_confidence(
    batch: Batch,
    embeddings: Embeddings,
    positions: Float[Array, "n x 3"],
    config: ModelConfig,
    runtime: Runtime,
) -> Confidence:
    """The confidence head as a function."""
    module = ConfidenceModule(config.confidence, runtime, name="confidence")
    return module(batch, embeddings, positions)


def predict_distogram(
    batch: Batch, pair: Float[Array, "n n c"], config: DistogramHead, runtime: Runtime
) -> Distogram:
    """SI 4.4: distances between representative atoms, symmetric by construction."""
    half = Linear(config.num_bins, name="distogram", init="zeros")(pair)
    logits = half + jnp.swapaxes(half, 0, 1)
    edges = jnp.linspace(config.first_break, config.last_break, config.num_bins - 1)
    tops = jnp.append(edges, 2 * edges[-1] - edges[-2])
    # The top of a bin is a multiple of 5/16 Å: a thousandth absorbs its rounding.
    is_contact = (tops <= CONTACT_DISTANCE + 1e-3).astype(jnp.float32)
    mask = jnp.asarray(batch.tokens.mask)
    return Distogram(
        contact_probs=jnp.where(
            mask[:, None] & mask[None, :], expect(logits, is_contact), 0.0
        ),
        bin_edges=edges,
        logits=logits if runtime.return_distogram else None,
    )
