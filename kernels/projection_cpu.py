"""A projection of edges on a CPU, with its norm, order and residual in one pass."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from kernels import projection_xla
from kernels.host_calls import (
    num_workers,
    register,
    run_units,
    target_name,
    unit_for,
    with_derivative_of,
)
from kernels.norms import Norm
from kernels.spec import Order, ProjectionSpec
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


def unsupported(spec: ProjectionSpec) -> str | None:
    """Why the kernel cannot run `spec`; None when it can."""
    if (reason := why_no_code(spec.device, spec.dtype)) is not None:
        return reason
    processor = processor_of(spec.device)
    if spec.num_channels % processor.lanes or spec.num_channels > MOST_CHANNELS:
        return (
            f"channels must be a multiple of {processor.lanes} up to {MOST_CHANNELS},"
            f" got {spec.num_channels}"
        )
    if spec.order == "channels":
        if spec.num_outputs > processor.lanes or spec.has_residual:
            return (
                "with channels in front it makes a few of them, and adds them to"
                " nothing"
            )
    elif spec.num_outputs % processor.lanes:
        return (
            f"outputs must be a multiple of {processor.lanes}, got {spec.num_outputs}"
        )
    return None


def run(
    x: Float[Array, "*batch r s c"],
    weights: Float[Array, "c o"],
    norm: Norm | None,
    residual: Float[Array, "..."] | None,
    *,
    spec: ProjectionSpec,
) -> Float[Array, "..."]:
    """x @ weights in the order that the spec names."""
    ours, plain = (partial(f, spec=spec) for f in (_call, projection_xla.run))
    return with_derivative_of(plain, ours)(x, weights, norm, residual)


class _Kind(NamedTuple):
    """What a kernel is compiled for."""

    processor: Processor
    dtype: Dtype
    num_channels: int
    num_outputs: int
    order: Order
    has_norm: bool
    has_residual: bool


def _call(
    x: Array,
    weights: Array,
    norm: Norm | None,
    residual: Array | None,
    *,
    spec: ProjectionSpec,
) -> Array:
    kind = _Kind(
        processor_of(spec.device),
        spec.dtype,  # pyright: ignore
        *(spec.num_channels, spec.num_outputs, spec.order),
        *(spec.has_norm, spec.has_residual),
    )
    *batch, r, s = spec.edges
    arrays = [x, pack_panels(weights, _width(kind))]
    arrays += [norm.scale, norm.offset] if norm is not None else []
    arrays += [residual] if residual is not None else []
    name = target_name("projection", (kind, spec.edges))
    scratch = np.empty((num_workers(), ROWS * (spec.num_channels + 2) + 64), np.float32)
    num_edges = math.prod(batch) * r * s

    def handler(
        compute: Callable[..., None], operands: list[int], results: list[int]
    ) -> None:
        x, panels, *others = operands
        scale, offset = (others.pop(0) for _ in range(2)) if kind.has_norm else (0, 0)
        residual = others.pop(0) if kind.has_residual else 0

        def task(first: int, last: int, worker: int) -> None:
            compute(
                *(x, panels, scale, offset, residual, results[0]),
                *(scratch[worker].ctypes.data, r, s, first, last),
            )

        run_units(task, num_edges, unit_for(num_edges, ROWS, 8 * ROWS))

    register(name, partial(_kernel, kind), handler)
    call = jax.ffi.ffi_call(
        name,
        jax.ShapeDtypeStruct(spec.output, x.dtype),
        vmap_method="sequential",
        # Not if it is x too, of which other parts may be read later.
        input_output_aliases={len(arrays) - 1: 0}
        if kind.has_residual and residual is not x
        else None,
    )
    return call(*arrays)


def _width(kind: _Kind) -> int:
    processor = kind.processor
    return processor.panel if kind.num_outputs > processor.lanes else processor.lanes


@kernel(
    "projection", "*x *panels *scale *offset *residual *out *scratch r s first last"
)
def _kernel(code: Code, kind: _Kind) -> None:
    """Edges [first, last) of x."""
    processor, a = kind.processor, code.arguments
    dtype, c, outputs = kind.dtype, kind.num_channels, kind.num_outputs
    lanes, width = processor.lanes, _width(kind)
    per_word, size = words_of(dtype), 4 if dtype == "float32" else 2
    normed, vectors, words = a["scratch"], width // lanes, c // per_word
    places = code.at(a["scratch"], ROWS * c, 4)
    plane = code.mul(a["r"], a["s"])

    def block(start: Any) -> None:
        count = code.least(code.b.sub(a["last"], start), ROWS)

        def prepare(row: Any) -> None:
            """The row's norm, and where its result begins."""
            edge = code.add(start, row)
            source = code.at(a["x"], code.mul(edge, c), size)
            if kind.has_norm:
                target = code.at(normed, code.mul(row, c), size)
                code.normalise(source, target, c, a["scale"], a["offset"], dtype)
            if kind.order == "rows":
                return
            entry, edge = code.div(edge, plane), code.rem(edge, plane)
            i, j = code.div(edge, a["s"]), code.rem(edge, a["s"])
            if kind.order == "columns":
                place = code.add(code.mul(j, a["r"]), i)
                place = code.add(code.mul(entry, plane), place)
                place = code.mul(place, outputs)
            else:
                place = code.add(code.mul(entry, code.mul(plane, outputs)), edge)
            code.store_index(place, places, row)

        code.loop(0, count, 1, prepare)

        def panel(p: Any) -> None:
            right = code.at(a["panels"], code.mul(p, words * width), 4)

            def rows(r: Any) -> None:
                def left_of(i: int) -> Any:
                    row = code.add(r, i)
                    if kind.has_norm:
                        return code.at(normed, code.mul(row, c), size)
                    edge = code.add(start, code.least(row, code.add(count, -1)))
                    return code.at(a["x"], code.mul(edge, c), size)

                left = [left_of(i) for i in range(processor.rows)]
                tile = code.product(left, right, words, vectors, dtype)
                for i in range(processor.rows):
                    row = code.add(r, i)
                    with code.when(code.less(row, count)):
                        if kind.order == "rows":
                            place = code.mul(code.add(start, row), outputs)
                        else:
                            place = code.stored_index(places, row)
                        if kind.order == "channels":
                            for o in range(outputs):
                                at = code.add(place, code.mul(plane, o))
                                at = code.at(a["out"], at, size)
                                code.store_scalar(code.lane(tile[i][0], o), at, dtype)
                            continue
                        for v in range(vectors):
                            column = code.add(code.mul(p, width), v * lanes)
                            # Half a panel may lie beyond the outputs.
                            with code.when(code.less(column, outputs)):
                                at = code.add(place, column)
                                y = tile[i][v]
                                if kind.has_residual:
                                    before = code.at(a["residual"], at, size)
                                    y = code.fadd(code.load(before, dtype), y)
                                code.store(y, code.at(a["out"], at, size), dtype)

            code.loop(0, count, processor.rows, rows)

        code.loop(0, -(-outputs // width), 1, panel)

    code.loop(a["first"], a["last"], ROWS, block)
