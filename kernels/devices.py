"""Kinds of accelerator, and the facts about them that decide how a kernel runs.

Per compute capability: shared memory a block may use and whether it has bfloat16
tensor cores, from NVIDIA's CUDA C++ Programming Guide, table "Technical
Specifications per Compute Capability"; L2 of the smallest card we expect to meet.
"""

import contextlib
import contextvars
import functools
import importlib.util
from collections.abc import Iterator
from typing import Literal, NamedTuple

Vectors = Literal["avx2", "avx512", "avx512 with bfloat16"]


class Device(NamedTuple):
    """A kind of accelerator, present or not, and what is installed to drive it."""

    platform: str
    """"cpu", "cuda", "rocm", "tpu" or, on a Mac, "mps"."""
    compute_capability: tuple[int, int] | None = None
    """CUDA only: (8, 0) for A100, (9, 0) for H100, (12, 0) for RTX 50."""
    packages: tuple[str, ...] = ("triton", "jax_triton")
    """Which of the optional Python packages are installed."""
    vectors: Vectors | None = None
    """CPU only: its longest vectors, as far as our kernels know them."""

    @property
    def capability(self) -> tuple[int, int]:
        """The compute capability; (0, 0) where there is none."""
        return self.compute_capability or (0, 0)

    @property
    def capability_name(self) -> str:
        """The compute capability as NVIDIA writes it, such as 8.6."""
        major, minor = self.capability
        return f"{major}.{minor}"

    def __str__(self) -> str:
        if self.compute_capability:
            return f"{self.platform} {self.capability_name}"
        return f"{self.platform} with {self.vectors}" if self.vectors else self.platform


class Card(NamedTuple):
    """What all cards of one compute capability have at least."""

    shared_memory_kib: int
    l2_cache_mib: int
    example: str


CARDS: dict[tuple[int, int], Card] = {
    (7, 0): Card(96, 6, "V100"),
    (7, 5): Card(64, 4, "T4, RTX 20"),
    (8, 0): Card(163, 40, "A100"),
    (8, 6): Card(99, 6, "A10, RTX 30"),
    (8, 7): Card(163, 4, "Jetson Orin"),
    (8, 9): Card(99, 32, "L4, L40S, RTX 40"),
    (9, 0): Card(227, 50, "H100, GH200"),
    (10, 0): Card(227, 126, "B200"),
    (10, 3): Card(227, 126, "B300"),
    (11, 0): Card(227, 32, "Jetson Thor"),
    (12, 0): Card(99, 32, "RTX 50, RTX PRO 6000"),
    (12, 1): Card(99, 24, "GB10"),
}
# A card newer than this table is treated as the smallest that Triton supports.
UNLISTED = Card(99, 6, "unlisted")

_TARGET: contextvars.ContextVar[Device | None] = contextvars.ContextVar(
    "_TARGET", default=None
)


def card_of(device: Device) -> Card:
    """The table's row for a CUDA device."""
    return CARDS.get(device.capability, UNLISTED)


def why_no_dtype(device: Device, dtype: str) -> str | None:
    """Why a CUDA device's tensor cores do not take `dtype`; None when they do."""
    if dtype == "bfloat16" and device.capability < (8, 0):
        return f"compute capability {device.capability_name} has no bfloat16"
    return None


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


@functools.cache
def host_vectors() -> Vectors | None:
    """Of the processor that this runs on."""
    import llvmlite.binding as llvm

    has = llvm.get_host_cpu_features()
    if has.get("avx512f") and has.get("avx512bw"):
        return "avx512 with bfloat16" if has.get("avx512bf16") else "avx512"
    return "avx2" if has.get("avx2") and has.get("fma") else None


def current_device() -> Device:
    """The device JAX computes on by default, or the target of `lowering_for`."""
    target = _TARGET.get()
    if target is not None:
        return target
    # Kinds of device can be told apart without JAX; only this asks for the one here.
    import jax

    packages = tuple(
        name
        for name in Device._field_defaults["packages"]
        if importlib.util.find_spec(name) is not None
    )
    platform = jax.default_backend()
    if platform == "cpu":
        return Device(platform, packages=packages, vectors=host_vectors())
    if platform != "gpu":
        return Device(platform, packages=packages)
    device = jax.devices()[0]
    if "rocm" in device.client.platform_version.lower():
        return Device("rocm", packages=packages)
    major, minor = map(int, device.compute_capability.split("."))
    return Device("cuda", (major, minor), packages)
