"""The flash-attention forward kernel. Derivation and layouts: README.md.

Imported only when the Triton backend runs, so that `kernels` needs no Triton.
"""

from typing import no_type_check

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
MINUS_INFINITY = tl.constexpr(float("-inf"))


@triton.jit
@no_type_check  # its annotations are the compiler's
def locate(num_query_blocks, num_batch, GROUP: tl.constexpr) -> tuple:
    """Batch element, block of queries and head of this program.

    Neighbouring programs share a row of tiles of the bias across GROUP batch
    elements, whose keys and values stay in the L2 cache from one block of queries to
    the next.
    """
    program = tl.program_id(0)
    num_groups = tl.cdiv(num_batch, GROUP)
    member = program % GROUP
    query_block = (program // GROUP) % num_query_blocks
    group = (program // (GROUP * num_query_blocks)) % num_groups
    head = program // (GROUP * num_query_blocks * num_groups)
    # 64-bit offsets: a pair tensor of 5,120 tokens has more than 2³¹ elements.
    return (group * GROUP + member).to(tl.int64), query_block, head


@triton.jit
@no_type_check
def row_pointers(
    pointer, strides, outer, inner, head, rows, MULTIPLE: tl.constexpr
) -> tl.tensor:
    """Where the rows of a bias or mask [outer, inner, head, query, key] start.

    Every stride is a multiple of MULTIPLE already; said like this, the compiler sees
    it and reads the rows in whole vectors. (`tl.multiple_of` ignores arguments.)
    """
    start = outer * strides[0] + inner * strides[1] + head.to(tl.int64) * strides[2]
    row = strides[3] // MULTIPLE * MULTIPLE
    return pointer + start // MULTIPLE * MULTIPLE + rows.to(tl.int64) * row


@triton.jit
@no_type_check
def load_rows(pointers, is_row, channels, NUM_CHANNELS: tl.constexpr) -> tl.tensor:
    """A tile of rows × channels; zeros where `is_row` is false, None for nowhere."""
    tile = pointers[:, None] + channels[None, :]
    if NUM_CHANNELS != channels.shape[0]:
        is_channel = (channels < NUM_CHANNELS)[None, :]
        if is_row is None:
            rows = tl.load(tile, mask=is_channel, other=0.0)
        else:
            rows = tl.load(tile, mask=is_row[:, None] & is_channel, other=0.0)
    elif is_row is None:
        rows = tl.load(tile)
    else:
        rows = tl.load(tile, mask=is_row[:, None], other=0.0)
    return rows


@triton.jit
@no_type_check
def weigh(logits, factor, maximum, total, output) -> tuple:
    """Weights of a tile of logits, and what was summed so far, on their scale.

    A weight is 2 to the power of factor · (logit − maximum): one multiplication with
    addition for each logit.
    """
    new_maximum = tl.maximum(maximum, tl.max(logits, axis=1))
    # −inf − −inf would be NaN where nothing has been attended yet.
    finite = tl.where(new_maximum == MINUS_INFINITY, 0.0, new_maximum)
    weights = tl.exp2(logits * factor - (finite * factor)[:, None])
    decay = tl.exp2((maximum - finite) * factor)
    total = total * decay + tl.sum(weights, axis=1)
    return weights, new_maximum, total, output * decay[:, None]


@triton.jit
@no_type_check
def flash_attention(
    q_ptr,
    k_ptr,
    v_ptr,
    gate_ptr,
    bias_ptr,
    bias_index_ptr,
    dense_mask_ptr,
    key_mask_ptr,
    key_ends_ptr,
    query_segments_ptr,
    key_segments_ptr,
    output_ptr,
    scale,
    num_queries,
    num_keys,
    num_batch,
    inner_batch,
    bias_size,
    bias_strides,
    dense_strides,
    key_mask_strides,
    key_ends_strides,
    query_segments_strides,
    key_segments_strides,
    NUM_HEADS: tl.constexpr,
    NUM_KEY_HEADS: tl.constexpr,
    NUM_CHANNELS: tl.constexpr,
    PART: tl.constexpr,
    QUERY_ROW: tl.constexpr,
    KEY_ROW: tl.constexpr,
    HAS_GATE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    IS_STACKED: tl.constexpr,
    HAS_DENSE_MASK: tl.constexpr,
    HAS_KEY_MASK: tl.constexpr,
    HAS_SEGMENTS: tl.constexpr,
    IS_CAUSAL: tl.constexpr,
    BIAS_KEY: tl.constexpr,
    DENSE_KEY: tl.constexpr,
    KEY_MULTIPLE: tl.constexpr,
    BIAS_MULTIPLE: tl.constexpr,
    DENSE_MULTIPLE: tl.constexpr,
    BLOCK_QUERIES: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    BATCH_GROUP: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """One program: BLOCK_QUERIES queries of one head of one batch element.

    q, output and gate are [num_batch, num_queries, NUM_HEADS, NUM_CHANNELS], k and v
    [num_batch, num_keys, NUM_KEY_HEADS, NUM_CHANNELS]. All are contiguous, or those
    that are read are parts of one array: then a query has QUERY_ROW numbers, a key
    KEY_ROW, and q, k, v and gate follow each other PART apart. The batch is
    outer × inner. Strides of what broadcasts are (outer, inner, head, query), 0
    where it does; BIAS_KEY and DENSE_KEY are those along keys, 0 or 1. key_ends are
    two numbers of keys: those before the first hole, and those up to the last key.
    A stacked bias is the one that bias_index names of several, bias_size apart.
    """
    num_query_blocks = tl.cdiv(num_queries, BLOCK_QUERIES)
    batch, query_block, head = locate(num_query_blocks, num_batch, BATCH_GROUP)
    if batch >= num_batch:
        return
    outer, inner = batch // inner_batch, batch % inner_batch
    num_keys = num_keys // KEY_MULTIPLE * KEY_MULTIPLE  # as in row_pointers

    channels = tl.arange(0, BLOCK_CHANNELS)
    queries = query_block * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    is_query = queries < num_queries
    # Rows beyond the last query repeat it, so that reads need no mask along queries.
    rows = tl.minimum(queries, num_queries - 1)
    token = batch * num_queries + queries
    query_row = token * QUERY_ROW + head * NUM_CHANNELS
    q = load_rows(q_ptr + query_row, is_query, channels, NUM_CHANNELS)

    num_full = num_keys
    end = num_keys
    if HAS_KEY_MASK:
        key_mask_ptr += outer * key_mask_strides[0] + inner * key_mask_strides[1]
        key_ends_ptr += outer * key_ends_strides[0] + inner * key_ends_strides[1]
        num_full = tl.load(key_ends_ptr)
        end = tl.load(key_ends_ptr + 1)
    if IS_CAUSAL:
        num_full = tl.minimum(num_full, query_block * BLOCK_QUERIES + 1)
        end = tl.minimum(end, (query_block + 1) * BLOCK_QUERIES)
    if HAS_DENSE_MASK or HAS_SEGMENTS:
        num_full = 0
    # Whole blocks before the first hole need no mask.
    full_end = num_full // BLOCK_KEYS * BLOCK_KEYS
    end = tl.cdiv(end, KEY_MULTIPLE) * KEY_MULTIPLE
    block = tl.arange(0, BLOCK_KEYS)
    if HAS_BIAS:
        inverse_scale = 1.0 / scale
        if IS_STACKED:
            skipped = tl.load(bias_index_ptr).to(tl.int64) * bias_size
            bias_ptr += skipped // BIAS_MULTIPLE * BIAS_MULTIPLE
        bias_rows = row_pointers(
            bias_ptr, bias_strides, outer, inner, head, rows, BIAS_MULTIPLE
        )
        bias_tile = bias_rows[:, None] + block[None, :] * BIAS_KEY
        bias = tl.load(bias_tile, mask=(block < full_end)[None, :], other=0.0)
    if HAS_DENSE_MASK:
        dense_rows = row_pointers(
            dense_mask_ptr, dense_strides, outer, inner, head, rows, DENSE_MULTIPLE
        )
    if HAS_SEGMENTS:
        query_segments_ptr += (
            outer * query_segments_strides[0] + inner * query_segments_strides[1]
        )
        key_segments_ptr += (
            outer * key_segments_strides[0] + inner * key_segments_strides[1]
        )
        query_segment = tl.load(query_segments_ptr + rows)

    # Of logits before the scale; weights are powers of two, hence the factor.
    maximum = tl.full([BLOCK_QUERIES], MINUS_INFINITY, tl.float32)
    factor = scale * LOG2_E
    total = tl.zeros([BLOCK_QUERIES], tl.float32)
    output = tl.zeros([BLOCK_QUERIES, BLOCK_CHANNELS], tl.float32)
    key_head = head // (NUM_HEADS // NUM_KEY_HEADS)
    first_row = batch * num_keys * KEY_ROW + key_head * NUM_CHANNELS
    k_ptr += PART
    v_ptr += 2 * PART

    for start in range(0, full_end, BLOCK_KEYS):
        key_row = first_row + (start + block) * KEY_ROW
        k = load_rows(k_ptr + key_row, None, channels, NUM_CHANNELS)
        if HAS_BIAS:
            # The bias starts the accumulator: added afterwards, it would drag the
            # logits out of the layout in which tensor cores leave them.
            logits = tl.dot(
                q,
                tl.trans(k),
                bias.to(tl.float32) * inverse_scale,
                input_precision=PRECISION,
            )
            # Fetched one block ahead: the compiler's pipeline covers k and v only.
            # The last block fetches itself again.
            following = tl.minimum(start + BLOCK_KEYS, full_end - BLOCK_KEYS)
            following = following // BLOCK_KEYS * BLOCK_KEYS  # as in row_pointers
            bias_tile = bias_rows[:, None] + (following + block)[None, :] * BIAS_KEY
            bias = tl.load(bias_tile)
        else:
            logits = tl.dot(q, tl.trans(k), input_precision=PRECISION)
        weights, maximum, total, output = weigh(logits, factor, maximum, total, output)
        v = load_rows(v_ptr + key_row, None, channels, NUM_CHANNELS)
        output = tl.dot(weights.to(v.dtype), v, output, input_precision=PRECISION)

    for start in tl.range(full_end, end, BLOCK_KEYS, num_stages=1):
        keys = start + block
        is_key = keys < end
        if HAS_KEY_MASK:
            is_key &= tl.load(key_mask_ptr + keys, mask=is_key, other=0) != 0
        key_row = first_row + keys * KEY_ROW
        k = load_rows(k_ptr + key_row, is_key, channels, NUM_CHANNELS)
        if HAS_BIAS:
            bias_tile = bias_rows[:, None] + keys[None, :] * BIAS_KEY
            bias = tl.load(bias_tile, mask=(keys < end)[None, :], other=0.0)
            logits = tl.dot(
                q,
                tl.trans(k),
                bias.to(tl.float32) * inverse_scale,
                input_precision=PRECISION,
            )
        else:
            logits = tl.dot(q, tl.trans(k), input_precision=PRECISION)

        may_attend = is_key[None, :]
        if HAS_DENSE_MASK:
            dense_tile = dense_rows[:, None] + keys[None, :] * DENSE_KEY
            dense = tl.load(dense_tile, mask=may_attend, other=0)
            may_attend &= dense != 0
        if HAS_SEGMENTS:
            segment = tl.load(key_segments_ptr + keys, mask=is_key, other=0)
            may_attend &= query_segment[:, None] == segment[None, :]
        if IS_CAUSAL:
            may_attend &= keys[None, :] <= queries[:, None]
        logits = tl.where(may_attend, logits, MINUS_INFINITY)
        weights, maximum, total, output = weigh(logits, factor, maximum, total, output)

        if HAS_DENSE_MASK or HAS_SEGMENTS:
            # 0 × NaN is NaN: the values no query of this tile attends are not read.
            is_key &= tl.max(may_attend.to(tl.int32), axis=0) != 0
        v = load_rows(v_ptr + key_row, is_key, channels, NUM_CHANNELS)
        output = tl.dot(weights.to(v.dtype), v, output, input_precision=PRECISION)

    output = output / tl.where(total == 0.0, 1.0, total)[:, None]
    if HAS_GATE:
        gate_row = gate_ptr + 3 * PART + query_row
        gate = load_rows(gate_row, is_query, channels, NUM_CHANNELS)
        output = output * tl.sigmoid(gate.to(tl.float32))
    output_rows = output_ptr + (token * NUM_HEADS + head) * NUM_CHANNELS
    tl.store(
        output_rows[:, None] + channels[None, :],
        output.to(output_ptr.dtype.element_ty),
        mask=is_query[:, None] & (channels < NUM_CHANNELS)[None, :],
    )
