"""Fused operations of the model. Knows nothing of proteins; needs JAX only.

Backends that need more (CUDA, Triton) say so when they are asked for.
"""

from kernels.api import (
    attention,
    gated_transition,
    self_attention,
    triangle_multiplication,
)
from kernels.devices import Device, current_device, lowering_for
from kernels.dispatch import (
    BACKENDS,
    TRANSITION_BACKENDS,
    TRIANGLE_BACKENDS,
    Backend,
    FusedBackend,
    Preference,
    Spec,
    backends_used,
    choose_backend,
    demote,
    demoted,
    explain,
    record_choices,
)
from kernels.environment import GPU_ENVIRONMENT, gpu_environment
from kernels.hazards import Hazard, hazards_of, require_safe
from kernels.norms import Norm
from kernels.operands import Mask
from kernels.spec import AttentionSpec, TransitionSpec, TriangleSpec
from kernels.triangle import TriangleWeights

__all__ = [
    "BACKENDS",
    "GPU_ENVIRONMENT",
    "TRANSITION_BACKENDS",
    "TRIANGLE_BACKENDS",
    "AttentionSpec",
    "Backend",
    "Device",
    "FusedBackend",
    "Hazard",
    "Mask",
    "Norm",
    "Preference",
    "Spec",
    "TransitionSpec",
    "TriangleSpec",
    "TriangleWeights",
    "attention",
    "backends_used",
    "choose_backend",
    "current_device",
    "demote",
    "demoted",
    "explain",
    "gated_transition",
    "gpu_environment",
    "hazards_of",
    "lowering_for",
    "record_choices",
    "require_safe",
    "self_attention",
    "triangle_multiplication",
]
