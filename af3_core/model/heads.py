"""Confidence and distogram. SI Algorithm 31 and SI 4.3-4.4."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from af3_core.model.batch import AnyArray, Batch
from af3_core.model.config import (
    ConfidenceHead,
    Conventions,
    DistogramHead,
    ModelConfig,
    Runtime,
)
from af3_core.model.diffusion import Embeddings
from af3_core.model.pairformer import PairformerStack
from af3_core.model.primitives import LayerNorm, Linear, gather, map_rows
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

    def __init__(
        self,
        config: ConfidenceHead,
        conventions: Conventions,
        runtime: Runtime,
        *,
        name: str,
    ) -> None:
        super().__init__(name=name)
        self.config, self.conventions, self.runtime = config, conventions, runtime

    def __call__(
        self, batch: Batch, embeddings: Embeddings, positions: Float[Array, "n x 3"]
    ) -> Confidence:
        config, dtype = self.config, self.runtime.float_dtype
        mask = jnp.asarray(batch.tokens.mask)
        inputs = embeddings.single_inputs.astype(dtype)
        num_tokens, num_channels = embeddings.pair.shape[1:]
        left = Linear(num_channels, name="left")(inputs)
        right = Linear(num_channels, name="right")(inputs)
        embed_distance = Linear(num_channels, name="distance")
        beta = gather(batch.pseudo_beta, positions, num_axes=2)

        def embed(rows: Array, right: Array, row_beta: Array, row_mask: Array) -> Array:
            distances = one_hot_distances(row_beta, beta, config.distance_bins)
            row_mask = row_mask[:, None] & mask[None, :]
            distances = jnp.where(row_mask[..., None], distances, 0.0).astype(dtype)
            rows = rows.astype(dtype) + left[None, :] + right[:, None]  # line 1
            return rows + embed_distance(distances)  # lines 2-3

        chunk = self.runtime.rows_at_once(num_tokens)
        pair = map_rows(embed, chunk, embeddings.pair, right, beta, mask)
        stack = PairformerStack(config.pairformer, self.runtime, name="pairformer")
        single, pair = stack(embeddings.single.astype(dtype), pair, mask)  # line 4
        return self._predict_errors(batch, single.astype(jnp.float32), pair)

    @hk.transparent
    def _predict_errors(
        self, batch: Batch, single: Float[Array, "n cs"], pair: Float[Array, "n n cz"]
    ) -> Confidence:
        config, runtime = self.config, self.runtime
        centres = error_bin_centres(config.max_error, config.num_error_bins)
        mask, asym_id = (
            jnp.asarray(x) for x in (batch.tokens.mask, batch.tokens.asym_id)
        )
        chains = Chains(asym_id, mask, chain_sizes(asym_id, mask))

        def head(output: int | tuple[int, ...], name: str) -> Callable[[Array], Array]:
            norm = LayerNorm(name=f"{name}_norm")
            project = Linear(output, name=name, init="zeros")
            return lambda x: project(norm(x.astype(jnp.float32)))

        pde_head, pae_head = (head(config.num_error_bins, x) for x in ("pde", "pae"))

        def predict_rows(
            rows: Float[Array, "r n cz"], index: Int[Array, "r"], row_chains: Chains
        ) -> PairErrors:
            columns = take_columns(pair, index)
            pde = pde_head(rows) + jnp.swapaxes(pde_head(columns), 0, 1)  # line 6
            pae = pae_head(rows)  # line 5
            row_mask = row_chains.mask[:, None] & mask[None, :]
            everything, interface = tm_scales(row_chains, chains)
            return PairErrors(
                pae=jnp.where(row_mask, expect(pae, centres), 0.0),
                pde=jnp.where(row_mask, expect(pde, centres), 0.0),
                tm_global=expect_tm(pae, centres, everything),
                tm_interface=expect_tm(pae, centres, interface),
                logits=(pae, pde) if runtime.return_confidence_logits else None,
            )

        # Logits are float32: an eighth of the rows that the trunk computes at once.
        chunk = runtime.rows_at_once(len(pair), share=8)
        errors = map_rows(predict_rows, chunk, pair, jnp.arange(len(pair)), chains)
        num_slots = batch.predicted_atom_mask.shape[-1]
        bins = config.num_plddt_bins
        lddt_centres = 100.0 * (jnp.arange(bins, dtype=jnp.float32) + 0.5) / bins
        lddt = head((num_slots, bins), "plddt")(single)  # line 7
        resolved = head((num_slots, 2), "resolved")(single)  # line 8
        if self.conventions.atom_confidences == "by_rank":
            lddt, resolved = (
                by_rank(x, batch.predicted_atom_mask) for x in (lddt, resolved)
            )
        num_pairs = jnp.square(jnp.sum(mask.astype(jnp.float32)))
        return Confidence(
            predicted_lddt=expect(lddt, lddt_centres),
            predicted_experimentally_resolved=jax.nn.softmax(resolved)[..., 1],
            full_pae=errors.pae,
            full_pde=errors.pde,
            average_pde=jnp.sum(errors.pde) / num_pairs,
            tmscore_adjusted_pae_global=errors.tm_global,
            tmscore_adjusted_pae_interface=errors.tm_interface,
            logits=(
                ConfidenceLogits(lddt, errors.logits[0], errors.logits[1], resolved)
                if errors.logits is not None
                else None
            ),
        )


class Chains(NamedTuple):
    """The chain of each token, and how many tokens that has."""

    asym_id: Int[Array, "n"]
    mask: Bool[Array, "n"]
    size: Int[Array, "n"]


class PairErrors(NamedTuple):
    """What the confidence head says of some rows of pairs, and of all columns."""

    pae: Float[Array, "r n"]
    pde: Float[Array, "r n"]
    tm_global: Float[Array, "r n"]
    tm_interface: Float[Array, "r n"]
    logits: tuple[Float[Array, "r n bins"], Float[Array, "r n bins"]] | None
    """Of PAE and PDE."""


def by_rank(
    outputs: Float[Array, "n x c"], atom_mask: Bool[AnyArray, "n x"]
) -> Float[Array, "n x c"]:
    """Gives every atom the output of its place among the token's atoms."""
    rank = jnp.cumsum(jnp.asarray(atom_mask).astype(jnp.int32), axis=-1) - 1
    index = jnp.maximum(rank, 0)[..., None]
    return jnp.take_along_axis(outputs, index, axis=1)


def expect(
    logits: Float[Array, "*shape bins"], values: Float[Array, "bins"]
) -> Float[Array, "*shape"]:
    """The mean of `values` under the distribution that `logits` state."""
    highest = jax.lax.Precision.HIGHEST
    return jnp.einsum("...b,b->...", jax.nn.softmax(logits), values, precision=highest)


def chain_sizes(asym_id: Int[Array, "n"], mask: Bool[Array, "n"]) -> Int[Array, "n"]:
    """How many tokens the chain of each token has; 0 for padding."""
    same_chain = asym_id[:, None] == asym_id[None, :]
    return jnp.sum(same_chain & mask[:, None] & mask[None, :], axis=-1)


def tm_scales(
    rows: Chains, columns: Chains
) -> tuple[Float[Array, "r n"], Float[Array, "r n"]]:
    """d0 (Å) of the TM-score for each pair: of the complex, and of its two chains.

    Zhang and Skolnick 2004, equation 5, doi:10.1002/prot.20264; 19 residues at least,
    below which it would not be positive. `columns` are all tokens.
    """
    pair_mask = rows.mask[:, None] & columns.mask[None, :]
    same_chain = rows.asym_id[:, None] == columns.asym_id[None, :]
    pair_tokens = columns.size[None, :] + rows.size[:, None]
    # A pair within one chain must not count the chain twice.
    pair_tokens = jnp.where(same_chain, pair_tokens - pair_tokens // 2, pair_tokens)

    def scale(num_tokens: Int[Array, "r n"]) -> Float[Array, "r n"]:
        num_tokens = jnp.maximum(num_tokens, 19).astype(jnp.float32)
        return 1.24 * (num_tokens - 15.0) ** (1.0 / 3.0) - 1.8

    everything = jnp.broadcast_to(jnp.sum(columns.mask), pair_mask.shape)
    return scale(everything), scale(jnp.where(pair_mask, pair_tokens, 0))


def expect_tm(
    logits: Float[Array, "r n bins"],
    centres: Float[Array, "bins"],
    scale: Float[Array, "r n"],
) -> Float[Array, "r n"]:
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
    module = ConfidenceModule(
        config.confidence, config.conventions, runtime, name="confidence"
    )
    return module(batch, embeddings, positions)


def predict_distogram(
    batch: Batch, pair: Float[Array, "n n c"], config: DistogramHead, runtime: Runtime
) -> Distogram:
    """SI 4.4: distances between representative atoms, symmetric by construction."""
    project = Linear(config.num_bins, name="distogram", init="zeros")
    edges = jnp.linspace(config.first_break, config.last_break, config.num_bins - 1)
    tops = jnp.append(edges, 2 * edges[-1] - edges[-2])
    # The top of a bin is a multiple of 5/16 Å: a thousandth absorbs its rounding.
    is_contact = (tops <= CONTACT_DISTANCE + 1e-3).astype(jnp.float32)
    mask = jnp.asarray(batch.tokens.mask)

    def predict_rows(
        rows: Float[Array, "r n c"], index: Int[Array, "r"], row_mask: Bool[Array, "r"]
    ) -> tuple[Array, Array | None]:
        half, other = (
            project(x.astype(jnp.float32)) for x in (rows, take_columns(pair, index))
        )
        logits = half + jnp.swapaxes(other, 0, 1)
        contacts = jnp.where(
            row_mask[:, None] & mask[None, :], expect(logits, is_contact), 0.0
        )
        return contacts, logits if runtime.return_distogram else None

    chunk = runtime.rows_at_once(len(pair), share=8)
    contacts, logits = map_rows(predict_rows, chunk, pair, jnp.arange(len(pair)), mask)
    return Distogram(contact_probs=contacts, bin_edges=edges, logits=logits)


def take_columns(
    pair: Float[Array, "n n c"], index: Int[Array, "r"]
) -> Float[Array, "n r c"]:
    """The columns of consecutive tokens."""
    return jax.lax.dynamic_slice_in_dim(pair, index[0], len(index), axis=1)
