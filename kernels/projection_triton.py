"""A projection in one kernel: when it can run, its tiles and its launch."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels import projection_xla
from kernels.launch import (
    Launch,
    RowTile,
    call_triton,
    first_that_fits,
    padded_channels,
    why_no_row_kernel,
)
from kernels.norms import EPSILON, Norm
from kernels.spec import ProjectionSpec, projection_spec_of

TILES = (RowTile(128, 64, 8, 2), RowTile(64, 32, 4, 2), RowTile(64, 16, 4, 1))


def unsupported(spec: ProjectionSpec) -> str | None:
    """Why the kernel cannot run `spec`; None when it can."""
    return why_no_row_kernel("x", spec, spec.num_channels, choose_tile)


def choose_tile(spec: ProjectionSpec) -> RowTile | None:
    """The first tile whose shared memory fits the card; None if none does."""
    return first_that_fits(TILES, spec, shared_memory)


def shared_memory(spec: ProjectionSpec, tile: RowTile) -> int:
    """An upper bound on the shared memory of one program, in bytes.

    Rows pass through it, and what was made of them on its way to another layout; a
    block of the weights is held for each stage of the software pipeline.
    """
    channels = padded_channels(spec.num_channels)
    rows = 2 * tile.edges * channels
    made = 2 * tile.edges * tile.columns
    weights = 2 * tile.columns * channels
    return rows + made + tile.num_stages * weights + 8192


def plan_launch(spec: ProjectionSpec) -> Launch:
    """Grid and compile-time constants of the kernel for `spec`."""
    tile = choose_tile(spec)
    if tile is None:
        raise ValueError(f"no tile fits {spec}")
    *batch, num_rows, num_columns = spec.edges
    num_edges = math.prod(spec.edges)
    constants = {
        "HAS_NORM": spec.has_norm,
        "HAS_RESIDUAL": spec.has_residual,
        "ORDER": spec.order,
        "EDGE_MULTIPLE": math.gcd(num_rows * num_columns, 16),
        "NUM_CHANNELS": spec.num_channels,
        "NUM_OUTPUT": spec.num_outputs,
        "BLOCK_EDGES": tile.edges,
        "BLOCK_CHANNELS": padded_channels(spec.num_channels),
        "BLOCK_OUTPUT": min(tile.columns, padded_channels(spec.num_outputs)),
    }
    scalars = {
        "epsilon": EPSILON,
        "num_edges": num_edges,
        "num_rows": num_rows,
        "num_columns": num_columns,
    }
    grid = (math.ceil(num_edges / tile.edges),)
    return Launch(grid, scalars, constants, tile.num_warps, tile.num_stages)


def run(
    x: Float[Array, "*batch r s c"],
    weights: Float[Array, "c o"],
    norm: Norm | None,
    residual: Float[Array, "..."] | None,
    *,
    spec: ProjectionSpec,
) -> Float[Array, "..."]:
    """One read of x, one write of the result.

    Its derivative is that of the XLA backend, which recomputes the forward pass.
    """
    return _project(spec, x, weights, norm, residual)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _project(spec: ProjectionSpec, *arrays: Any) -> Array:
    return _batchable(spec)(*arrays)


def _forward(spec: ProjectionSpec, *arrays: Any) -> tuple[Array, tuple[Any, ...]]:
    return _project(spec, *arrays), arrays


def _backward(
    spec: ProjectionSpec, arrays: tuple[Any, ...], gradient: Array
) -> tuple[Any, ...]:
    reference = functools.partial(projection_xla.run, spec=spec)
    _, transpose = jax.vjp(reference, *arrays)
    return transpose(gradient)


_project.defvjp(_forward, _backward)


def _batchable(spec: ProjectionSpec) -> Callable[..., Array]:
    """The kernel's call, to which `jax.vmap` adds one more batch axis."""

    @jax.custom_batching.custom_vmap
    def call(
        x: Array, weights: Array, norm: Norm | None, residual: Array | None
    ) -> Array:
        grown = projection_spec_of(
            x, weights, norm, residual, order=spec.order, device=spec.device
        )
        return _call_kernel(x, weights, norm, residual, grown)

    @call.def_vmap
    def batched_call(
        axis_size: int, is_batched: Any, *arguments: Any
    ) -> tuple[Array, bool]:
        def lead(batched: bool, x: Array) -> Array:
            return x if batched else jnp.broadcast_to(x[None], (axis_size, *x.shape))

        full = jax.tree.map(lead, tuple(is_batched), arguments)
        x, _, _, residual = full
        _, weights, norm, _ = arguments
        if not any(jax.tree.leaves(is_batched[1:3])):
            return call(x, weights, norm, residual), True
        return jax.lax.map(lambda one: call(*one), full), True

    return call


def _call_kernel(
    x: Array,
    weights: Array,
    norm: Norm | None,
    residual: Array | None,
    spec: ProjectionSpec,
) -> Array:
    # Imported here: a machine without Triton imports this module to be told so.
    from kernels.projection import project

    return call_triton(
        project,
        plan_launch(spec),
        kernel_arrays(x, weights, norm, residual),
        jax.ShapeDtypeStruct(spec.output, x.dtype),
        spec.device,
    )


def kernel_arrays(
    x: Array, weights: Array, norm: Norm | None, residual: Array | None
) -> dict[str, Array]:
    """The arguments under the kernel's names for them."""
    # What is absent is never read: any pointer will do.
    scale, offset = (x, x) if norm is None else norm
    return {
        "x_ptr": x,
        "weights_ptr": weights,
        "scale_ptr": scale,
        "offset_ptr": offset,
        "residual_ptr": x if residual is None else residual,
    }
