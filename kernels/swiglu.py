"""The fused SwiGLU transition, and its gated unit alone. Byte count: README.md.

Imported only when the Triton backend runs, so that `kernels` needs no Triton.
"""

from typing import no_type_check

import triton
import triton.language as tl

from kernels.tiles import layer_norm


@triton.jit
@no_type_check  # its annotations are the compiler's
def gated_transition(
    x_ptr,
    expand_ptr,
    contract_ptr,
    scale_ptr,
    offset_ptr,
    output_ptr,
    epsilon,
    num_rows,
    HAS_NORM: tl.constexpr,
    NUM_CHANNELS: tl.constexpr,
    NUM_HIDDEN: tl.constexpr,
    NUM_OUTPUT: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_HIDDEN: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    BLOCK_OUTPUT: tl.constexpr,
) -> None:
    """One program: BLOCK_ROWS rows of x [num_rows, NUM_CHANNELS], start to end.

    expand is [NUM_CHANNELS, 2 NUM_HIDDEN], gate columns first; contract is
    [NUM_HIDDEN, NUM_OUTPUT]. The hidden activations never leave the chip. With a
    norm, what is expanded is the layer norm of x, and x is added to the result.
    """
    # 64-bit offsets: a pair tensor of 5,120 tokens has more than 2³¹ elements.
    rows = tl.program_id(0).to(tl.int64) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    is_row = rows < num_rows
    channels = tl.arange(0, BLOCK_CHANNELS)
    is_channel = channels < NUM_CHANNELS
    outputs = tl.arange(0, BLOCK_OUTPUT)
    is_output = outputs < NUM_OUTPUT
    x = tl.load(
        x_ptr + rows[:, None] * NUM_CHANNELS + channels[None, :],
        mask=is_row[:, None] & is_channel[None, :],
        other=0.0,
    )
    if HAS_NORM:
        # What is added to the residual stream accumulates on top of it.
        result = x.to(tl.float32)
        normed = layer_norm(x, scale_ptr, offset_ptr, channels, NUM_CHANNELS, epsilon)
        x = normed.to(x.dtype)
    else:
        result = tl.zeros([BLOCK_ROWS, BLOCK_OUTPUT], tl.float32)
    for start in range(0, NUM_HIDDEN, BLOCK_HIDDEN):
        hidden = start + tl.arange(0, BLOCK_HIDDEN)
        is_hidden = hidden < NUM_HIDDEN
        columns = expand_ptr + channels[:, None] * (2 * NUM_HIDDEN) + hidden[None, :]
        expand_mask = is_channel[:, None] & is_hidden[None, :]
        gate_weights = tl.load(columns, mask=expand_mask, other=0.0)
        value_weights = tl.load(columns + NUM_HIDDEN, mask=expand_mask, other=0.0)
        gate = tl.dot(x, gate_weights)
        value = tl.dot(x, value_weights)
        activation = (gate * tl.sigmoid(gate) * value).to(x.dtype)
        contract = tl.load(
            contract_ptr + hidden[:, None] * NUM_OUTPUT + outputs[None, :],
            mask=is_hidden[:, None] & is_output[None, :],
            other=0.0,
        )
        result = tl.dot(activation, contract, result)
    tl.store(
        output_ptr + rows[:, None] * NUM_OUTPUT + outputs[None, :],
        result.to(output_ptr.dtype.element_ty),
        mask=is_row[:, None] & is_output[None, :],
    )


@triton.jit
@no_type_check
def gated_unit(
    x_ptr,
    expand_ptr,
    output_ptr,
    num_rows,
    NUM_CHANNELS: tl.constexpr,
    NUM_HIDDEN: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_HIDDEN: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """One program: BLOCK_HIDDEN hidden channels of BLOCK_ROWS rows of x.

    silu(x Wa) · x Wb for x [num_rows, NUM_CHANNELS] and expand [NUM_CHANNELS,
    2 NUM_HIDDEN]. Neighbouring programs share their rows, which a cache keeps.
    """
    num_blocks = tl.cdiv(NUM_HIDDEN, BLOCK_HIDDEN)
    program = tl.program_id(0)
    # 64-bit offsets, as above.
    rows = (program // num_blocks).to(tl.int64) * BLOCK_ROWS
    rows += tl.arange(0, BLOCK_ROWS)
    is_row = rows < num_rows
    hidden = program % num_blocks * BLOCK_HIDDEN + tl.arange(0, BLOCK_HIDDEN)
    is_hidden = hidden < NUM_HIDDEN
    gate = tl.zeros([BLOCK_ROWS, BLOCK_HIDDEN], tl.float32)
    value = tl.zeros([BLOCK_ROWS, BLOCK_HIDDEN], tl.float32)
    for start in range(0, NUM_CHANNELS, BLOCK_CHANNELS):
        channels = start + tl.arange(0, BLOCK_CHANNELS)
        is_channel = channels < NUM_CHANNELS
        x = tl.load(
            x_ptr + rows[:, None] * NUM_CHANNELS + channels[None, :],
            mask=is_row[:, None] & is_channel[None, :],
            other=0.0,
        )
        columns = expand_ptr + channels[:, None] * (2 * NUM_HIDDEN) + hidden[None, :]
        mask = is_channel[:, None] & is_hidden[None, :]
        gate_weights = tl.load(columns, mask=mask, other=0.0)
        gate = tl.dot(x, gate_weights, gate, input_precision=PRECISION)
        value_weights = tl.load(columns + NUM_HIDDEN, mask=mask, other=0.0)
        value = tl.dot(x, value_weights, value, input_precision=PRECISION)
    tl.store(
        output_ptr + rows[:, None] * NUM_HIDDEN + hidden[None, :],
        (gate * tl.sigmoid(gate) * value).to(output_ptr.dtype.element_ty),
        mask=is_row[:, None] & is_hidden[None, :],
    )
