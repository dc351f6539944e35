"""The flash-attention forward kernel. Derivation and layouts: README.md.

Imported only when the Triton backend runs, so that `kernels` needs no Triton.
"""

from typing import no_type_check

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
@no_type_check  # its annotations are the compiler's
def flash_attention(
    q_ptr,
    k_ptr,
    v_ptr,
    gate_ptr,
    bias_ptr,
    dense_mask_ptr,
    key_mask_ptr,
    query_segments_ptr,
    key_segments_ptr,
    output_ptr,
    scale,
    num_queries,
    num_keys,
    num_batch,
    inner_batch,
    bias_outer,
    bias_inner,
    bias_head,
    bias_query,
    dense_outer,
    dense_inner,
    dense_head,
    dense_query,
    key_mask_outer,
    key_mask_inner,
    query_segments_outer,
    query_segments_inner,
    key_segments_outer,
    key_segments_inner,
    NUM_HEADS: tl.constexpr,
    NUM_KEY_HEADS: tl.constexpr,
    NUM_CHANNELS: tl.constexpr,
    HAS_GATE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
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
    [num_batch, num_keys, NUM_KEY_HEADS, NUM_CHANNELS], all contiguous. The batch is
    outer × inner; a bias or mask has one stride along each, 0 where it broadcasts.
    """
    # Neighbouring programs share a tile row of the bias across BATCH_GROUP batch
    # elements, whose keys and values stay in L2 from one block of queries to the next.
    program = tl.program_id(0)
    num_query_blocks = tl.cdiv(num_queries, BLOCK_QUERIES)
    num_groups = tl.cdiv(num_batch, BATCH_GROUP)
    member = program % BATCH_GROUP
    query_block = (program // BATCH_GROUP) % num_query_blocks
    group = (program // (BATCH_GROUP * num_query_blocks)) % num_groups
    head = program // (BATCH_GROUP * num_query_blocks * num_groups)
    # 64-bit offsets: a pair tensor of 5,120 tokens has more than 2³¹ elements.
    batch = (group * BATCH_GROUP + member).to(tl.int64)
    if batch >= num_batch:
        return
    outer = batch // inner_batch
    inner = batch % inner_batch
    key_head = head // (NUM_HEADS // NUM_KEY_HEADS)

    # These are divisible already; said like this, the compiler sees it and reads rows
    # of a bias or mask in whole vectors. (`tl.multiple_of` has no effect on arguments.)
    num_keys = num_keys // KEY_MULTIPLE * KEY_MULTIPLE
    bias_query = bias_query // BIAS_MULTIPLE * BIAS_MULTIPLE
    bias_start = outer * bias_outer + inner * bias_inner + head * bias_head
    bias_start = bias_start // BIAS_MULTIPLE * BIAS_MULTIPLE
    dense_query = dense_query // DENSE_MULTIPLE * DENSE_MULTIPLE
    dense_start = outer * dense_outer + inner * dense_inner + head * dense_head
    dense_start = dense_start // DENSE_MULTIPLE * DENSE_MULTIPLE

    queries = query_block * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    channels = tl.arange(0, BLOCK_CHANNELS)
    is_query = queries < num_queries
    # Rows beyond the last query repeat it, so that reads need no mask along queries.
    rows = tl.minimum(queries, num_queries - 1)
    is_channel = channels < NUM_CHANNELS
    query_row = (batch * num_queries + queries) * (NUM_HEADS * NUM_CHANNELS)
    query_offsets = query_row[:, None] + head * NUM_CHANNELS + channels[None, :]
    query_mask = is_query[:, None] & is_channel[None, :]
    q = tl.load(q_ptr + query_offsets, mask=query_mask, other=0.0)

    key_row = batch * num_keys * (NUM_KEY_HEADS * NUM_CHANNELS)
    k_ptr += key_row + key_head * NUM_CHANNELS
    v_ptr += key_row + key_head * NUM_CHANNELS
    if HAS_BIAS:
        bias_rows = bias_ptr + bias_start + rows.to(tl.int64) * bias_query
    if HAS_DENSE_MASK:
        dense_rows = dense_mask_ptr + dense_start + rows.to(tl.int64) * dense_query
    if HAS_SEGMENTS:
        query_segments_ptr += (
            outer * query_segments_outer + inner * query_segments_inner
        )
        key_segments_ptr += outer * key_segments_outer + inner * key_segments_inner
        query_segment = tl.load(query_segments_ptr + rows)

    last_key = num_keys
    if IS_CAUSAL:
        last_key = tl.minimum(num_keys, (query_block + 1) * BLOCK_QUERIES)
    if HAS_KEY_MASK:
        key_mask_ptr += outer * key_mask_outer + inner * key_mask_inner
        # Keys after the last real one are never read: bucketed inputs end in padding.
        last_real = 0
        for start in range(0, last_key, 1024):
            keys = start + tl.arange(0, 1024)
            is_real = tl.load(key_mask_ptr + keys, mask=keys < last_key, other=0)
            last_real = tl.maximum(
                last_real, tl.max(tl.where(is_real != 0, keys + 1, 0))
            )
        last_key = last_real
    last_key = tl.cdiv(last_key, KEY_MULTIPLE) * KEY_MULTIPLE

    scale_log2 = scale * LOG2_E
    inverse_scale = 1.0 / scale
    maximum = tl.full([BLOCK_QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_QUERIES], tl.float32)
    output = tl.zeros([BLOCK_QUERIES, BLOCK_CHANNELS], tl.float32)
    if HAS_BIAS:
        first_keys = tl.arange(0, BLOCK_KEYS)
        bias = tl.load(
            bias_rows[:, None] + first_keys[None, :] * BIAS_KEY,
            mask=(first_keys < last_key)[None, :],
            other=0.0,
        )
    for start in range(0, last_key, BLOCK_KEYS):
        keys = start + tl.arange(0, BLOCK_KEYS)
        is_key = keys < last_key
        if HAS_KEY_MASK:
            is_key &= tl.load(key_mask_ptr + keys, mask=is_key, other=0) != 0
        key_offsets = keys.to(tl.int64) * (NUM_KEY_HEADS * NUM_CHANNELS)
        key_mask = is_key[:, None] & is_channel[None, :]
        k = tl.load(
            k_ptr + key_offsets[:, None] + channels[None, :], mask=key_mask, other=0.0
        )
        may_attend = is_key[None, :]
        if HAS_BIAS:
            # The bias starts the accumulator: added afterwards, it would drag the
            # logits out of the layout in which tensor cores leave them.
            start_from = bias.to(tl.float32) * inverse_scale
            # Fetched one block ahead: the compiler's pipeline covers k and v only.
            next_keys = keys + BLOCK_KEYS
            bias = tl.load(
                bias_rows[:, None] + next_keys[None, :] * BIAS_KEY,
                mask=(next_keys < last_key)[None, :],
                other=0.0,
            )
            logits = tl.dot(q, tl.trans(k), start_from, input_precision=PRECISION)
        else:
            logits = tl.dot(q, tl.trans(k), input_precision=PRECISION)
        if HAS_DENSE_MASK:
            dense = tl.load(
                dense_rows[:, None] + keys[None, :] * DENSE_KEY,
                mask=may_attend,
                other=0,
            )
            may_attend &= dense != 0
        if HAS_SEGMENTS:
            segment = tl.load(key_segments_ptr + keys, mask=is_key, other=0)
            may_attend &= query_segment[:, None] == segment[None, :]
        if IS_CAUSAL:
            may_attend &= keys[None, :] <= queries[:, None]
        logits = tl.where(may_attend, logits * scale_log2, float("-inf"))

        new_maximum = tl.maximum(maximum, tl.max(logits, axis=1))
        # −inf − −inf would be NaN where nothing has been attended yet.
        finite = tl.where(new_maximum == float("-inf"), 0.0, new_maximum)
        weights = tl.exp2(logits - finite[:, None])
        decay = tl.exp2(maximum - finite)
        maximum = new_maximum
        total = total * decay + tl.sum(weights, axis=1)

        if HAS_DENSE_MASK or HAS_SEGMENTS:
            # 0 × NaN is NaN: the values no query of this tile attends are not read.
            is_key &= tl.max(may_attend.to(tl.int32), axis=0) != 0
        v = tl.load(
            v_ptr + key_offsets[:, None] + channels[None, :],
            mask=is_key[:, None] & is_channel[None, :],
            other=0.0,
        )
        output = tl.dot(
            weights.to(v.dtype), v, output * decay[:, None], input_precision=PRECISION
        )

    output = output / tl.where(total == 0.0, 1.0, total)[:, None]
    if HAS_GATE:
        gate = tl.load(gate_ptr + query_offsets, mask=query_mask, other=0.0)
        output = output * tl.sigmoid(gate.to(tl.float32))
    tl.store(
        output_ptr + query_offsets,
        output.to(output_ptr.dtype.element_ty),
        mask=query_mask,
    )
