"""The kernel of a projection and of what stands around it. See README.md.

Imported only when the Triton backend runs, so that `kernels` needs no Triton.
"""

from typing import no_type_check

import triton
import triton.language as tl

from kernels.tiles import layer_norm, load_matrix


@triton.jit
@no_type_check  # its annotations are the compiler's
def project(
    x_ptr,
    weights_ptr,
    scale_ptr,
    offset_ptr,
    residual_ptr,
    output_ptr,
    epsilon,
    num_edges,
    num_rows,
    num_columns,
    HAS_NORM: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    ORDER: tl.constexpr,
    EDGE_MULTIPLE: tl.constexpr,
    NUM_CHANNELS: tl.constexpr,
    NUM_OUTPUT: tl.constexpr,
    BLOCK_EDGES: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    BLOCK_OUTPUT: tl.constexpr,
) -> None:
    """One program: BLOCK_EDGES edges of x [*, num_rows, num_columns, NUM_CHANNELS].

    The rest of the batch is in num_edges. weights are [NUM_CHANNELS, NUM_OUTPUT]. The
    output is [*, num_rows, num_columns, NUM_OUTPUT], with the two axes exchanged where
    ORDER is "columns", or [*, NUM_OUTPUT, num_rows, num_columns] where it is
    "channels"; so is the residual.
    """
    # A multiple of EDGE_MULTIPLE already; said like this, rows are written in vectors.
    num_edges = num_edges // EDGE_MULTIPLE * EDGE_MULTIPLE
    one = num_rows * num_columns // EDGE_MULTIPLE * EDGE_MULTIPLE
    # 64-bit offsets: a pair tensor of 5,120 tokens has more than 2³¹ elements.
    edges = tl.program_id(0).to(tl.int64) * BLOCK_EDGES + tl.arange(0, BLOCK_EDGES)
    is_edge = edges < num_edges
    channels = tl.arange(0, BLOCK_CHANNELS)
    x = tl.load(
        x_ptr + edges[:, None] * NUM_CHANNELS + channels[None, :],
        mask=is_edge[:, None] & (channels < NUM_CHANNELS)[None, :],
        other=0.0,
    )
    dtype = x.dtype
    if HAS_NORM:
        x = layer_norm(x, scale_ptr, offset_ptr, channels, NUM_CHANNELS, epsilon)
        x = x.to(dtype)
    if ORDER == "columns":
        within = edges % one
        exchanged = within % num_columns * num_rows + within // num_columns
        targets = (edges - within + exchanged) * NUM_OUTPUT
    elif ORDER == "channels":
        # Edges of one program may belong to two elements of the batch.
        first = edges // EDGE_MULTIPLE * EDGE_MULTIPLE // one * one
        targets = edges + first * (NUM_OUTPUT - 1)
    else:
        targets = edges * NUM_OUTPUT
    for start in range(0, NUM_OUTPUT, BLOCK_OUTPUT):
        outputs = start + tl.arange(0, BLOCK_OUTPUT)
        is_inside = is_edge[:, None] & (outputs < NUM_OUTPUT)[None, :]
        weights = load_matrix(weights_ptr, channels, outputs, NUM_CHANNELS, NUM_OUTPUT)
        projected = tl.dot(x, weights)
        if ORDER == "channels":
            tile = targets[None, :] + outputs.to(tl.int64)[:, None] * one
            is_inside = (outputs < NUM_OUTPUT)[:, None] & is_edge[None, :]
            projected = tl.trans(projected)
        else:
            tile = targets[:, None] + outputs[None, :]
        if HAS_RESIDUAL:
            before = tl.load(residual_ptr + tile, mask=is_inside, other=0.0)
            projected += before.to(tl.float32)
        tl.store(output_ptr + tile, projected.to(dtype), mask=is_inside)
