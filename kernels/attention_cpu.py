"""Attention on a CPU: for some queries at a time, logits stay in a core's own cache.

Unlike on a GPU there is room for all logits of a few queries, so the softmax is the
plain one.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from kernels import attention_xla
from kernels.host_calls import (
    array_at,
    num_workers,
    register,
    run_units,
    target_name,
    unit_for,
    with_derivative_of,
)
from kernels.operands import Operands
from kernels.spec import AttentionSpec
from kernels.vector_code import (
    LOG2_E,
    LOWEST,
    Code,
    Dtype,
    Processor,
    kernel,
    processor_of,
    why_no_code,
    words_of,
)

QUERIES = 16
"""At once: logits of so many queries and 1,000 keys are 64 kB."""
FLOPS_AT_ONCE = 5_000_000
"""Of a task: fetching another costs a tenth of the time that these take."""
MOST_CHANNELS = 64
"""Of a head: so many vectors of results stay in registers."""


def unsupported(spec: AttentionSpec) -> str | None:
    """Why the kernel cannot run `spec`; None when it can."""
    if (reason := why_no_code(spec.device, spec.dtype)) is not None:
        return reason
    processor = processor_of(spec.device)
    if spec.heads_per_key_head != 1:
        return "each head of queries needs keys of its own"
    if spec.dense_mask or spec.query_segments or spec.key_segments or spec.is_causal:
        return "of masks it knows the one for keys"
    if spec.num_channels % processor.lanes or spec.num_channels > MOST_CHANNELS:
        return (
            f"channels of a head must be a multiple of {processor.lanes} up to"
            f" {MOST_CHANNELS}, got {spec.num_channels}"
        )
    if spec.bias_dtype not in (None, "float32", "bfloat16"):
        return f"the bias must be float32 or bfloat16, not {spec.bias_dtype}"
    if spec.bias and spec.bias[-1] != spec.num_keys:
        return "a bias must state every key"
    return None


def run(
    operands: Operands, *, scale: float, spec: AttentionSpec
) -> Float[Array, "*batch q h c"]:
    """softmax(scale · q kᵀ + bias) v, gated where there is a gate."""

    how = {"scale": scale, "spec": spec}
    ours, plain = (partial(f, **how) for f in (_call, attention_xla.run))
    return with_derivative_of(plain, ours)(operands)


class _Kind(NamedTuple):
    """What a kernel is compiled for; all else are numbers that it is called with."""

    processor: Processor
    dtype: Dtype
    num_channels: int
    has_gate: bool
    bias_dtype: Dtype | None
    has_mask: bool


def _call(operands: Operands, *, scale: float, spec: AttentionSpec) -> Array:
    processor = processor_of(spec.device)
    kind = _Kind(
        processor,
        spec.dtype,  # pyright: ignore
        spec.num_channels,
        spec.has_gate,
        spec.bias_dtype,  # pyright: ignore
        spec.key_mask is not None,
    )
    size = 4 if spec.dtype == "float32" else 2
    heads, c, num_batches = spec.num_heads, spec.num_channels, math.prod(spec.batch)
    arrays: list[Array] = []
    if operands.packed is not None:
        arrays.append(operands.packed)
        parts, row = (0, 1, 2, 3), 4 * heads * c
        sources = [(0, part * heads * c * size) for part in parts]
    else:
        gate = operands.gate
        gate = gate if gate is None else gate.astype(operands.q.dtype)
        separate = (operands.q, operands.k, operands.v, gate)
        row = heads * c
        sources = []
        for x in separate:
            sources.append((len(arrays) if x is not None else 0, 0))
            arrays += [x] if x is not None else []
    bias_at = index_at = mask_at = None
    bias_offsets = np.zeros(num_batches, np.int64)
    mask_offsets = np.zeros(num_batches, np.int64)
    bias_size = head_step = query_step = 0
    if spec.bias is not None:
        bias_at = len(arrays)
        if operands.bias_stack is not None:
            index_at = bias_at + 1
            arrays += [operands.bias_stack, operands.bias_index]  # pyright: ignore
        else:
            arrays.append(operands.bias)  # pyright: ignore
        *steps, head_step, query_step, _ = _steps(spec.bias)
        bias_offsets = _offsets(spec.batch, steps)
        bias_size = math.prod(spec.bias)
    if operands.key_mask is not None:
        mask_at = len(arrays)
        arrays.append(operands.key_mask.astype(bool))
        *steps, _ = _steps(operands.key_mask.shape)
        mask_offsets = _offsets(spec.batch, steps)

    name = target_name("attention", (spec, scale, row))
    padded_keys = -(-spec.num_keys // processor.panel) * processor.panel
    scratch = np.empty(
        (num_workers(), (2 * c + 1) * padded_keys + QUERIES * (padded_keys + c) + 1024),
        np.float32,
    )
    factors = np.array([scale * LOG2_E], np.float32)
    num_units = num_batches * heads
    computed_queries = -(-spec.num_queries // QUERIES) * QUERIES
    flops = 4 * computed_queries * spec.num_keys * c
    unit = unit_for(num_units, 1, max(1, FLOPS_AT_ONCE // max(1, flops)))

    def handler(
        compute: Callable[..., None], given: list[int], results: list[int]
    ) -> None:
        q, k, v, gate = (given[i] + offset for i, offset in sources)
        bias = given[bias_at] if bias_at is not None else 0
        if index_at is not None:
            (number,) = array_at(given[index_at], (1,), np.int32)
            bias += int(number) * bias_size * (4 if kind.bias_dtype == "float32" else 2)

        def task(first: int, last: int, worker: int) -> None:
            compute(
                *(q, k, v, gate, bias, bias_offsets.ctypes.data),
                given[mask_at] if mask_at is not None else 0,
                *(mask_offsets.ctypes.data, factors.ctypes.data, results[0]),
                *(scratch[worker].ctypes.data, spec.num_queries, spec.num_keys),
                *(heads, row, head_step, query_step, first, last),
            )

        run_units(task, num_units, unit)

    register(name, partial(_kernel, kind), handler)
    result = jax.ShapeDtypeStruct(operands.q.shape, operands.q.dtype)
    call = jax.ffi.ffi_call(name, result, vmap_method="sequential")
    return call(*arrays)


def _steps(shape: tuple[int, ...]) -> list[int]:
    """Elements from one entry of each axis to the next; 0 where it broadcasts."""
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return [step if n > 1 else 0 for n, step in zip(shape, steps, strict=True)]


def _offsets(batch: tuple[int, ...], steps: list[int]) -> np.ndarray:
    """Where each entry of the batch begins, in elements."""
    offsets = np.zeros((), np.int64)
    for n, step in zip(batch, steps, strict=True):
        offsets = offsets[..., None] + step * np.arange(n)
    return np.ascontiguousarray(offsets.reshape(-1), np.int64)


@kernel(
    "attention",
    "*q *k *v *gate *bias *bias_offsets *mask *mask_offsets *factor *out *scratch"
    " queries keys heads row head_step query_step first last",
)
def _kernel(code: Code, kind: _Kind) -> None:
    """Units [first, last): a head of an entry of the batch each."""
    processor, a = kind.processor, code.arguments
    dtype, c = kind.dtype, kind.num_channels
    lanes, width = processor.lanes, processor.panel
    size, per_word = 4 if dtype == "float32" else 2, words_of(dtype)
    bias_size = 2 if kind.bias_dtype == "bfloat16" else 4
    vectors, words = c // lanes, c // per_word
    # As many accumulators as for the logits, whose tiles are two vectors wide.
    value_rows = processor.rows if vectors <= 3 else processor.rows // 2
    factor = code.splat(code.load_scalar(a["factor"]))
    padded = code.mul(code.div(code.add(a["keys"], width - 1), width), width)

    key_panels = a["scratch"]
    value_panel = code.at(key_panels, code.mul(padded, c), 4)
    penalties = code.at(value_panel, code.mul(padded, c), 4)
    some_queries = code.at(penalties, padded, 4)
    logits = code.at(some_queries, QUERIES * c, 4)

    def unit(u: Any) -> None:
        entry, head = code.div(u, a["heads"]), code.rem(u, a["heads"])
        start = code.mul(head, c)
        first_key = code.add(code.mul(code.mul(entry, a["keys"]), a["row"]), start)
        first_query = code.add(code.mul(code.mul(entry, a["queries"]), a["row"]), start)
        mask = code.at(a["mask"], _entry(code, a["mask_offsets"], entry), 1)
        bias = _entry(code, a["bias_offsets"], entry)
        bias = code.add(bias, code.mul(head, a["head_step"]))

        def is_key(k: Any) -> Any:
            inside = code.less(k, a["keys"])
            if not kind.has_mask:
                return inside
            at = code.at(mask, code.least(k, code.add(a["keys"], -1)), 1)
            return code.b.and_(inside, code.load_flag(at))

        # Beyond the last key that may be attended there is nothing to compute.
        (used,) = code.loop(
            0,
            a["keys"],
            1,
            lambda k, used: [code.select(is_key(k), code.add(k, 1), used)],
            code.number(0),
        )
        used_padded = code.mul(code.div(code.add(used, width - 1), width), width)

        def load_words(base: Any, k: Any, word: int) -> Any:
            """Words of a key or a value, zeros for what may not be attended."""
            k_inside = code.least(k, code.add(a["keys"], -1))
            at = code.add(first_key, code.mul(k_inside, a["row"]), word * per_word)
            every = code.all_lanes(is_key(k))
            return code.load_where(every, code.at(base, at, size), "float32")

        def pack_keys(k0: Any) -> None:
            """Of as many keys as there are lanes, words in front."""
            panel, part = code.div(k0, width), code.rem(k0, width)
            base = code.add(code.mul(panel, words * width), part)
            whole = words // lanes * lanes
            for word in range(0, whole, lanes):
                rows = [load_words(a["k"], code.add(k0, i), word) for i in range(lanes)]
                for i, turned in enumerate(code.transposed(rows)):
                    at = code.add(base, (word + i) * width)
                    code.store(turned, code.at(key_panels, at, 4))
            for i in range(lanes if whole < words else 0):
                k = code.add(k0, i)
                flag = is_key(k)
                k_inside = code.least(k, code.add(a["keys"], -1))
                at = code.add(first_key, code.mul(k_inside, a["row"]))
                for word in range(whole, words):
                    to = code.at(key_panels, code.add(base, word * width, i), 4)
                    code.store_scalar(code.zero(), to, "float32")
                with code.when(flag):
                    for word in range(whole, words):
                        source = code.at(a["k"], code.add(at, word * per_word), size)
                        to = code.at(key_panels, code.add(base, word * width, i), 4)
                        code.store_scalar(code.load_scalar(source), to, "float32")

        code.loop(0, used_padded, lanes, pack_keys)

        def pack_values(k: Any) -> None:
            at = code.mul(k, c // per_word)
            for v in range(vectors):
                if per_word == 1:
                    x = load_words(a["v"], k, v * lanes)
                    code.store(x, code.at(value_panel, code.add(at, v * lanes), 4))
                    continue
                x, y = (
                    code.load_where(
                        code.all_lanes(is_key(code.add(k, i))),
                        code.at(
                            a["v"],
                            code.add(
                                first_key,
                                code.mul(
                                    code.least(code.add(k, i), code.add(a["keys"], -1)),
                                    a["row"],
                                ),
                                v * lanes,
                            ),
                            2,
                        ),
                        "bfloat16",
                    )
                    for i in (0, 1)
                )
                place = code.at(value_panel, code.add(at, v * lanes), 4)
                code.store(code.interleaved(x, y), place)

        code.loop(0, used_padded, per_word, pack_values)

        def set_penalty(k: Any) -> None:
            penalty = code.select(is_key(k), code.zero(), code.one_number(LOWEST))
            code.store_scalar(penalty, code.at(penalties, k, 4), "float32")

        code.loop(0, used_padded, 1, set_penalty)

        def block(q0: Any) -> None:
            last_query = code.add(a["queries"], -1)

            def copy_query(i: Any) -> None:
                q = code.least(code.add(q0, i), last_query)
                at = code.add(first_query, code.mul(q, a["row"]))
                for v in range(vectors):
                    source = code.at(a["q"], code.add(at, v * lanes), size)
                    to = code.add(code.mul(i, c), v * lanes)
                    x = code.load(source, dtype)
                    code.store(x, code.at(some_queries, to, size), dtype)

            code.loop(0, QUERIES, 1, copy_query)

            def panel(p: Any) -> None:
                k = code.mul(p, width)
                columns = [code.add(k, v * lanes) for v in range(2)]
                inside = [
                    code.lanes_below(code.b.sub(a["keys"], column))
                    for column in columns
                ]
                allowed = [
                    code.is_negative(code.load(code.at(penalties, column, 4)))
                    for column in columns
                ]
                keys = code.at(key_panels, code.mul(p, words * width), 4)

                def rows(r: Any) -> None:
                    left = [
                        code.at(some_queries, code.mul(code.add(r, i), c), size)
                        for i in range(processor.rows)
                    ]
                    tile = code.product(left, keys, words, 2, dtype)
                    for i in range(processor.rows):
                        row = code.add(r, i)
                        q = code.least(code.add(q0, row), last_query)
                        bias_row = code.add(bias, code.mul(q, a["query_step"]))
                        for v in range(2):
                            x = code.fmul(tile[i][v], factor)
                            if kind.bias_dtype is not None:
                                at = code.add(bias_row, columns[v])
                                at = code.at(a["bias"], at, bias_size)
                                y = code.load_where(inside[v], at, kind.bias_dtype)
                                x = code.fma(y, code.splat(LOG2_E), x)
                            x = code.select(allowed[v], code.splat(LOWEST), x)
                            at = code.add(code.mul(row, padded), columns[v])
                            code.store(x, code.at(logits, at, 4))

                code.loop(0, QUERIES, processor.rows, rows)

            code.loop(0, code.div(used_padded, width), 1, panel)

            def soften(i: Any) -> None:
                """The row of logits becomes weights, and their sum is put behind."""
                row = code.at(logits, code.mul(i, padded), 4)

                def higher(k: Any, x: Any, y: Any) -> list[Any]:
                    return [
                        code.maximum(z, code.load(code.at(row, code.add(k, n), 4)))
                        for z, n in ((x, 0), (y, lanes))
                    ]

                lowest = code.splat(LOWEST / 2)
                x, y = code.loop(0, used_padded, width, higher, lowest, lowest)
                top = code.splat(code.max_of(code.maximum(x, y)))

                def weigh(k: Any, *sums: Any) -> list[Any]:
                    results = []
                    for n, total in enumerate(sums):
                        at = code.add(k, n * lanes)
                        x = code.load(code.at(row, at, 4))
                        weight = code.exp2(code.fsub(x, top))
                        code.store(weight, code.at(row, at, size), dtype)
                        results.append(code.fadd(total, weight))
                    return results

                zeros = [code.splat(0.0)] * 2
                x, y = code.loop(0, used_padded, width, weigh, *zeros)
                total = code.sum_of(code.fadd(x, y))
                none = code.is_zero(total)
                share = code.b.fdiv(
                    code.one_number(1.0),
                    code.select(none, code.one_number(1.0), total),
                )
                code.store_scalar(share, code.at(some_queries, i, 4), "float32")

            code.loop(0, QUERIES, 1, soften)

            def combine(r: Any) -> None:
                left = [
                    code.at(logits, code.mul(code.add(r, i), padded), 4)
                    for i in range(value_rows)
                ]
                steps = code.div(used_padded, per_word)
                tile = code.product(left, value_panel, steps, vectors, dtype)
                for i in range(value_rows):
                    row = code.add(r, i)
                    q = code.add(q0, row)
                    with code.when(code.less(q, a["queries"])):
                        share = code.splat(
                            code.load_scalar(code.at(some_queries, row, 4))
                        )
                        for v in range(vectors):
                            x = code.fmul(tile[i][v], share)
                            if kind.has_gate:
                                at = code.add(first_query, code.mul(q, a["row"]))
                                at = code.add(at, v * lanes)
                                gate = code.load(code.at(a["gate"], at, size), dtype)
                                x = code.fmul(x, code.sigmoid(gate))
                            at = code.add(code.mul(entry, a["queries"]), q)
                            at = code.add(code.mul(at, a["heads"]), head)
                            at = code.add(code.mul(at, c), v * lanes)
                            code.store(x, code.at(a["out"], at, size), dtype)

            code.loop(0, QUERIES, value_rows, combine)

        code.loop(0, a["queries"], QUERIES, block)

    code.loop(a["first"], a["last"], 1, unit)


def _entry(code: Code, offsets: Any, entry: Any) -> Any:
    return code.load_index(code.b.gep(offsets, [entry], source_etype=code.index))
