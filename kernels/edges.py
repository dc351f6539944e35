"""The two kernels around the product of triangle multiplication. See README.md.

Imported only when the Triton backend runs, so that `kernels` needs no Triton.
"""

from typing import no_type_check

import triton
import triton.language as tl

from kernels.tiles import layer_norm, load_matrix


@triton.jit
@no_type_check  # its annotations are the compiler's
def project_edges(
    pair_ptr,
    mask_ptr,
    scale_ptr,
    offset_ptr,
    weights_ptr,
    gates_ptr,
    projected_ptr,
    epsilon,
    num_edges,
    EDGE_MULTIPLE: tl.constexpr,
    NUM_CHANNELS: tl.constexpr,
    NUM_HIDDEN: tl.constexpr,
    BLOCK_EDGES: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    BLOCK_HIDDEN: tl.constexpr,
) -> None:
    """One program: BLOCK_EDGES edges of pair [num_edges, NUM_CHANNELS].

    Their norm is projected, gated and masked, and written channels first, as
    [NUM_HIDDEN, num_edges]. weights and gates are [NUM_CHANNELS, NUM_HIDDEN].
    """
    # A multiple of EDGE_MULTIPLE already; said like this, rows are written in vectors.
    num_edges = num_edges // EDGE_MULTIPLE * EDGE_MULTIPLE
    # 64-bit offsets: a pair tensor of 5,120 tokens has more than 2³¹ elements.
    edges = tl.program_id(0).to(tl.int64) * BLOCK_EDGES + tl.arange(0, BLOCK_EDGES)
    is_edge = edges < num_edges
    channels = tl.arange(0, BLOCK_CHANNELS)
    x = tl.load(
        pair_ptr + edges[:, None] * NUM_CHANNELS + channels[None, :],
        mask=is_edge[:, None] & (channels < NUM_CHANNELS)[None, :],
        other=0.0,
    )
    dtype = x.dtype
    x = layer_norm(x, scale_ptr, offset_ptr, channels, NUM_CHANNELS, epsilon).to(dtype)
    is_real = tl.load(mask_ptr + edges, mask=is_edge, other=0) != 0
    for start in range(0, NUM_HIDDEN, BLOCK_HIDDEN):
        hidden = start + tl.arange(0, BLOCK_HIDDEN)
        weights = load_matrix(weights_ptr, channels, hidden, NUM_CHANNELS, NUM_HIDDEN)
        gates = load_matrix(gates_ptr, channels, hidden, NUM_CHANNELS, NUM_HIDDEN)
        projected = tl.dot(x, weights) * tl.sigmoid(tl.dot(x, gates))
        projected = tl.where(is_real[:, None], projected, 0.0).to(dtype)
        tile = hidden.to(tl.int64)[:, None] * num_edges + edges[None, :]
        tl.store(
            projected_ptr + tile,
            tl.trans(projected),
            mask=(hidden < NUM_HIDDEN)[:, None] & is_edge[None, :],
        )


@triton.jit
@no_type_check
def update_edges(
    pair_ptr,
    product_ptr,
    input_scale_ptr,
    input_offset_ptr,
    output_scale_ptr,
    output_offset_ptr,
    output_weights_ptr,
    gate_weights_ptr,
    updated_ptr,
    epsilon,
    num_edges,
    EDGE_MULTIPLE: tl.constexpr,
    NUM_CHANNELS: tl.constexpr,
    NUM_HIDDEN: tl.constexpr,
    BLOCK_EDGES: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    BLOCK_HIDDEN: tl.constexpr,
    BLOCK_OUTPUT: tl.constexpr,
) -> None:
    """One program: BLOCK_EDGES edges of pair [num_edges, NUM_CHANNELS], updated.

    product [NUM_HIDDEN, num_edges] is normalised, projected, gated by the norm of the
    pair, and added to the pair.
    """
    num_edges = num_edges // EDGE_MULTIPLE * EDGE_MULTIPLE  # as in project_edges
    edges = tl.program_id(0).to(tl.int64) * BLOCK_EDGES + tl.arange(0, BLOCK_EDGES)
    is_edge = edges < num_edges
    channels = tl.arange(0, BLOCK_CHANNELS)
    hidden = tl.arange(0, BLOCK_HIDDEN)
    rows = pair_ptr + edges[:, None] * NUM_CHANNELS
    x = tl.load(
        rows + channels[None, :],
        mask=is_edge[:, None] & (channels < NUM_CHANNELS)[None, :],
        other=0.0,
    )
    dtype = x.dtype
    x = layer_norm(
        x, input_scale_ptr, input_offset_ptr, channels, NUM_CHANNELS, epsilon
    ).to(dtype)
    product = tl.load(
        product_ptr + hidden.to(tl.int64)[:, None] * num_edges + edges[None, :],
        mask=(hidden < NUM_HIDDEN)[:, None] & is_edge[None, :],
        other=0.0,
    )
    y = layer_norm(
        tl.trans(product),
        output_scale_ptr,
        output_offset_ptr,
        hidden,
        NUM_HIDDEN,
        epsilon,
    ).to(dtype)
    for start in range(0, NUM_CHANNELS, BLOCK_OUTPUT):
        outputs = start + tl.arange(0, BLOCK_OUTPUT)
        weights = load_matrix(
            output_weights_ptr, hidden, outputs, NUM_HIDDEN, NUM_CHANNELS
        )
        gates = load_matrix(
            gate_weights_ptr, channels, outputs, NUM_CHANNELS, NUM_CHANNELS
        )
        update = tl.dot(y, weights) * tl.sigmoid(tl.dot(x, gates))
        is_inside = is_edge[:, None] & (outputs < NUM_CHANNELS)[None, :]
        # Read again, from a cache: the rows above are in another layout.
        before = tl.load(rows + outputs[None, :], mask=is_inside, other=0.0)
        tl.store(
            updated_ptr + edges[:, None] * NUM_CHANNELS + outputs[None, :],
            (before.to(tl.float32) + update).to(dtype),
            mask=is_inside,
        )
