"""Layers conditioned on the single representation. SI Algorithms 23-26."""

import functools

import haiku as hk
import haiku.experimental as hk_experimental
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from af3_core.model.config import DiffusionTransformer, Runtime
from af3_core.model.primitives import LayerNorm, Linear, head_projection, map_rows
from kernels import Mask, StackedBias, gated_transition, self_attention


class AdaptiveLayerNorm(hk.Module):
    """SI Algorithm 26."""

    def __call__(
        self, x: Float[Array, "b *n c"], condition: Float[Array, "1 *n cs"]
    ) -> Float[Array, "b *n c"]:
        num_channels = x.shape[-1]
        x = LayerNorm(name="norm", use_scale=False, use_offset=False)(x)  # line 1
        condition = LayerNorm(name="condition_norm", use_offset=False)(condition)  # 2
        scale = Linear(num_channels, name="scale", use_bias=True, init="zeros")
        shift = Linear(num_channels, name="shift", init="zeros")
        return jax.nn.sigmoid(scale(condition)) * x + shift(condition)  # line 3


def adaptive_norm(
    x: Float[Array, "b *n c"], condition: Float[Array, "1 *n cs"], *, name: str
) -> Float[Array, "b *n c"]:
    """`AdaptiveLayerNorm` under a name."""
    return AdaptiveLayerNorm(name=name)(x, condition)


def gated_output(
    x: Float[Array, "b *n c"], condition: Float[Array, "1 *n cs"], num_channels: int
) -> Float[Array, "b *n co"]:
    """The output projection, gated by the condition; starts near zero in training.

    SI Algorithm 24, lines 11-14, and SI Algorithm 25, line 3.
    """
    return gate_output(Linear(num_channels, name="output")(x), condition)


def gate_output(
    x: Float[Array, "b *n c"], condition: Float[Array, "1 *n cs"]
) -> Float[Array, "b *n c"]:
    """`x`, gated by the condition."""
    gate = Linear(
        x.shape[-1], name="output_gate", use_bias=True, bias_init=-2.0, init="zeros"
    )
    return jax.nn.sigmoid(gate(condition)) * x


class ConditionedTransition(hk.Module):
    """SI Algorithm 25, expanded for so many samples at a time (default: all)."""

    def __init__(
        self, factor: int, *, samples_at_once: int | None = None, name: str
    ) -> None:
        super().__init__(name=name)
        self.factor, self.samples_at_once = factor, samples_at_once

    def __call__(
        self, x: Float[Array, "b *n c"], condition: Float[Array, "1 *n cs"]
    ) -> Float[Array, "b *n c"]:
        num_channels = x.shape[-1]
        num_hidden = self.factor * num_channels
        x = adaptive_norm(x, condition, name="norm")  # line 1
        expand = Linear(2 * num_hidden, name="expand", init="relu")
        output = Linear(num_channels, name="output")
        weights = (
            expand.weights(num_channels, x.dtype),
            output.weights(num_hidden, x.dtype),
        )
        update = map_rows(
            lambda samples: gated_transition(samples, *weights),
            self.samples_at_once or len(x),
            x,
        )  # line 2
        return gate_output(update, condition)  # line 3


class ConditionedAttention(hk.Module):
    """Attention of tokens with pair bias, conditioned. SI Algorithm 24."""

    def __init__(self, num_heads: int, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.num_heads, self.runtime = num_heads, runtime

    def __call__(
        self,
        x: Float[Array, "b n c"],
        condition: Float[Array, "1 n cs"],
        bias: Float[Array, "h n n"] | StackedBias,
        mask: Bool[Array, "n"],
    ) -> Float[Array, "b n c"]:
        num_channels = x.shape[-1]
        heads = (self.num_heads, num_channels // self.num_heads)
        x = adaptive_norm(x, condition, name="norm")  # line 2
        attended = self_attention(
            head_projection(heads, query_bias=True)(x),  # lines 6, 7 and 9
            bias=bias,
            mask=Mask(keys=mask[None]),
            backend=self.runtime.attention_backend,
        )  # lines 10-11
        return gated_output(attended.reshape(x.shape), condition, num_channels)


class TokenPairBias(hk.Module):
    """Normalised pair conditioning and the weights that make biases of it.

    SI Algorithm 24, line 8, for all blocks of the diffusion transformer.
    """

    def __init__(self, config: DiffusionTransformer, *, name: str) -> None:
        super().__init__(name=name)
        self.config = config

    def __call__(self, rows: Float[Array, "r n c"]) -> Float[Array, "r n c"]:
        return LayerNorm(name="norm", use_offset=False)(rows)

    def weights(self, num_channels: int) -> Float[Array, "super c blocks h"]:
        """What `project_pair_bias` multiplies the normalised pairs with."""
        size, num_heads = self.config.super_block_size, self.config.num_heads
        shape = (self.config.num_blocks // size, num_channels, size, num_heads)
        init = hk.initializers.TruncatedNormal(stddev=num_channels**-0.5)
        return hk.get_parameter("weights", shape, jnp.float32, init)


def project_pair_bias(
    pair: Float[Array, "r n c"], weights: Float[Array, "*super c blocks h"]
) -> Float[Array, "*super blocks h r n"]:
    """Attention biases of the blocks of one super block, or of several."""
    return jnp.einsum("nmc,...ckh->...khnm", pair, weights)


class TokenTransformer(hk.Module):
    """SI Algorithm 23 among tokens.

    Differs from the paper: the transition reads the output of the attention instead
    of running beside it.
    """

    def __init__(
        self, config: DiffusionTransformer, runtime: Runtime, *, name: str
    ) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(
        self,
        x: Float[Array, "b n c"],
        condition: Float[Array, "1 n cs"],
        pair: Float[Array, "n n cz"] | None,
        bias: Float[Array, "super blocks h n n"] | Float[Array, "super cz blocks h"],
        mask: Bool[Array, "n"],
    ) -> Float[Array, "b n c"]:
        """`bias` holds the biases, or their weights where `pair` is given."""
        config, size = self.config, self.config.super_block_size
        is_grouped = x.shape[1] <= self.runtime.grouped_bias_tokens

        def super_block(x: Array, index: Array) -> tuple[Array, None]:
            # Biases are read where they lie: as inputs of the stack, each would be
            # copied first.
            if pair is None:
                biases = bias.reshape(-1, *bias.shape[2:])
                bias_of = functools.partial(_pick, biases, size * index)
            elif is_grouped:
                biases = project_pair_bias(pair, bias[index])
                bias_of = functools.partial(_pick, biases, 0)
            else:
                bias_of = functools.partial(_project_one, pair, bias[index])

            def block(x: Array, index: Array) -> tuple[Array, None]:
                attend = ConditionedAttention(
                    config.num_heads, self.runtime, name="attention"
                )
                x = x + attend(x, condition, bias_of(index), mask)
                transition = ConditionedTransition(
                    config.transition_factor, name="transition"
                )
                return x + transition(x, condition), None

            stack = hk_experimental.layer_stack(
                size, with_per_layer_inputs=True, name="blocks"
            )
            return stack(block)(x, jnp.arange(size))[0], None

        num_super_blocks = config.num_blocks // size
        stack = hk_experimental.layer_stack(
            num_super_blocks, with_per_layer_inputs=True, name="super_blocks"
        )
        return stack(super_block)(x, jnp.arange(num_super_blocks))[0]


def _pick(
    biases: Float[Array, "blocks h n n"], first: Array | int, index: Array
) -> StackedBias:
    return StackedBias(biases, first + index)


def _project_one(
    pair: Float[Array, "n n c"], weights: Float[Array, "c blocks h"], index: Array
) -> Float[Array, "h n n"]:
    weights = jax.lax.dynamic_slice_in_dim(weights, index, 1, axis=1)
    return project_pair_bias(pair, weights)[0]
