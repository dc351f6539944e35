"""Layers conditioned on the single representation. SI Algorithms 23-26."""

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from af3_core.model.config import DiffusionTransformer, Runtime
from af3_core.model.primitives import LayerNorm, Linear
from kernels import Mask, attention


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
    output = Linear(num_channels, name="output")(x)
    gate = Linear(
        num_channels, name="output_gate", use_bias=True, bias_init=-2.0, init="zeros"
    )
    return jax.nn.sigmoid(gate(condition)) * output


class ConditionedTransition(hk.Module):
    """SI Algorithm 25."""

    def __init__(self, factor: int, *, name: str) -> None:
        super().__init__(name=name)
        self.factor = factor

    def __call__(
        self, x: Float[Array, "b *n c"], condition: Float[Array, "1 *n cs"]
    ) -> Float[Array, "b *n c"]:
        num_channels = x.shape[-1]
        x = adaptive_norm(x, condition, name="norm")  # line 1
        expand = Linear(2 * self.factor * num_channels, name="expand", init="relu")
        a, b = jnp.split(expand(x), 2, axis=-1)  # line 2
        return gated_output(jax.nn.silu(a) * b, condition, num_channels)  # line 3


class ConditionedAttention(hk.Module):
    """Attention of tokens with pair bias, conditioned. SI Algorithm 24."""

    def __init__(self, num_heads: int, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.num_heads, self.runtime = num_heads, runtime

    def __call__(
        self,
        x: Float[Array, "b n c"],
        condition: Float[Array, "1 n cs"],
        bias: Float[Array, "h n n"],
        mask: Bool[Array, "n"],
    ) -> Float[Array, "b n c"]:
        num_channels = x.shape[-1]
        heads = (self.num_heads, num_channels // self.num_heads)
        x = adaptive_norm(x, condition, name="norm")  # line 2
        q = Linear(heads, name="q", use_bias=True)(x)  # line 6
        k = Linear(heads, name="k")(x)  # line 7
        v = Linear(heads, name="v")(x)
        gate = Linear(num_channels, name="gate", init="zeros")(x)  # line 9
        attended = attention(
            q,
            k,
            v,
            bias=bias[None],
            mask=Mask(keys=mask[None]),
            gate=gate.reshape(q.shape),
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

    def __call__(
        self, pair: Float[Array, "n n c"]
    ) -> tuple[Float[Array, "n n c"], Float[Array, "super c blocks h"]]:
        size = self.config.super_block_size
        shape = (
            self.config.num_blocks // size,
            pair.shape[-1],
            size,
            self.config.num_heads,
        )
        init = hk.initializers.TruncatedNormal(stddev=pair.shape[-1] ** -0.5)
        weights = hk.get_parameter("weights", shape, pair.dtype, init)
        return LayerNorm(name="norm", use_offset=False)(pair), weights


def project_pair_bias(
    pair: Float[Array, "n n c"], weights: Float[Array, "*super c blocks h"]
) -> Float[Array, "*super blocks h n n"]:
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
        config = self.config

        def block(x: Array, bias: Array) -> tuple[Array, None]:
            attend = ConditionedAttention(
                config.num_heads, self.runtime, name="attention"
            )
            x = x + attend(x, condition, bias, mask)
            transition = ConditionedTransition(
                config.transition_factor, name="transition"
            )
            return x + transition(x, condition), None

        def super_block(x: Array, bias: Array) -> tuple[Array, None]:
            biases = bias if pair is None else project_pair_bias(pair, bias)
            stack = hk.experimental.layer_stack(
                config.super_block_size, with_per_layer_inputs=True, name="blocks"
            )
            return stack(block)(x, biases)[0], None

        stack = hk.experimental.layer_stack(
            config.num_blocks // config.super_block_size,
            with_per_layer_inputs=True,
            name="super_blocks",
        )
        return stack(super_block)(x, bias)[0]
