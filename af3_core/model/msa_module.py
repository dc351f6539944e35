"""The MSA module: from the alignment to the pair representation. SI Algorithms 8-10."""

from dataclasses import replace

import haiku as hk
import haiku.experimental as hk_experimental
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from af3_core.model import config as settings
from af3_core.model.batch import AnyArray, Msa, Tokens
from af3_core.model.config import Conventions, Runtime
from af3_core.model.conventions import residue_classes
from af3_core.model.pairformer import PairUpdate, project_bias
from af3_core.model.primitives import LayerNorm, Linear, Transition, update_rows

NUM_ROW_CLASSES = 32


def shuffle_rows(msa: Msa, key: Array, num_rows: int) -> Msa:
    """`num_rows` rows drawn without replacement, real rows before padding.

    SI Algorithm 8, line 2. The random number of a row depends on the key and the
    row's index alone, so the result does not depend on the number of padding rows.
    """
    rows = jnp.arange(msa.rows.shape[0])
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)
    score = jax.vmap(jax.random.gumbel)(keys)
    is_real = jnp.any(jnp.asarray(msa.mask), axis=1)
    order = jnp.argsort(jnp.where(is_real, score, -jnp.inf), descending=True)
    order = order[:num_rows]
    return replace(
        msa,
        rows=jnp.asarray(msa.rows)[order],
        mask=jnp.asarray(msa.mask)[order],
        deletion_matrix=jnp.asarray(msa.deletion_matrix)[order],
    )


def embed_rows(
    msa: Msa, is_dna: Bool[AnyArray, "n"], conventions: Conventions
) -> Float[Array, "s n c"]:
    """Residue class, whether residues were deleted before it, and how many. Line 1."""
    deletions = jnp.asarray(msa.deletion_matrix).astype(jnp.float32)
    has_deletion = jnp.clip(deletions, 0.0, 1.0)
    deletion_value = jnp.arctan(deletions / 3.0) * (2.0 / jnp.pi)
    rows = jnp.asarray(msa.rows).astype(jnp.int32)
    rows = residue_classes(rows, is_dna, conventions)
    classes = jax.nn.one_hot(rows, NUM_ROW_CLASSES)
    extra = jnp.stack([has_deletion, deletion_value], axis=-1)
    return jnp.concatenate([classes, extra], axis=-1)


MIN_OUTER_ROWS = 8
"""Fewer rows of products would not pay for the alignment that each chunk reads."""


class OuterProductMean(hk.Module):
    """SI Algorithm 9.

    Differs from the paper: the mean is the sum over 0.001 + the number of rows, and
    the output's bias is divided as well.
    """

    def __init__(self, num_outer: int, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.num_outer, self.runtime = num_outer, runtime

    def __call__(
        self,
        msa: Float[Array, "s n c"],
        mask: Bool[Array, "s n"],
        pair: Float[Array, "n n cz"],
    ) -> Float[Array, "n n cz"]:
        """The pair representation with the update added."""
        outer, dtype, num_output = self.num_outer, msa.dtype, pair.shape[-1]
        msa = LayerNorm(name="norm")(msa)  # line 1
        left = jnp.where(mask[..., None], Linear(outer, name="left")(msa), 0)  # line 2
        right = jnp.where(mask[..., None], Linear(outer, name="right")(msa), 0)
        weights = hk.get_parameter(
            "output_w", (outer, outer, num_output), dtype, jnp.zeros
        ).astype(dtype)
        bias = hk.get_parameter("output_b", (num_output,), dtype, jnp.zeros).astype(
            dtype
        )
        # float32: bfloat16 cannot count beyond 256.
        weight = mask.astype(jnp.float32)

        def multiply(
            rows: Float[Array, "r n cz"],
            left: Float[Array, "r s c"],
            row_weight: Float[Array, "r s"],
        ) -> Float[Array, "r n cz"]:
            # One pair of tokens has outer² products of channels: contracted at once
            # with the output weights (line 4), chunk by chunk.
            products = jnp.einsum("isc,sjd->icjd", left, right)  # line 3
            update = jnp.einsum("icjd,cdo->ijo", products, weights) + bias[None, None]
            count = jnp.einsum("is,sj->ij", row_weight, weight)[..., None]
            return rows + update / (0.001 + count).astype(dtype)

        chunk = max(self.runtime.rows_at_once(len(pair), share=16), MIN_OUTER_ROWS)
        return update_rows(multiply, chunk, pair, jnp.swapaxes(left, 0, 1), weight.T)


class PairWeightedAveraging(hk.Module):
    """SI Algorithm 10.

    The weights are the same for all rows, so this is a product, not an attention.
    """

    def __init__(self, num_heads: int, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.num_heads, self.runtime = num_heads, runtime

    def __call__(
        self,
        msa: Float[Array, "s n c"],
        pair: Float[Array, "n n cz"],
        mask: Bool[Array, "s n"],
    ) -> Float[Array, "s n c"]:
        num_channels = msa.shape[-1]
        heads = (self.num_heads, num_channels // self.num_heads)
        msa = LayerNorm(name="norm")(msa)  # line 1
        v = Linear(heads, name="v")(msa)  # line 2
        logits = project_bias(
            LayerNorm(name="pair_norm").fused(pair.shape[-1]),
            Linear(self.num_heads, name="weights"),
            self.runtime.rows_at_once(len(pair)),
            pair,
        ).astype(jnp.float32)  # line 3
        logits = (
            logits
            + 1e9 * (jnp.any(mask, axis=0).astype(jnp.float32) - 1.0)[None, None, :]
        )
        weights = jax.nn.softmax(logits, axis=-1).astype(msa.dtype)  # line 5
        average = jnp.einsum("hqk,skhc->sqhc", weights, v).reshape(msa.shape)
        gate = Linear(num_channels, name="gate", init="zeros")(msa)  # line 4
        output = Linear(num_channels, name="output", init="zeros")
        return output(average * jax.nn.sigmoid(gate))  # lines 6-7


class MsaModule(hk.Module):
    """SI Algorithm 8.

    Differs from the paper: line 2 draws the same number of rows in every pass, and
    the last block updates the alignment too (nobody reads it).
    """

    def __init__(
        self,
        config: settings.MsaModule,
        conventions: Conventions,
        runtime: Runtime,
        *,
        name: str,
    ) -> None:
        super().__init__(name=name)
        self.config, self.conventions, self.runtime = config, conventions, runtime

    def __call__(
        self,
        msa: Msa,
        pair: Float[Array, "n n cz"],
        single_inputs: Float[Array, "n cs"],
        tokens: Tokens,
        key: Array,
    ) -> Float[Array, "n n cz"]:
        config, runtime = self.config, self.runtime
        msa = shuffle_rows(msa, key, config.max_rows)
        mask = jnp.asarray(msa.mask)
        features = embed_rows(msa, tokens.is_dna, self.conventions).astype(pair.dtype)
        embedded = Linear(config.num_channels, name="embed_rows")(features)  # line 3
        query = Linear(config.num_channels, name="embed_single")(single_inputs)
        embedded = embedded + query[None]  # line 4
        token_mask = jnp.asarray(tokens.mask)
        pair_mask = token_mask[:, None] & token_mask[None, :]

        def block(rows: Array, pair: Array) -> tuple[Array, Array]:
            pair = OuterProductMean(
                config.num_outer_channels, runtime, name="outer_product_mean"
            )(rows, mask, pair)  # line 6
            rows = rows + PairWeightedAveraging(
                config.num_heads, runtime, name="pair_weighted_averaging"
            )(rows, pair, mask)  # line 7
            transition = Transition(config.transition_factor, name="msa_transition")
            chunk = runtime.rows_at_once(rows.shape[1])
            rows = update_rows(transition, chunk, rows)  # line 8
            pair = PairUpdate(
                config.num_pair_heads, config.transition_factor, runtime, name="pair"
            )(pair, pair_mask)  # lines 9-13
            return rows, pair

        stack = hk_experimental.layer_stack(config.num_blocks, name="blocks")
        return stack(block)(embedded, pair)[1]
