"""The pairformer and the triangle updates shared by every pair stack."""

import math

import haiku as hk
import haiku.experimental as hk_experimental
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from af3_core.model.config import Pairformer, Runtime
from af3_core.model.primitives import (
    LayerNorm,
    Linear,
    Transition,
    head_projection,
    map_rows,
    update_rows,
)
from kernels import (
    Mask,
    Norm,
    Order,
    TriangleWeights,
    current_device,
    project,
    self_attention,
    triangle_multiplication,
)

MIN_TRIANGLE_ROWS = 64

Pair = Float[Array, "n n cz"]
PairMask = Bool[Array, "n n"]


class TriangleMultiplication(hk.Module):
    """Triangle update by products of edges. SI Algorithms 12 and 13.

    Differs from the paper: the projections for a and b are interleaved channel by
    channel, and for incoming edges a carries the index j and b the index i.
    """

    def __init__(self, runtime: Runtime, *, outgoing: bool, name: str) -> None:
        super().__init__(name=name)
        self.runtime, self.outgoing = runtime, outgoing

    def __call__(self, pair: Pair, mask: PairMask) -> Pair:
        """The pair representation with the update added."""
        num_channels = pair.shape[-1]

        def norm(name: str) -> dict[str, Array]:
            return LayerNorm(name=name).parameters(num_channels)

        def matrix(name: str, *output: int, zeros: bool = False) -> Array:
            init = "zeros" if zeros else "linear"
            linear = Linear(math.prod(output), name=name, init=init)
            weights = linear.weights(num_channels, pair.dtype)
            return weights.reshape(num_channels, *output)

        input_norm, output_norm = norm("input_norm"), norm("output_norm")
        weights = TriangleWeights(
            input_scale=input_norm["scale"],
            input_offset=input_norm["offset"],
            project=matrix("project", num_channels, 2),
            project_gate=matrix("project_gate", num_channels, 2, zeros=True),
            output_scale=output_norm["scale"],
            output_offset=output_norm["offset"],
            output=matrix("output", num_channels, zeros=True),
            output_gate=matrix("output_gate", num_channels, zeros=True),
        )
        # Every chunk reads one side of all edges again: not for a few rows.
        rows = max(self.runtime.rows_at_once(len(pair)), MIN_TRIANGLE_ROWS)
        return triangle_multiplication(
            pair, mask, weights, outgoing=self.outgoing, rows_at_once=rows
        )


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
        """The pair representation with the update added."""
        num_channels = pair.shape[-1]
        chunk = self.runtime.rows_at_once(len(pair))
        norm = LayerNorm(name="input_norm").fused(num_channels)
        bias = project_bias(norm, Linear(self.num_heads, name="bias"), chunk, pair)  # 3
        # 16 channels at least: what tensor cores multiply, and the weights' shape.
        heads = (self.num_heads, max(num_channels // self.num_heads, 16))
        project_heads = head_projection(heads, output_first=True)
        output = Linear(num_channels, name="output", init="zeros")
        # Around the ending node, columns are what rows are around the starting node.
        order: Order = "rows" if self.starting else "columns"

        def attend(edges: Float[Array, "r n c"], keys: Bool[Array, "r n"]) -> Array:
            attended = self_attention(
                project_heads(edges, norm, order),  # lines 1, 2 and 4
                bias=bias[None],
                mask=Mask(keys=keys if self.starting else keys.T),
                backend=self.runtime.attention_backend,
            )  # lines 5-6
            attended = attended.reshape(*attended.shape[:2], -1)
            weights = output.weights(attended.shape[-1], attended.dtype)
            return project(attended, weights, residual=edges, order=order)  # line 7

        axis, used = 0 if self.starting else 1, rows_in_use(mask)
        return update_rows(attend, chunk, pair, mask.T, axis=axis, used=used)


def rows_in_use(mask: PairMask) -> Int[Array, ""] | None:
    """Rows and columns before the padding; None where all are to be computed.

    An accelerator is not asked: it would wait for the answer in every chunk.
    """
    if current_device().platform != "cpu":
        return None
    is_used = jnp.any(mask | mask.T, axis=1)
    return jnp.max(jnp.where(is_used, jnp.arange(1, len(mask) + 1), 0))


def project_bias(
    norm: Norm, linear: Linear, chunk: int, pair: Pair
) -> Float[Array, "h n n"]:
    """The bias that the pair representation gives to the logits of each head."""
    weights = linear.weights(pair.shape[-1], pair.dtype)

    def rows_of_bias(rows: Float[Array, "r n c"]) -> Float[Array, "h r n"]:
        return project(rows, weights, norm=norm, order="channels")

    return map_rows(rows_of_bias, chunk, pair, out_axis=1)


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
        # Each adds its update in place: one pair representation is all there is room
        # for beside what a chunk of its rows needs.
        for outgoing, name in ((True, "outgoing"), (False, "incoming")):
            pair = TriangleMultiplication(
                runtime, outgoing=outgoing, name=f"triangle_multiplication_{name}"
            )(pair, mask)
        for starting, name in ((True, "starting"), (False, "ending")):
            pair = TriangleAttention(
                num_heads, runtime, starting=starting, name=f"triangle_attention_{name}"
            )(pair, mask)
        transition = Transition(self.transition_factor, name="transition")
        chunk = runtime.rows_at_once(len(pair))
        return update_rows(transition, chunk, pair, used=rows_in_use(mask))


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
        bias = project_bias(
            LayerNorm(name="pair_norm").fused(pair.shape[-1]),
            Linear(self.num_heads, name="bias"),
            self.runtime.rows_at_once(len(pair)),
            pair,
        )
        x = LayerNorm(name="input_norm")(single)
        attended = self_attention(
            head_projection(heads, query_bias=True)(x),
            bias=bias,
            mask=Mask(keys=mask),
            backend=self.runtime.attention_backend,
        )
        output = Linear(num_channels, name="output", init="zeros")
        return output(attended.reshape(x.shape))


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
            single = Transition(config.transition_factor, name="single_transition")(
                single
            )  # line 8
            return single, pair

        stack = hk_experimental.layer_stack(config.num_blocks, name="blocks")
        return stack(block)(single, pair)
