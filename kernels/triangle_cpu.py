"""Triangle multiplication on a CPU: one product of matrices for each hidden channel.

Both sides of the product are projected in the layout in which it reads them. Tokens
beyond the last one that has an edge are padding: they are left out of all three steps.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from kernels import triangle_xla
from kernels.host_calls import (
    array_at,
    num_workers,
    register,
    run_units,
    target_name,
    with_derivative_of,
)
from kernels.spec import TriangleSpec
from kernels.triangle import TriangleWeights
from kernels.vector_code import (
    MOST_CHANNELS,
    ROWS,
    Code,
    Dtype,
    Processor,
    kernel,
    pack_panels,
    processor_of,
    why_no_code,
    words_of,
)


def unsupported(spec: TriangleSpec) -> str | None:
    """Why the kernels cannot run `spec`; None when they can."""
    if (reason := why_no_code(spec.device, spec.dtype)) is not None:
        return reason
    processor = processor_of(spec.device)
    c, h = spec.num_channels, spec.num_hidden
    if c % processor.lanes or h % processor.panel or max(c, h) > MOST_CHANNELS:
        return (
            f"channels must be multiples of {processor.lanes} and hidden ones of"
            f" {processor.panel} up to {MOST_CHANNELS}, got {c} and {h}"
        )
    if spec.batch:
        return "it updates one pair representation at a time"
    return None


def run(
    pair: Float[Array, "n n c"],
    mask: Bool[Array, "n n"],
    weights: TriangleWeights,
    *,
    spec: TriangleSpec,
) -> Float[Array, "n n c"]:
    """pair + update."""
    ours, plain = (partial(f, spec=spec) for f in (_call, triangle_xla.run))
    return with_derivative_of(plain, ours)(pair, mask, weights)


class _Kind(NamedTuple):
    """What kernels are compiled for."""

    processor: Processor
    dtype: Dtype
    num_channels: int
    num_hidden: int
    outgoing: bool


def _call(
    pair: Array, mask: Array, weights: TriangleWeights, *, spec: TriangleSpec
) -> Array:
    processor = processor_of(spec.device)
    n, c, h = spec.num_tokens, spec.num_channels, spec.num_hidden
    kind = _Kind(processor, spec.dtype, c, h, spec.outgoing)  # pyright: ignore
    width, lanes = processor.panel, processor.lanes
    w = weights.cast(pair.dtype)

    def side(i: int) -> Array:
        """Panels of a projection and of its gate in turns."""
        both = (w.project[..., i], w.project_gate[..., i])
        return jnp.stack([pack_panels(x, width) for x in both], axis=1)

    left, right = (0, 1) if spec.outgoing else (1, 0)
    padded = -(-n // width) * width
    # In words of 4 bytes: one panel of channels at a time of either side, and all of
    # the product.
    side_size = width * padded * padded // words_of(kind.dtype)
    sizes = (side_size, side_size, n * h * padded)
    name = target_name("triangle", (kind, n))
    scratch = np.empty((num_workers(), ROWS * (c + h + 2 * width) + 64), np.float32)
    panel_size = 2 * width * c // words_of(kind.dtype)

    def handler(
        kernels: tuple[_Compute, ...], operands: list[int], results: list[int]
    ) -> None:
        fill_left, fill_right, multiply, finish = kernels
        pair, mask, left, right, scale, offset, *others = operands
        out, left_side, right_side, product = results
        edges = array_at(mask, (n, n), np.bool_)
        used = np.flatnonzero(edges.any(0) | edges.any(1))
        num_used = int(used[-1]) + 1 if len(used) else 0
        if not num_used:
            return
        memory = [row.ctypes.data for row in scratch]

        def filling(
            fill: Callable[..., None], side: int, panels: int, rows: int
        ) -> None:
            def task(first: int, last: int, worker: int) -> None:
                fill(
                    *(pair, mask, panels, scale, offset, side, memory[worker]),
                    *(n, num_used, first, last),
                )

            run_units(task, -(-num_used // rows), 4 if rows == 1 else 1)

        for group in range(h // width):
            at = 4 * group * panel_size
            filling(fill_left, left_side, left + at, 1)
            filling(fill_right, right_side, right + at, lanes)

            def multiplying(
                first: int, last: int, worker: int, start: int = group * width
            ) -> None:
                del worker
                multiply(
                    *(left_side, right_side, product, h, start, n, num_used),
                    *(first, last),
                )

            run_units(multiplying, width * -(-num_used // width), 8)

        def finishing(first: int, last: int, worker: int) -> None:
            finish(
                *(pair, product, scale, offset, *others, out, memory[worker]),
                *(n, num_used, first, last),
            )

        run_units(finishing, num_used, 4)

    register(name, partial(_kernels, kind), handler)
    spaces = [jax.ShapeDtypeStruct((size,), jnp.float32) for size in sizes]
    call = jax.ffi.ffi_call(
        name,
        (jax.ShapeDtypeStruct(pair.shape, pair.dtype), *spaces),
        vmap_method="sequential",
        input_output_aliases={0: 0},
    )
    return call(
        *(pair, mask.astype(bool), side(left), side(right)),
        *(w.input_scale, w.input_offset),
        *(w.output_scale, w.output_offset),
        *(pack_panels(w.output, width), pack_panels(w.output_gate, width)),
    )[0]


type _Compute = Callable[..., None]


def _kernels(kind: _Kind) -> tuple[_Compute, _Compute, _Compute, _Compute]:
    return (
        _fill_left(kind),
        _fill_right(kind),
        _multiply(_Product(kind.processor, kind.dtype)),
        _finish(kind),
    )


def _padded(code: Code, n: Any) -> Any:
    width = code.processor.panel
    return code.mul(code.div(code.add(n, width - 1), width), width)


_FILL = "*pair *mask *panels *scale *offset *side *scratch n used first last"


@kernel("fill_left", _FILL)
def _fill_left(code: Code, kind: _Kind) -> None:
    """[channel, i, k]; units are tokens i."""
    _fill(code, kind, is_left=True)


@kernel("fill_right", _FILL)
def _fill_right(code: Code, kind: _Kind) -> None:
    """[channel, panel of j, k, j]; units are as many tokens j as there are lanes."""
    _fill(code, kind, is_left=False)


def _fill(code: Code, kind: _Kind, *, is_left: bool) -> None:
    """One panel of hidden channels of one side of the product."""
    processor, a = kind.processor, code.arguments
    dtype, c = kind.dtype, kind.num_channels
    lanes, width = processor.lanes, processor.panel
    per_word, size = words_of(dtype), 4 if dtype == "float32" else 2
    words, normed = c // per_word, a["scratch"]
    values = code.at(a["scratch"], ROWS * c, 4)
    padded = _padded(code, a["n"])
    channel_step = code.div(code.mul(padded, padded), per_word)
    # Rows of a block are edges with consecutive k of one i, or consecutive j of some k.
    num_k = ROWS if is_left else ROWS // lanes

    def block(unit: Any, k0: Any) -> None:
        def edge_of(row: Any) -> tuple[Any, Any]:
            if is_left:
                fixed, k = unit, code.add(k0, row)
            else:
                k = code.add(k0, code.div(row, lanes))
                fixed = code.add(code.mul(unit, lanes), code.rem(row, lanes))
            return fixed, k

        def inside(fixed: Any, k: Any) -> tuple[Any, Any]:
            """The number of an edge of the pair, and whether it counts."""
            last = code.add(a["used"], -1)
            is_inside = code.b.and_(
                code.less(fixed, a["used"]), code.less(k, a["used"])
            )
            fixed, k = code.least(fixed, last), code.least(k, last)
            # Of outgoing edges, both sides are indexed (token, k).
            x, y = (fixed, k) if kind.outgoing else (k, fixed)
            return code.add(code.mul(x, a["n"]), y), is_inside

        def norm_row(row: Any) -> None:
            edge, _ = inside(*edge_of(row))
            source = code.at(a["pair"], code.mul(edge, c), size)
            target = code.at(normed, code.mul(row, c), size)
            code.normalise(source, target, c, a["scale"], a["offset"], dtype)

        code.loop(0, ROWS, 1, norm_row)

        def project(r: Any) -> None:
            left = [
                code.at(normed, code.mul(code.add(r, i), c), size)
                for i in range(processor.rows)
            ]
            projected = code.product(left, a["panels"], words, 2, dtype)
            gate_panel = code.at(a["panels"], words * width, 4)
            gates = code.product(left, gate_panel, words, 2, dtype)
            for i in range(processor.rows):
                row = code.add(r, i)
                edge, is_inside = inside(*edge_of(row))
                flag = code.load_flag(code.at(a["mask"], edge, 1))
                counts = code.all_lanes(code.b.and_(flag, is_inside))
                for v in range(2):
                    y = code.fmul(projected[i][v], code.sigmoid(gates[i][v]))
                    y = code.select(counts, y, code.splat(0.0))
                    at = code.add(code.mul(row, width), v * lanes)
                    code.store(y, code.at(values, at, 4))

        code.loop(0, ROWS, processor.rows, project)

        def square(r0: Any, v: int) -> list[Any]:
            """Of as many rows as there are lanes, channels in front."""
            rows = [
                code.load(
                    code.at(
                        values,
                        code.add(code.mul(code.add(r0, i), width), v * lanes),
                        4,
                    )
                )
                for i in range(lanes)
            ]
            return code.transposed(rows)

        def place(channel: int, at: Any) -> Any:
            return code.at(a["side"], code.add(code.mul(channel_step, channel), at), 4)

        if is_left:

            def store_left(r0: Any) -> None:
                k = code.add(k0, r0)
                at = code.div(code.add(code.mul(unit, padded), k), per_word)
                with code.when(code.less(k, padded)):
                    for v in range(2):
                        for i, x in enumerate(square(r0, v)):
                            code.store(x, place(v * lanes + i, at), dtype)

            code.loop(0, ROWS, lanes, store_left)
            return
        j0 = code.mul(unit, lanes)
        panel, part = code.div(j0, width), code.rem(j0, width)

        def store_right(i: Any) -> None:
            k = code.add(k0, i)
            at = code.div(code.add(code.mul(panel, padded), k), per_word)
            at = code.add(code.mul(at, width), part)
            with code.when(code.less(k, padded)):
                for v in range(2):
                    x = square(code.mul(i, lanes), v)
                    if per_word == 2:
                        y = square(code.mul(code.add(i, 1), lanes), v)
                        x = [code.interleaved(p, q) for p, q in zip(x, y, strict=True)]
                    for n, vector in enumerate(x):
                        code.store(vector, place(v * lanes + n, at))

        code.loop(0, num_k, per_word, store_right)

    def unit(u: Any) -> None:
        code.loop(0, a["used"], num_k, lambda k0: block(u, k0))

    code.loop(a["first"], a["last"], 1, unit)


class _Product(NamedTuple):
    """What the product is compiled for; all else are numbers that it is called with."""

    processor: Processor
    dtype: Dtype


@kernel("multiply", "*left *right *product hidden start n used first last")
def _multiply(code: Code, kind: _Product) -> None:
    """Units [first, last), panels of j of each channel of a panel of them in turns:
    the product, as [i, channel, j]."""
    (processor, dtype), a = kind, code.arguments
    lanes, width, per_word = processor.lanes, processor.panel, words_of(dtype)
    padded = _padded(code, a["n"])
    channel_step = code.div(code.mul(padded, padded), per_word)
    row_step = code.div(padded, per_word)
    steps = code.div(code.add(a["used"], per_word - 1), per_word)
    panels = code.div(code.add(a["used"], width - 1), width)

    def unit(u: Any) -> None:
        number, p = code.div(u, panels), code.rem(u, panels)
        left_side = code.at(a["left"], code.mul(channel_step, number), 4)
        right_side = code.at(a["right"], code.mul(channel_step, number), 4)
        right = code.at(right_side, code.mul(code.mul(p, row_step), width), 4)

        def rows(i0: Any) -> None:
            last = code.add(a["used"], -1)
            left = [
                code.at(
                    left_side,
                    code.mul(code.least(code.add(i0, i), last), row_step),
                    4,
                )
                for i in range(processor.rows)
            ]
            tile = code.product(left, right, steps, 2, dtype)
            for i in range(processor.rows):
                # Of the last tile, rows beyond the end are the last one again.
                row = code.least(code.add(i0, i), last)
                at = code.mul(row, a["hidden"])
                at = code.add(at, a["start"], number)
                at = code.add(code.mul(at, padded), code.mul(p, width))
                for v in range(2):
                    to = code.at(a["product"], code.add(at, v * lanes), 4)
                    code.store(tile[i][v], to)

        code.loop(0, a["used"], processor.rows, rows)

    code.loop(a["first"], a["last"], 1, unit)


@kernel(
    "finish",
    "*pair *product *scale *offset *output_scale *output_offset *output *gate *out"
    " *scratch n used first last",
)
def _finish(code: Code, kind: _Kind) -> None:
    """Tokens i of [first, last): their outgoing edges, updated."""
    processor, a = kind.processor, code.arguments
    dtype, c, h = kind.dtype, kind.num_channels, kind.num_hidden
    lanes, width = processor.lanes, processor.panel
    per_word, size = words_of(dtype), 4 if dtype == "float32" else 2
    normed = a["scratch"]
    hidden = code.at(a["scratch"], ROWS * c, 4)
    padded = _padded(code, a["n"])

    def block(i: Any, j0: Any) -> None:
        count = code.least(code.b.sub(a["used"], j0), ROWS)

        def edge(row: Any) -> Any:
            j = code.least(code.add(j0, row), code.add(a["used"], -1))
            return code.add(code.mul(i, a["n"]), j)

        def norm_row(row: Any) -> None:
            source = code.at(a["pair"], code.mul(edge(row), c), size)
            target = code.at(normed, code.mul(row, c), size)
            code.normalise(source, target, c, a["scale"], a["offset"], dtype)

        code.loop(0, count, 1, norm_row)

        def norm_product(r0: Any) -> None:
            """Of as many edges as there are lanes, an edge in each."""
            base = code.add(code.mul(code.mul(i, h), padded), j0, r0)

            def load(channel: Any) -> Any:
                at = code.add(base, code.mul(channel, padded))
                return code.load(code.at(a["product"], at, 4))

            def sums(channel: Any, total: Any, squares: Any) -> list[Any]:
                x = load(channel)
                return [code.fadd(total, x), code.fma(x, x, squares)]

            total, squares = code.loop(0, h, 1, sums, code.splat(0.0), code.splat(0.0))
            mean = code.fmul(total, code.splat(1 / h))
            variance = code.fsub(
                code.fmul(squares, code.splat(1 / h)), code.fmul(mean, mean)
            )
            variance = code.maximum(variance, code.splat(0.0))
            deviation = code.roots(code.fadd(variance, code.splat(1e-5)))
            factor = code.fdiv(code.splat(1.0), deviation)

            def some(channel: Any) -> None:
                rows = []
                for n in range(lanes):
                    number = code.add(channel, n)
                    scale, offset = (
                        code.splat(code.load_scalar(code.at(a[name], number, 4)))
                        for name in ("output_scale", "output_offset")
                    )
                    x = code.fmul(code.fsub(load(number), mean), factor)
                    rows.append(code.fma(x, scale, offset))
                for n, turned in enumerate(code.transposed(rows)):
                    at = code.add(code.mul(code.add(r0, n), h), channel)
                    code.store(turned, code.at(hidden, at, size), dtype)

            code.loop(0, h, lanes, some)

        code.loop(0, count, lanes, norm_product)

        def panel(p: Any) -> None:
            output = code.at(a["output"], code.mul(p, h // per_word * width), 4)
            gate = code.at(a["gate"], code.mul(p, c // per_word * width), 4)

            def rows(r: Any) -> None:
                def left(base: Any, channels: int) -> list[Any]:
                    return [
                        code.at(base, code.mul(code.add(r, n), channels), size)
                        for n in range(processor.rows)
                    ]

                updates = code.product(left(hidden, h), output, h // per_word, 2, dtype)
                gates = code.product(left(normed, c), gate, c // per_word, 2, dtype)
                for n in range(processor.rows):
                    row = code.add(r, n)
                    with code.when(code.less(row, count)):
                        at = code.mul(edge(row), c)
                        for v in range(2):
                            column = code.add(code.mul(p, width), v * lanes)
                            # Half a panel may lie beyond the channels.
                            with code.when(code.less(column, c)):
                                y = code.sigmoid(gates[n][v])
                                place = code.add(at, column)
                                x = code.load(code.at(a["pair"], place, size), dtype)
                                x = code.fma(updates[n][v], y, x)
                                code.store(x, code.at(a["out"], place, size), dtype)

            code.loop(0, count, processor.rows, rows)

        code.loop(0, -(-c // width), 1, panel)

    def token(i: Any) -> None:
        code.loop(0, a["used"], ROWS, lambda j0: block(i, j0))

    code.loop(a["first"], a["last"], 1, token)
