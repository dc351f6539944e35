"""What the backends of triangle multiplication share. SI Algorithms 12 and 13."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
@no_type_check  # as a JAX tree it also holds what is not an array
class TriangleWeights:
    """Parameters of one triangle multiplication: c channels, h hidden ones.

    The last axis of the two projections is a, b.
    """

    input_scale: Float[Array, "c"]
    input_offset: Float[Array, "c"]
    project: Float[Array, "c h 2"]
    project_gate: Float[Array, "c h 2"]
    output_scale: Float[Array, "h"]
    output_offset: Float[Array, "h"]
    output: Float[Array, "h c"]
    output_gate: Float[Array, "c c"]

    def cast(self, dtype: jnp.dtype) -> "TriangleWeights":
        """The matrices in `dtype`, the norms in float32."""
        return TriangleWeights(
            self.input_scale.astype(jnp.float32),
            self.input_offset.astype(jnp.float32),
            self.project.astype(dtype),
            self.project_gate.astype(dtype),
            self.output_scale.astype(jnp.float32),
            self.output_offset.astype(jnp.float32),
            self.output.astype(dtype),
            self.output_gate.astype(dtype),
        )


def check_triangle(
    pair: Float[Array, "*batch n n c"],
    mask: Bool[Array, "*batch n n"],
    weights: TriangleWeights,
    rows_at_once: int | None,
) -> None:
    """Raises ValueError naming what does not fit, and the shape it must have."""
    if pair.ndim < 3 or pair.shape[-3] != pair.shape[-2]:
        raise ValueError(f"pair must have shape [*batch n n c], got {list(pair.shape)}")
    if mask.shape != pair.shape[:-1]:
        raise ValueError(
            f"mask must have shape {list(pair.shape[:-1])} for pair"
            f" {list(pair.shape)}, got {list(mask.shape)}"
        )
    c, h = pair.shape[-1], weights.output.shape[0]
    wanted = {
        "input_scale": (c,),
        "input_offset": (c,),
        "project": (c, h, 2),
        "project_gate": (c, h, 2),
        "output_scale": (h,),
        "output_offset": (h,),
        "output": (h, c),
        "output_gate": (c, c),
    }
    for name, shape in wanted.items():
        found = getattr(weights, name).shape
        if found != shape:
            raise ValueError(
                f"weights.{name} must have shape {list(shape)} for pair"
                f" {list(pair.shape)} and {h} hidden channels, got {list(found)}"
            )
    if rows_at_once is not None and rows_at_once < 1:
        raise ValueError(f"rows_at_once must be at least 1, got {rows_at_once}")


class Side(NamedTuple):
    """One of the two gated projections of edges."""

    project: Float[Array, "c h"]
    gate: Float[Array, "c h"]


def update_rows(
    project: Callable[[Array, Array, Side], Array],
    finish: Callable[[Array, Array], Array],
    pair: Float[Array, "*batch n n c"],
    mask: Bool[Array, "*batch n n"],
    weights: TriangleWeights,
    *,
    outgoing: bool,
    rows_at_once: int,
) -> Float[Array, "*batch n n c"]:
    """pair + update, from the two halves that backends differ in.

    Args:
        project: normalises edges [*batch r s c], projects them, gates them, clears
            those outside the mask, and puts channels first: [h *batch r s].
        finish: from products [h *batch r s] and their edges to these, updated.

    Σ_k a_ik b_jk for outgoing edges reads a of row i only, Σ_k a_kj b_ki for incoming
    ones a of column j. (Differs from the paper: for incoming edges a carries the index
    j.) So b is made first, and rows or columns are then replaced chunk by chunk: what
    of the pair is still to be read has not been replaced.
    """
    of_a, of_b = (
        Side(weights.project[..., side], weights.project_gate[..., side])
        for side in (0, 1)
    )
    num_tokens, axis = pair.shape[-2], -3 if outgoing else -2
    equation = "...ik,...jk->...ij" if outgoing else "...kj,...ki->...ij"

    def update(edges: Array, mask: Array, b: Array) -> Array:
        product = jnp.einsum(equation, project(edges, mask, of_a), b)
        return finish(product, edges)

    if rows_at_once >= num_tokens:
        return update(pair, mask, project(pair, mask, of_b))

    num_chunks = -(-num_tokens // rows_at_once)
    size = -(-num_tokens // num_chunks)

    def take(x: Array, start: Array | int, axis: int) -> Array:
        return jax.lax.dynamic_slice_in_dim(x, start, size, axis)

    def start_of(chunk: Array | int) -> Array:
        return jnp.minimum(chunk * size, num_tokens - size)

    def fill(chunk: Array | int, b: Array) -> Array:
        start = start_of(chunk)
        edges = take(pair, start, pair.ndim - 3), take(mask, start, mask.ndim - 2)
        some = project(*edges, of_b)
        return jax.lax.dynamic_update_slice_in_dim(b, some, start, b.ndim - 2)

    # Any numbers do, for all are replaced. Zeros would be one constant for all updates
    # of a network, of which XLA makes a copy for each.
    b = jnp.broadcast_to(pair[(0,) * pair.ndim], (of_b.project.shape[-1], *mask.shape))
    b = jax.lax.fori_loop(0, num_chunks, fill, b)

    def replace(chunk: Array | int, pair: Array) -> Array:
        start = start_of(chunk)
        edges = take(pair, start, pair.ndim + axis)
        updated = update(edges, take(mask, start, mask.ndim + axis + 1), b)
        if num_tokens % size:
            # The last chunk is shifted back: what was updated before stays.
            is_new = start + jnp.arange(size) >= chunk * size
            updated = jnp.where(
                is_new.reshape((size,) + (1,) * (-axis - 1)), updated, edges
            )
        return jax.lax.dynamic_update_slice_in_dim(
            pair, updated, start, pair.ndim + axis
        )

    return jax.lax.fori_loop(0, num_chunks, replace, pair)
