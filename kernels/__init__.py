"""Fused operations of the model. Knows nothing of proteins; needs JAX only.

Backends that need more (CUDA, Triton) say so when they are asked for.
"""

from kernels.api import attention
from kernels.devices import Device, current_device, lowering_for
from kernels.dispatch import BACKENDS, Backend, choose_backend, explain
from kernels.operands import Mask
from kernels.spec import AttentionSpec

__all__ = [
    "BACKENDS",
    "AttentionSpec",
    "Backend",
    "Device",
    "Mask",
    "attention",
    "choose_backend",
    "current_device",
    "explain",
    "lowering_for",
]
