"""Parts that our Triton kernels share. Imported only when the Triton backend runs."""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check  # its annotations are the compiler's
def load_vector(pointer, index, SIZE: tl.constexpr) -> tl.tensor:
    """A vector of SIZE numbers, zeros beyond."""
    return tl.load(pointer + index, mask=index < SIZE, other=0.0)


@triton.jit
@no_type_check
def layer_norm(
    x, scale_ptr, offset_ptr, channels, NUM_CHANNELS: tl.constexpr, EPSILON
) -> tl.tensor:
    """Layer norm of the rows of x, which are zero beyond NUM_CHANNELS; float32."""
    is_channel = (channels < NUM_CHANNELS)[None, :]
    y = x.to(tl.float32)
    y = y - tl.sum(y, axis=1)[:, None] / NUM_CHANNELS
    y = tl.where(is_channel, y, 0.0)
    variance = tl.sum(y * y, axis=1) / NUM_CHANNELS
    y = y * tl.rsqrt(variance + EPSILON)[:, None]
    scale = load_vector(scale_ptr, channels, NUM_CHANNELS)
    offset = load_vector(offset_ptr, channels, NUM_CHANNELS)
    return y * scale[None, :] + offset[None, :]


@triton.jit
@no_type_check
def load_matrix(
    pointer, rows, columns, NUM_ROWS: tl.constexpr, NUM_COLUMNS: tl.constexpr
) -> tl.tensor:
    """Entries of a matrix [NUM_ROWS, NUM_COLUMNS], zeros beyond."""
    mask = (rows < NUM_ROWS)[:, None] & (columns < NUM_COLUMNS)[None, :]
    tile = pointer + rows[:, None] * NUM_COLUMNS + columns[None, :]
    return tl.load(tile, mask=mask, other=0.0)
