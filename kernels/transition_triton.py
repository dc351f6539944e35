"""The SwiGLU transition in one kernel: when it can run, its tiles and its launch."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels import transition_xla
from kernels.devices import Device
from kernels.launch import (
    Launch,
    call_triton,
    first_that_fits,
    padded_channels,
    why_no_row_kernel,
)
from kernels.norms import EPSILON, Norm
from kernels.spec import TransitionSpec, transition_spec_of


class Tile(NamedTuple):
    """Work of one program of the kernel, and the resources it is given."""

    rows: int
    hidden: int
    num_warps: int
    num_stages: int


TILES = (Tile(128, 32, 8, 3), Tile(128, 32, 8, 2))


def unsupported(spec: TransitionSpec) -> str | None:
    """Why the kernel cannot run `spec`; None when it can."""
    widest = max(spec.num_channels, spec.num_outputs)
    return why_no_row_kernel("x", spec, widest, choose_tile)


def choose_tile(spec: TransitionSpec) -> Tile | None:
    """The first tile whose shared memory fits the card; None if none does."""
    return first_that_fits(TILES, spec, shared_memory)


def shared_memory(spec: TransitionSpec, tile: Tile) -> int:
    """An upper bound on the shared memory of one program, in bytes.

    Rows and results pass through it once; blocks of the three weights are held for
    each stage of the software pipeline.
    """
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
    constants = {
        "HAS_NORM": spec.has_norm,
        "NUM_CHANNELS": spec.num_channels,
        "NUM_HIDDEN": spec.num_hidden,
        "NUM_OUTPUT": spec.num_outputs,
        "BLOCK_ROWS": tile.rows,
        "BLOCK_HIDDEN": tile.hidden,
        "BLOCK_CHANNELS": padded_channels(spec.num_channels),
        "BLOCK_OUTPUT": padded_channels(spec.num_outputs),
    }
    return Launch(
        (math.ceil(spec.num_rows / tile.rows),),
        {"epsilon": EPSILON, "num_rows": spec.num_rows},
        constants,
        tile.num_warps,
        tile.num_stages,
    )


def run(
    x: Float[Array, "*batch c"],
    expand: Float[Array, "c twice_f"],
    contract: Float[Array, "f d"],
    norm: Norm | None,
    *,
    spec: TransitionSpec,
) -> Float[Array, "*batch d"]:
    """(silu(x Wa) · x Wb) Wc; the expanded activations never reach memory.

    With `norm`, of the norm of x, and added to x: one read and one write of x.
    Its derivative is that of the XLA backend, which recomputes the forward pass.
    """
    return _transition(spec, x, expand, contract, norm)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _transition(
    spec: TransitionSpec, x: Array, expand: Array, contract: Array, norm: Norm | None
) -> Array:
    return _batchable(spec.device)(x, expand, contract, norm)


def _forward(spec: TransitionSpec, *arrays: Any) -> tuple[Array, tuple[Any, ...]]:
    return _transition(spec, *arrays), arrays


def _backward(
    spec: TransitionSpec, arrays: tuple[Any, ...], gradient: Array
) -> tuple[Any, ...]:
    reference = functools.partial(transition_xla.run, spec=spec)
    _, transpose = jax.vjp(reference, *arrays)
    return transpose(gradient)


_transition.defvjp(_forward, _backward)


def _batchable(device: Device) -> Callable[..., Array]:
    """The kernel's call, to which `jax.vmap` adds one more batch axis of x."""

    @jax.custom_batching.custom_vmap
    def call(x: Array, expand: Array, contract: Array, norm: Norm | None) -> Array:
        return _call_kernel(x, expand, contract, norm, device)

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
    x: Array, expand: Array, contract: Array, norm: Norm | None, device: Device
) -> Array:
    # Imported here: a machine without Triton imports this module to be told so.
    from kernels.swiglu import gated_transition

    spec = transition_spec_of(x, expand, contract, norm, device)
    return call_triton(
        gated_transition,
        plan_launch(spec),
        kernel_arrays(x, expand, contract, norm),
        jax.ShapeDtypeStruct((*x.shape[:-1], contract.shape[-1]), x.dtype),
        device,
    )


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
