"""The pairformer and the triangle updates shared by every pair stack."""

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from af3_core.model.config import Pairformer, Runtime
from af3_core.model.primitives import LayerNorm, Linear, Transition, map_rows
from kernels import Mask, attention

Pair = Float[Array, "n n cz"]
PairMask = Bool[Array, "n n"]


class TriangleMultiplication(hk.Module):
    """Triangle update by products of edges. SI Algorithms 12 and 13.

    Differs from the paper: the projections for a and b are interleaved channel by
    channel, and for incoming edges a carries the index j and b the index i.
    """

    def __init__(self, *, outgoing: bool, name: str) -> None:
        super().__init__(name=name)
        self.outgoing = outgoing

    def __call__(self, pair: Pair, mask: PairMask) -> Pair:
        num_channels = pair.shape[-1]
        pair = LayerNorm(name="input_norm")(pair)  # line 1
        projected = Linear(2 * num_channels, name="project")(pair)
        gate = Linear(2 * num_channels, name="project_gate", init="zeros")(pair)
        projected = projected * jax.nn.sigmoid(gate)  # line 2
        projected = jnp.where(mask[..., None], projected, 0)
        ab = projected.reshape(*pair.shape, 2)
        equation = "ikc,jkc->ijc" if self.outgoing else "kjc,kic->ijc"
        product = jnp.einsum(equation, ab[..., 0], ab[..., 1])
        update = Linear(num_channels, name="output", init="zeros")(
            LayerNorm(name="output_norm")(product)
        )
        output_gate = Linear(num_channels, name="output_gate", init="zeros")(pair)
        return update * jax.nn.sigmoid(output_gate)  # lines 3-4


class TriangleAttention(hk.Module):
    """Triangle update by attention. SI Algorithms 14 (starting) and 15 (ending node).

    Differs from the paper: around the ending node, the bias of query i and key k is
    read from edge i → k, as around the starting node, not from k → i.
    """

    def __init__(
        self, num_heads: int, runtime: Runtime, *, starting: bool, name: str
    ) -> None:
        super().__init__(name=name)
        self.num_heads, self.runtime, self.starting = num_heads, runtime, starting

    def __call__(self, pair: Pair, mask: PairMask) -> Pair:
        num_channels = pair.shape[-1]
        pair = LayerNorm(name="input_norm")(pair)  # line 1
        bias = jnp.moveaxis(Linear(self.num_heads, name="bias")(pair), -1, 0)  # line 3
        if self.starting:
            mask = mask.T
        else:
            pair = jnp.swapaxes(pair, 0, 1)

        def attend(rows: Float[Array, "r n c"], keys: Bool[Array, "r n"]) -> Array:
            # 16 channels at least: what tensor cores multiply, and the weights' shape.
            heads = (self.num_heads, max(num_channels // self.num_heads, 16))
            q = Linear(heads, name="q", output_first=True)(rows)  # line 2
            k = Linear(heads, name="k", output_first=True)(rows)
            v = Linear(heads, name="v")(rows)
            gate = Linear(
                heads[0] * heads[1], name="gate", output_first=True, init="zeros"
            )(rows)  # line 4
            attended = attention(
                q,
                k,
                v,
                bias=bias[None],
                mask=Mask(keys=keys),
                gate=gate.reshape(q.shape),
                backend=self.runtime.attention_backend,
            )  # lines 5-6
            output = Linear(num_channels, name="output", init="zeros")
            return output(attended.reshape(gate.shape))  # line 7

        update = map_rows(attend, self.runtime.row_chunk, pair, mask)
        return update if self.starting else jnp.swapaxes(update, 0, 1)


class PairUpdate(hk.Module):
    """What every block does to the pair representation. SI Algorithm 17, lines 2-6."""

    def __init__(
        self, num_heads: int, transition_factor: int, runtime: Runtime, *, name: str
    ) -> None:
        super().__init__(name=name)
        self.num_heads, self.transition_factor = num_heads, transition_factor
        self.runtime = runtime

    def __call__(self, pair: Pair, mask: PairMask) -> Pair:
        num_heads, runtime = self.num_heads, self.runtime
        pair = pair + TriangleMultiplication(
            outgoing=True, name="triangle_multiplication_outgoing"
        )(pair, mask)
        pair = pair + TriangleMultiplication(
            outgoing=False, name="triangle_multiplication_incoming"
        )(pair, mask)
        pair = pair + TriangleAttention(
            num_heads, runtime, starting=True, name="triangle_attention_starting"
        )(pair, mask)
        pair = pair + TriangleAttention(
            num_heads, runtime, starting=False, name="triangle_attention_ending"
        )(pair, mask)
        transition = Transition(self.transition_factor, name="transition")
        return pair + map_rows(transition, runtime.row_chunk, pair)


class SingleAttention(hk.Module):
    """Attention with pair bias, unconditioned. SI Algorithm 24 with s = ∅."""

    def __init__(self, num_heads: int, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.num_heads, self.runtime = num_heads, runtime

    def __call__(
        self,
        single: Float[Array, "n c"],
        pair: Float[Array, "n n cz"],
        mask: Bool[Array, "n"],
    ) -> Float[Array, "n c"]:
        num_channels = single.shape[-1]
        heads = (self.num_heads, num_channels // self.num_heads)
        bias = Linear(self.num_heads, name="bias")(LayerNorm(name="pair_norm")(pair))
        x = LayerNorm(name="input_norm")(single)
        q = Linear(heads, name="q", use_bias=True)(x)
        k = Linear(heads, name="k")(x)
        v = Linear(heads, name="v")(x)
        gate = Linear(num_channels, name="gate", init="zeros")(x)
        attended = attention(
            q,
            k,
            v,
            bias=jnp.moveaxis(bias, -1, 0),
            mask=Mask(keys=mask),
            gate=gate.reshape(q.shape),
            backend=self.runtime.attention_backend,
        )
        output = Linear(num_channels, name="output", init="zeros")
        return output(attended.reshape(gate.shape))


class PairformerStack(hk.Module):
    """SI Algorithm 17."""

    def __init__(self, config: Pairformer, runtime: Runtime, *, name: str) -> None:
        super().__init__(name=name)
        self.config, self.runtime = config, runtime

    def __call__(
        self, single: Float[Array, "n c"], pair: Pair, mask: Bool[Array, "n"]
    ) -> tuple[Float[Array, "n c"], Pair]:
        config, runtime = self.config, self.runtime
        pair_mask = mask[:, None] & mask[None, :]

        def block(single: Array, pair: Array) -> tuple[Array, Array]:
            pair = PairUpdate(
                config.num_pair_heads, config.transition_factor, runtime, name="pair"
            )(pair, pair_mask)
            single = single + SingleAttention(
                config.num_single_heads, runtime, name="single_attention"
            )(single, pair, mask)  # line 7
            single = single + Transition(
                config.transition_factor, name="single_transition"
            )(single)  # line 8
            return single, pair

        stack = hk.experimental.layer_stack(config.num_blocks, name="blocks")
        return stack(block)(single, pair)
