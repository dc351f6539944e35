"""The SwiGLU transition on a CPU: a few rows at a time, which stay in its caches."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kernels import transition_xla
from kernels.host_calls import (
    num_workers,
    register,
    run_units,
    target_name,
    unit_for,
    with_derivative_of,
)
from kernels.norms import Norm
from kernels.spec import TransitionSpec
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


def unsupported(spec: TransitionSpec) -> str | None:
    """Why the kernel cannot run `spec`; None when it can."""
    if (reason := why_no_code(spec.device, spec.dtype)) is not None:
        return reason
    processor = processor_of(spec.device)
    if spec.num_channels % processor.lanes or spec.num_hidden % processor.panel:
        return (
            f"channels must be multiples of {processor.lanes} and hidden ones of"
            f" {processor.panel}, got {spec.num_channels} and {spec.num_hidden}"
        )
    if spec.num_outputs % processor.lanes:
        return f"outputs must be a multiple of {processor.lanes}"
    if spec.num_channels > MOST_CHANNELS:
        return f"rows must have at most {MOST_CHANNELS} channels"
    return None


def run(
    x: Float[Array, "*batch c"],
    expand: Float[Array, "c twice_f"],
    contract: Float[Array, "f d"],
    norm: Norm | None,
    *,
    spec: TransitionSpec,
) -> Float[Array, "*batch d"]:
    """The transition of x; with a norm x + that of its norm."""
    ours, plain = (partial(f, spec=spec) for f in (_call, transition_xla.run))
    return with_derivative_of(plain, ours)(x, expand, contract, norm)


class _Kind(NamedTuple):
    """What a kernel is compiled for."""

    processor: Processor
    dtype: Dtype
    num_channels: int
    num_hidden: int
    num_outputs: int
    has_norm: bool
    """And adds to x."""


def _call(
    x: Array, expand: Array, contract: Array, norm: Norm | None, *, spec: TransitionSpec
) -> Array:
    processor = processor_of(spec.device)
    dtype: Dtype = spec.dtype  # pyright: ignore
    num_rows, c, f = spec.num_rows, spec.num_channels, spec.num_hidden
    width = processor.panel
    gate, value = (
        pack_panels(expand[:, part * f : (part + 1) * f], width) for part in (0, 1)
    )
    panels = jnp.stack([gate, value], axis=1)
    kind = _Kind(processor, dtype, c, f, spec.num_outputs, spec.has_norm)
    name = target_name("transition", (kind, num_rows))
    words = words_of(dtype)
    scratch = np.empty((num_workers(), ROWS * (c + f) // words + 1024), np.float32)

    def handler(
        compute: Callable[..., None], operands: list[int], results: list[int]
    ) -> None:
        given = operands if kind.has_norm else [*operands, 0, 0]

        def task(first: int, last: int, worker: int) -> None:
            compute(*given, results[0], scratch[worker].ctypes.data, first, last)

        run_units(task, num_rows, unit_for(num_rows, ROWS, 8 * ROWS))

    register(name, partial(_kernel, kind), handler)
    call = jax.ffi.ffi_call(
        name,
        jax.ShapeDtypeStruct((*x.shape[:-1], spec.num_outputs), x.dtype),
        vmap_method="sequential",
        input_output_aliases={0: 0} if kind.has_norm else None,
    )
    return call(x, panels, pack_panels(contract, width), *(norm or ()))


@kernel("transition", "*x *expand *contract *scale *offset *out *scratch first last")
def _kernel(code: Code, kind: _Kind) -> None:
    """Rows [first, last) of x.

    The result may be x itself, which "noalias" would forbid: each element is read
    before it is written, by the same tile.
    """
    processor, dtype, c, f, outputs, has_norm = kind
    a = code.arguments
    lanes, width, tile_rows = processor.lanes, processor.panel, processor.rows
    per_word, size = words_of(dtype), 4 if dtype == "float32" else 2
    normed = a["scratch"]
    hidden = code.at(a["scratch"], ROWS * c // per_word, 4)
    panel = c // per_word * width

    def block(start: object) -> None:
        count = code.least(code.b.sub(a["last"], start), ROWS)

        def norm_row(row: object) -> None:
            source = code.at(a["x"], code.mul(code.add(start, row), c), size)
            target = code.at(normed, code.mul(row, c), size)
            code.normalise(source, target, c, a["scale"], a["offset"], dtype)

        if has_norm:
            code.loop(0, count, 1, norm_row)

        def left_of(row: object) -> object:
            if has_norm:
                return code.at(normed, code.mul(row, c), size)
            row = code.add(start, code.least(row, code.add(count, -1)))
            return code.at(a["x"], code.mul(row, c), size)

        def expand(p: object) -> None:
            def rows(r: object) -> None:
                left = [left_of(code.add(r, i)) for i in range(tile_rows)]
                gate_at = code.at(a["expand"], code.mul(p, 2 * panel), 4)
                gates = code.product(left, gate_at, c // per_word, 2, dtype)
                value_at = code.at(gate_at, panel, 4)
                values = code.product(left, value_at, c // per_word, 2, dtype)
                for i in range(tile_rows):
                    for v in range(2):
                        gate = gates[i][v]
                        y = code.fmul(code.fmul(gate, code.sigmoid(gate)), values[i][v])
                        at = code.mul(code.add(r, i), f)
                        at = code.add(at, code.mul(p, width), v * lanes)
                        code.store(y, code.at(hidden, at, size), dtype)

            code.loop(0, count, tile_rows, rows)

        code.loop(0, f // width, 1, expand)

        def contract(p: object) -> None:
            def rows(r: object) -> None:
                left = [
                    code.at(hidden, code.mul(code.add(r, i), f), size)
                    for i in range(tile_rows)
                ]
                at = code.mul(p, f // per_word * width)
                sums = code.product(
                    left, code.at(a["contract"], at, 4), f // per_word, 2, dtype
                )
                for i in range(tile_rows):
                    row = code.add(r, i)
                    with code.when(code.less(row, count)):
                        at = code.mul(code.add(start, row), outputs)
                        for v in range(2):
                            column = code.add(code.mul(p, width), v * lanes)
                            # Half a panel may lie beyond the outputs.
                            with code.when(code.less(column, outputs)):
                                place = code.add(at, column)
                                y = sums[i][v]
                                if has_norm:
                                    x_at = code.at(a["x"], place, size)
                                    y = code.fadd(code.load(x_at, dtype), y)
                                code.store(y, code.at(a["out"], place, size), dtype)

            code.loop(0, count, tile_rows, rows)

        code.loop(0, -(-outputs // width), 1, contract)

    code.loop(a["first"], a["last"], ROWS, block)
