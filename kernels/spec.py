"""The facts of one call that decide where it can run: no arrays, all hashable."""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernels.devices import Device
from kernels.norms import Norm
from kernels.operands import Operands
from kernels.segments import PackedSequences, Profiles
from kernels.triangle import TriangleWeights

Shape = tuple[int, ...]
Order = Literal["rows", "columns", "channels"]
"""How a projection of edges [*batch r s c] lies in memory: as [*batch r s o], as
[*batch s r o] or as [*batch o r s]."""


class AttentionSpec(NamedTuple):
    """Shapes, dtypes, masks and device of one call of `attention`.

    Shapes of optional operands are at full rank, 1 where they broadcast, None where
    they are absent.
    """

    batch: Shape
    num_queries: int
    num_keys: int
    num_heads: int
    num_key_heads: int
    num_channels: int
    dtype: str
    device: Device
    bias: Shape | None = None
    bias_dtype: str | None = None
    dense_mask: Shape | None = None
    key_mask: Shape | None = None
    query_segments: Shape | None = None
    key_segments: Shape | None = None
    is_causal: bool = False
    has_gate: bool = False
    products: Literal["float32", "tf32"] = "float32"
    """Of float32 operands: nearly exact, or rounded to TensorFloat-32."""
    is_packed: bool = False
    """Whether q, k, v and gate are parts of one array."""
    is_stacked: bool = False
    """Whether the bias is one of several in one array."""

    @property
    def operation(self) -> str:
        """What the log and error messages call it."""
        return "attention"

    @property
    def heads_per_key_head(self) -> int:
        """1 for multi-head, num_heads for multi-query, between for grouped-query."""
        return self.num_heads // self.num_key_heads

    @property
    def broadcasting(self) -> dict[str, Shape]:
        """The operands present that may broadcast over the batch, with their shapes."""
        names = ("bias", "dense_mask", "key_mask", "query_segments", "key_segments")
        shapes = {name: getattr(self, name) for name in names}
        return {name: shape for name, shape in shapes.items() if shape is not None}

    def __str__(self) -> str:
        extras = [f"{name} {list(shape)}" for name, shape in self.broadcasting.items()]
        extras += ["causal"] * self.is_causal + ["gated"] * self.has_gate
        extras += ["products in TF32"] * (self.products == "tf32")
        extras += ["packed"] * self.is_packed + ["stacked bias"] * self.is_stacked
        return (
            f"{self.dtype} batch {list(self.batch)}, {self.num_queries} queries,"
            f" {self.num_keys} keys, {self.num_heads}/{self.num_key_heads} heads,"
            f" {self.num_channels} channels on {self.device}"
            + "".join(f", {extra}" for extra in extras)
        )


class TransitionSpec(NamedTuple):
    """Shape, dtype and device of one call of `gated_transition`."""

    num_rows: int
    num_channels: int
    num_hidden: int
    num_outputs: int
    dtype: str
    device: Device
    has_norm: bool = False
    products: Literal["float32", "tf32"] = "float32"
    """Of float32 operands: nearly exact, or rounded to TensorFloat-32."""

    @property
    def operation(self) -> str:
        """What the log and error messages call it."""
        return "gated transition"

    def __str__(self) -> str:
        return (
            f"{self.dtype} {self.num_rows} rows, {self.num_channels} →"
            f" 2 × {self.num_hidden} → {self.num_outputs} channels on {self.device}"
            + ", with norm and residual" * self.has_norm
            + ", products in TF32" * (self.products == "tf32")
        )


class TriangleSpec(NamedTuple):
    """Shape, direction, dtype and device of one call of `triangle_multiplication`."""

    batch: Shape
    num_tokens: int
    num_channels: int
    num_hidden: int
    rows_at_once: int
    outgoing: bool
    dtype: str
    device: Device

    @property
    def operation(self) -> str:
        """What the log and error messages call it."""
        return "triangle multiplication"

    def __str__(self) -> str:
        return (
            f"{self.dtype} batch {list(self.batch)}, {self.num_tokens} tokens,"
            f" {self.num_channels} → {self.num_hidden} channels,"
            f" {self.rows_at_once} rows at once,"
            f" {'outgoing' if self.outgoing else 'incoming'} on {self.device}"
        )


class ProjectionSpec(NamedTuple):
    """Shape, order, dtype and device of one call of `project`."""

    edges: Shape
    """Batch, rows and columns."""
    num_channels: int
    num_outputs: int
    order: Order
    has_norm: bool
    has_residual: bool
    dtype: str
    device: Device

    @property
    def operation(self) -> str:
        """What the log and error messages call it."""
        return "projection"

    @property
    def output(self) -> Shape:
        """Shape of the result."""
        *batch, rows, columns = self.edges
        if self.order == "channels":
            return (*batch, self.num_outputs, rows, columns)
        both = (columns, rows) if self.order == "columns" else (rows, columns)
        return (*batch, *both, self.num_outputs)

    def reorder(self, projected: Array) -> Array:
        """[*batch r s o], in the order that is asked for."""
        if self.order == "channels":
            return jnp.moveaxis(projected, -1, -3)
        return jnp.swapaxes(projected, -3, -2) if self.order == "columns" else projected

    def __str__(self) -> str:
        extras = ["of the norm"] * self.has_norm + ["added"] * self.has_residual
        return (
            f"{self.dtype} {list(self.edges)} edges, {self.num_channels} →"
            f" {self.num_outputs} channels, {self.order} on {self.device}"
            + "".join(f", {extra}" for extra in extras)
        )


class SegmentsSpec(NamedTuple):
    """Sizes and device of one call of `best_segments`."""

    num_queries: int
    num_columns: int
    """Of the longest profile."""
    num_classes: int
    num_targets: int
    num_residues: int
    """Of all targets."""
    device: Device

    @property
    def operation(self) -> str:
        """What the log and error messages call it."""
        return "best segments"

    def __str__(self) -> str:
        return (
            f"{self.num_queries:,} profiles of {self.num_classes} classes and up to"
            f" {self.num_columns:,} columns, {self.num_targets:,} targets of"
            f" {self.num_residues:,} residues on {self.device}"
        )


def spec_of(operands: Operands, device: Device) -> AttentionSpec:
    """The facts about `operands` that a backend may refuse."""
    q, k = operands.q, operands.k
    return AttentionSpec(
        batch=q.shape[:-3],
        num_queries=q.shape[-3],
        num_keys=k.shape[-3],
        num_heads=q.shape[-2],
        num_key_heads=k.shape[-2],
        num_channels=q.shape[-1],
        dtype=q.dtype.name,
        device=device,
        bias=_shape(operands.bias),
        bias_dtype=None if operands.bias is None else operands.bias.dtype.name,
        dense_mask=_shape(operands.dense_mask),
        key_mask=_shape(operands.key_mask),
        query_segments=_shape(operands.query_segments),
        key_segments=_shape(operands.key_segments),
        is_causal=operands.query_index is not None,
        has_gate=operands.gate is not None,
        products=products_of(q.dtype.name, device),
        is_packed=operands.packed is not None,
        is_stacked=operands.bias_stack is not None,
    )


def products_of(dtype: str, device: Device) -> Literal["float32", "tf32"]:
    """How attention multiplies: on NVIDIA GPUs as every other product of JAX does.

    There JAX's default for float32 is one product in TensorFloat-32; inside
    `jax.default_matmul_precision("highest")` it is float32. Elsewhere attention keeps
    float32 whatever JAX would do (a TPU would round to bfloat16).
    """
    named = jax.config.jax_default_matmul_precision
    rounds = named in (None, "default", "high", "tensorfloat32", "TF32_TF32_F32")
    is_tf32 = dtype == "float32" and device.platform == "cuda" and rounds
    return "tf32" if is_tf32 else "float32"


def transition_spec_of(
    x: Array, expand: Array, contract: Array, norm: Norm | None, device: Device
) -> TransitionSpec:
    """The facts about a transition that a backend may refuse."""
    return TransitionSpec(
        num_rows=math.prod(x.shape[:-1]),
        num_channels=x.shape[-1],
        num_hidden=contract.shape[0],
        num_outputs=contract.shape[1],
        dtype=x.dtype.name,
        device=device,
        has_norm=norm is not None,
        products=products_of(x.dtype.name, device),
    )


def triangle_spec_of(
    pair: Array,
    weights: TriangleWeights,
    *,
    outgoing: bool,
    rows_at_once: int,
    device: Device,
) -> TriangleSpec:
    """The facts about a triangle multiplication that a backend may refuse."""
    return TriangleSpec(
        batch=pair.shape[:-3],
        num_tokens=pair.shape[-2],
        num_channels=pair.shape[-1],
        num_hidden=weights.output.shape[0],
        rows_at_once=rows_at_once,
        outgoing=outgoing,
        dtype=pair.dtype.name,
        device=device,
    )


def projection_spec_of(
    x: Array,
    weights: Array,
    norm: Norm | None,
    residual: Array | None,
    *,
    order: Order,
    device: Device,
) -> ProjectionSpec:
    """The facts about a projection that a backend may refuse."""
    return ProjectionSpec(
        edges=x.shape[:-1],
        num_channels=x.shape[-1],
        num_outputs=weights.shape[-1],
        order=order,
        has_norm=norm is not None,
        has_residual=residual is not None,
        dtype=x.dtype.name,
        device=device,
    )


def segments_spec_of(
    profiles: Profiles, targets: PackedSequences, device: Device
) -> SegmentsSpec:
    """The facts about profiles and targets that a backend may refuse."""
    return SegmentsSpec(
        num_queries=len(profiles),
        num_columns=max(costs.shape[1] for costs in profiles),
        num_classes=len(profiles[0]),
        num_targets=len(targets.starts) - 1,
        num_residues=int(targets.starts[-1] - targets.starts[0]),
        device=device,
    )


def _shape(x: Array | None) -> Shape | None:
    return None if x is None else tuple(x.shape)
