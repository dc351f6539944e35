"""Triangle multiplication by two kernels of our own around one product of matrices.

The first reads the pair and writes a, then b, channels first; a library multiplies; the
second reads pair and product and writes the updated pair. Ten passes over an array of
the pair's size, where each step by itself takes some thirty.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from kernels import triangle_xla
from kernels.launch import (
    Launch,
    RowTile,
    call_triton,
    first_that_fits,
    padded_channels,
    why_no_row_kernel,
)
from kernels.norms import EPSILON
from kernels.spec import TriangleSpec
from kernels.triangle import Side, TriangleWeights, update_rows

TILES = (RowTile(128, 32, 8, 2), RowTile(64, 32, 4, 2), RowTile(64, 16, 4, 1))


def unsupported(spec: TriangleSpec) -> str | None:
    """Why the kernels cannot run `spec`; None when they can."""
    widest = max(spec.num_channels, spec.num_hidden)
    return why_no_row_kernel("pair", spec, widest, choose_tile)


def choose_tile(spec: TriangleSpec) -> RowTile | None:
    """The first tile whose shared memory fits the card; None if none does."""
    return first_that_fits(TILES, spec, shared_memory)


def shared_memory(spec: TriangleSpec, tile: RowTile) -> int:
    """An upper bound on the shared memory of one program of either kernel, in bytes.

    Rows of pair and product pass through it; blocks of two matrices are held for each
    stage of the software pipeline.
    """
    channels = padded_channels(spec.num_channels)
    hidden = padded_channels(spec.num_hidden)
    rows = 2 * tile.edges * (channels + hidden)
    weights = 2 * 2 * tile.columns * max(channels, hidden)
    return rows + tile.num_stages * weights + 8192


def plan_project(spec: TriangleSpec, num_edges: int) -> Launch:
    """Grid and compile-time constants of the first kernel for so many edges."""
    tile = _tile_of(spec)
    constants = _constants(spec, tile, num_edges) | {"BLOCK_HIDDEN": tile.columns}
    return _launch(tile, num_edges, constants)


def plan_update(spec: TriangleSpec, num_edges: int) -> Launch:
    """Grid and compile-time constants of the second kernel for so many edges."""
    tile = _tile_of(spec)
    constants = _constants(spec, tile, num_edges) | {
        "BLOCK_HIDDEN": padded_channels(spec.num_hidden),
        "BLOCK_OUTPUT": tile.columns,
    }
    return _launch(tile, num_edges, constants)


def _tile_of(spec: TriangleSpec) -> RowTile:
    tile = choose_tile(spec)
    if tile is None:
        raise ValueError(f"no tile fits {spec}")
    return tile


def _constants(spec: TriangleSpec, tile: RowTile, num_edges: int) -> dict[str, int]:
    return {
        "EDGE_MULTIPLE": math.gcd(num_edges, 16),
        "NUM_CHANNELS": spec.num_channels,
        "NUM_HIDDEN": spec.num_hidden,
        "BLOCK_EDGES": tile.edges,
        "BLOCK_CHANNELS": padded_channels(spec.num_channels),
    }


def _launch(tile: RowTile, num_edges: int, constants: dict[str, int]) -> Launch:
    grid = (math.ceil(num_edges / tile.edges),)
    scalars = {"epsilon": EPSILON, "num_edges": num_edges}
    return Launch(grid, scalars, constants, tile.num_warps, tile.num_stages)


def run(
    pair: Float[Array, "*batch n n c"],
    mask: Bool[Array, "*batch n n"],
    weights: TriangleWeights,
    *,
    spec: TriangleSpec,
) -> Float[Array, "*batch n n c"]:
    """pair + update; see `kernels.triangle.update_rows` for what is alive meanwhile.

    Its derivative is that of the XLA backend, which recomputes the forward pass.
    """
    return _update(spec, pair, mask, weights)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _update(
    spec: TriangleSpec, pair: Array, mask: Array, weights: TriangleWeights
) -> Array:
    return _batchable(spec)(pair, mask, weights)


def _forward(spec: TriangleSpec, *arguments: Any) -> tuple[Array, tuple[Any, ...]]:
    return _update(spec, *arguments), arguments


def _backward(
    spec: TriangleSpec, arguments: tuple[Any, ...], gradient: Array
) -> tuple[Any, ...]:
    reference = functools.partial(triangle_xla.run, spec=spec)
    _, transpose = jax.vjp(reference, *arguments)
    return transpose(gradient)


_update.defvjp(_forward, _backward)


def _batchable(spec: TriangleSpec) -> Callable[..., Array]:
    """The update, to which `jax.vmap` adds one more batch axis of pair and mask."""

    @jax.custom_batching.custom_vmap
    def call(pair: Array, mask: Array, weights: TriangleWeights) -> Array:
        return _call_kernels(pair, mask, weights, spec._replace(batch=pair.shape[:-3]))

    @call.def_vmap
    def batched_call(
        axis_size: int, is_batched: Any, *arguments: Any
    ) -> tuple[Array, bool]:
        def lead(batched: bool, x: Array) -> Array:
            return x if batched else jnp.broadcast_to(x[None], (axis_size, *x.shape))

        full = jax.tree.map(lead, tuple(is_batched), arguments)
        if not any(jax.tree.leaves(is_batched[2])):
            return call(*full[:2], arguments[2]), True
        return jax.lax.map(lambda one: call(*one), full), True

    return call


def _call_kernels(
    pair: Array, mask: Array, weights: TriangleWeights, spec: TriangleSpec
) -> Array:
    # Imported here: a machine without Triton imports this module to be told so.
    from kernels.edges import project_edges, update_edges

    w = weights.cast(pair.dtype)

    def project(edges: Array, mask: Array, side: Side) -> Float[Array, "h *batch r s"]:
        shape = (spec.num_hidden, *mask.shape)
        return call_triton(
            project_edges,
            plan_project(spec, mask.size),
            project_arrays(edges, mask, w, side),
            jax.ShapeDtypeStruct(shape, pair.dtype),
            spec.device,
        )

    def finish(
        product: Float[Array, "h *batch r s"], edges: Array
    ) -> Float[Array, "*batch r s c"]:
        return call_triton(
            update_edges,
            plan_update(spec, math.prod(edges.shape[:-1])),
            update_arrays(edges, product, w),
            jax.ShapeDtypeStruct(edges.shape, edges.dtype),
            spec.device,
        )

    return update_rows(
        project,
        finish,
        pair,
        mask,
        w,
        outgoing=spec.outgoing,
        rows_at_once=spec.rows_at_once,
    )


def project_arrays(
    edges: Array, mask: Array, weights: TriangleWeights, side: Side
) -> dict[str, Array]:
    """What the first kernel reads, under its names for them."""
    return {
        "pair_ptr": edges,
        "mask_ptr": mask.astype(jnp.int8),
        "scale_ptr": weights.input_scale,
        "offset_ptr": weights.input_offset,
        "weights_ptr": side.project,
        "gates_ptr": side.gate,
    }


def update_arrays(
    edges: Array, product: Array, weights: TriangleWeights
) -> dict[str, Array]:
    """What the second kernel reads, under its names for them."""
    return {
        "pair_ptr": edges,
        "product_ptr": product,
        "input_scale_ptr": weights.input_scale,
        "input_offset_ptr": weights.input_offset,
        "output_scale_ptr": weights.output_scale,
        "output_offset_ptr": weights.output_offset,
        "output_weights_ptr": weights.output,
        "gate_weights_ptr": weights.output_gate,
    }
