"""The facts of one attention that decide where it can run: no arrays, all hashable."""

import contextlib
import contextvars
import importlib.util
from collections.abc import Iterator
from typing import NamedTuple

import jax

from kernels.operands import Operands


class Device(NamedTuple):
    """A kind of accelerator, present or not, and what is installed to drive it."""

    platform: str
    """"cpu", "cuda", "rocm" or "tpu"."""
    compute_capability: tuple[int, int] | None = None
    """CUDA only: (8, 0) for A100, (9, 0) for H100, (12, 0) for RTX 50."""
    packages: tuple[str, ...] = ("jax_triton", "triton")
    """Which of the packages a backend may need are installed."""

    @property
    def sm(self) -> str:
        """The name of the compute capability in CUDA's tools, such as sm_80."""
        major, minor = self.compute_capability or (0, 0)
        return f"sm_{major}{minor}"


class AttentionSpec(NamedTuple):
    """Shapes, dtype, masks and device of one call of `attention`."""

    batch: tuple[int, ...]
    num_queries: int
    num_keys: int
    num_heads: int
    num_key_heads: int
    num_channels: int
    dtype: str
    device: Device
    bias: tuple[int, ...] | None = None
    """Shape of the bias at full rank, 1 where it broadcasts."""
    dense_mask: tuple[int, ...] | None = None
    has_key_mask: bool = False
    has_segments: bool = False
    is_causal: bool = False
    has_gate: bool = False

    @property
    def heads_per_key_head(self) -> int:
        """1 for multi-head, num_heads for multi-query, between for grouped-query."""
        return self.num_heads // self.num_key_heads


_TARGET: contextvars.ContextVar[Device | None] = contextvars.ContextVar(
    "_TARGET", default=None
)


@contextlib.contextmanager
def lowering_for(device: Device) -> Iterator[None]:
    """Decides every dispatch inside the block for a device that need not be here.

    For ahead-of-time lowering and for tests. Functions that JAX has already traced
    are not traced again: lower a fresh function.
    """
    token = _TARGET.set(device)
    try:
        yield
    finally:
        _TARGET.reset(token)


def current_device() -> Device:
    """The device JAX computes on by default, or the target of `lowering_for`."""
    target = _TARGET.get()
    if target is not None:
        return target
    packages = tuple(
        name
        for name in Device._field_defaults["packages"]
        if importlib.util.find_spec(name) is not None
    )
    platform = jax.default_backend()
    if platform != "gpu":
        return Device(platform, packages=packages)
    device = jax.devices()[0]
    if "rocm" in device.client.platform_version.lower():
        return Device("rocm", packages=packages)
    major, minor = map(int, device.compute_capability.split("."))
    return Device("cuda", (major, minor), packages)


def spec_of(operands: Operands, device: Device) -> AttentionSpec:
    """The facts about `operands` that a backend may refuse."""
    q, k = operands.q, operands.k
    bias, dense_mask = operands.bias, operands.dense_mask
    return AttentionSpec(
        batch=q.shape[:-3],
        num_queries=q.shape[-3],
        num_keys=k.shape[-3],
        num_heads=q.shape[-2],
        num_key_heads=k.shape[-2],
        num_channels=q.shape[-1],
        dtype=q.dtype.name,
        device=device,
        bias=None if bias is None else bias.shape,
        dense_mask=None if dense_mask is None else dense_mask.shape,
        has_key_mask=operands.key_mask is not None,
        has_segments=operands.query_segments is not None,
        is_causal=operands.query_index is not None,
        has_gate=operands.gate is not None,
    )
