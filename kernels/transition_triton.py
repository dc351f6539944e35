"""The SwiGLU transition in one kernel, or its gated unit: when, with which tiles.

Where rows are short and in half precision, one kernel does all. Otherwise the two
products of the expansion, SwiGLU between them, are one kernel, and the contraction is
JAX's: what is left out is the expansion's way to memory and back.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels import transition_xla
from kernels.launch import (
    DTYPES,
    PRECISION,
    Launch,
    call_triton,
    first_that_fits,
    padded_channels,
    too_little_shared_memory,
    why_no_row_kernel,
    why_no_triton,
)
from kernels.norms import EPSILON, Norm, layer_norm
from kernels.spec import TransitionSpec, transition_spec_of


class Tile(NamedTuple):
    """Work of one program of the whole transition, and the resources it is given."""

    rows: int
    hidden: int
    num_warps: int
    num_stages: int


class UnitTile(NamedTuple):
    """Work of one program of the gated unit, and the resources it is given."""

    rows: int
    hidden: int
    channels: int
    """Multiplied at once."""
    num_warps: int
    num_stages: int


TILES = (Tile(128, 32, 8, 3), Tile(128, 32, 8, 2))
UNIT_TILES = (UnitTile(128, 64, 32, 8, 3), UnitTile(64, 32, 32, 4, 3))
# Each product is three, for which there are fewer registers.
EXACT_TILES = UNIT_TILES[1:]


def unsupported(spec: TransitionSpec) -> str | None:
    """Why the kernels cannot run `spec`; None when they can."""
    refusal = why_no_triton(spec.device, spec.dtype)
    if refusal is not None:
        return refusal
    if spec.dtype not in DTYPES:
        return f"the kernels read {', '.join(DTYPES)}; x is {spec.dtype}"
    if choose_tile(spec) is None:
        return too_little_shared_memory(spec.num_channels, spec.dtype, spec.device)
    return None


def is_whole(spec: TransitionSpec) -> bool:
    """Whether one kernel does all; otherwise, the gated unit alone."""
    widest = max(spec.num_channels, spec.num_outputs)
    return why_no_row_kernel("x", spec, widest, _whole_tile) is None


def _whole_tile(spec: TransitionSpec) -> Tile | None:
    return first_that_fits(TILES, spec, shared_memory)


def choose_tile(spec: TransitionSpec) -> Tile | UnitTile | None:
    """The first tile whose shared memory fits the card; None if none does."""
    if is_whole(spec):
        return _whole_tile(spec)
    is_exact = spec.dtype == spec.products == "float32"
    tiles = EXACT_TILES if is_exact else UNIT_TILES
    return first_that_fits(tiles, spec, shared_memory)


def shared_memory(spec: TransitionSpec, tile: Tile | UnitTile) -> int:
    """An upper bound on the shared memory of one program, in bytes.

    Of the whole transition, rows and results pass through it once, and blocks of the
    three weights are held for each stage of the software pipeline; of the gated unit,
    blocks of rows and weights are.
    """
    if isinstance(tile, UnitTile):
        itemsize = 4 if spec.dtype == "float32" else 2
        block = tile.channels * (tile.rows + 2 * tile.hidden)
        return tile.num_stages * itemsize * block + 1024
    channels = padded_channels(spec.num_channels)
    outputs = padded_channels(spec.num_outputs)
    rows = 2 * tile.rows * max(channels, outputs)
    weights = 2 * tile.hidden * (2 * channels + outputs)
    return rows + tile.num_stages * weights + 4096


def plan_launch(spec: TransitionSpec) -> Launch:
    """Grid and compile-time constants of the kernel for `spec`."""
    tile = choose_tile(spec)
    if tile is None:
        raise ValueError(f"no tile fits {spec}")
    num_programs = math.ceil(spec.num_rows / tile.rows)
    scalars: dict[str, int | float | tuple[int, ...]] = {"num_rows": spec.num_rows}
    constants: dict[str, Any] = {
        "NUM_CHANNELS": spec.num_channels,
        "NUM_HIDDEN": spec.num_hidden,
        "BLOCK_ROWS": tile.rows,
        "BLOCK_HIDDEN": tile.hidden,
    }
    if isinstance(tile, UnitTile):
        num_programs *= math.ceil(spec.num_hidden / tile.hidden)
        constants |= {
            "BLOCK_CHANNELS": tile.channels,
            "PRECISION": PRECISION[spec.products],
        }
    else:
        scalars["epsilon"] = EPSILON
        constants |= {
            "HAS_NORM": spec.has_norm,
            "NUM_OUTPUT": spec.num_outputs,
            "BLOCK_CHANNELS": padded_channels(spec.num_channels),
            "BLOCK_OUTPUT": padded_channels(spec.num_outputs),
        }
    return Launch((num_programs,), scalars, constants, tile.num_warps, tile.num_stages)


def run(
    x: Float[Array, "*batch c"],
    expand: Float[Array, "c twice_f"],
    contract: Float[Array, "f d"],
    norm: Norm | None,
    *,
    spec: TransitionSpec,
) -> Float[Array, "*batch d"]:
    """(silu(x Wa) · x Wb) Wc; with `norm`, of the norm of x, and added to x.

    Of few channels and half precision, the expanded activations never reach memory:
    one read and one write of x. Otherwise those reach it that are contracted, f
    channels a row, made in one kernel of the norm of x.
    Its derivative is that of the XLA backend, which recomputes the forward pass.
    """
    return _transition(spec, x, expand, contract, norm)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _transition(
    spec: TransitionSpec, x: Array, expand: Array, contract: Array, norm: Norm | None
) -> Array:
    return _batchable(spec)(x, expand, contract, norm)


def _forward(spec: TransitionSpec, *arrays: Any) -> tuple[Array, tuple[Any, ...]]:
    return _transition(spec, *arrays), arrays


def _backward(
    spec: TransitionSpec, arrays: tuple[Any, ...], gradient: Array
) -> tuple[Any, ...]:
    reference = functools.partial(transition_xla.run, spec=spec)
    _, transpose = jax.vjp(reference, *arrays)
    return transpose(gradient)


_transition.defvjp(_forward, _backward)


def _batchable(spec: TransitionSpec) -> Callable[..., Array]:
    """The kernel's call, to which `jax.vmap` adds one more batch axis of x."""

    @jax.custom_batching.custom_vmap
    def call(x: Array, expand: Array, contract: Array, norm: Norm | None) -> Array:
        grown = transition_spec_of(x, expand, contract, norm, spec.device)
        grown = grown._replace(products=spec.products)
        return _call_kernel(x, expand, contract, norm, grown)

    @call.def_vmap
    def batched_call(
        axis_size: int, is_batched: Any, x: Array, *weights: Any
    ) -> tuple[Array, bool]:
        def lead(batched: bool, y: Array) -> Array:
            return y if batched else jnp.broadcast_to(y[None], (axis_size, *y.shape))

        x = lead(is_batched[0], x)
        if not any(jax.tree.leaves(is_batched[1:])):
            return call(x, *weights), True
        full = jax.tree.map(lead, tuple(is_batched[1:]), weights)
        return jax.lax.map(lambda one: call(*one), (x, *full)), True

    return call


def _call_kernel(
    x: Array, expand: Array, contract: Array, norm: Norm | None, spec: TransitionSpec
) -> Array:
    # Imported here: a machine without Triton imports this module to be told so.
    from kernels import swiglu

    whole = is_whole(spec)
    arrays = kernel_arrays(x, expand, contract, norm)
    if not whole:
        normed = x if norm is None else layer_norm(x, *norm)
        arrays = {"x_ptr": normed, "expand_ptr": expand}
    num_outputs = spec.num_outputs if whole else spec.num_hidden
    result = call_triton(
        swiglu.gated_transition if whole else swiglu.gated_unit,
        plan_launch(spec),
        arrays,
        jax.ShapeDtypeStruct((*x.shape[:-1], num_outputs), x.dtype),
        spec.device,
    )
    if whole:
        return result
    update = result @ contract
    return update if norm is None else x + update


def kernel_arrays(
    x: Array, expand: Array, contract: Array, norm: Norm | None
) -> dict[str, Array]:
    """The arguments under the kernel's names for them."""
    # An absent norm is never read: any pointer will do.
    scale, offset = (x, x) if norm is None else norm
    return {
        "x_ptr": x,
        "expand_ptr": expand,
        "contract_ptr": contract,
        "scale_ptr": scale,
        "offset_ptr": offset,
    }
