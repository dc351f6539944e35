"""What `kernels` offers to others."""

from kernels.api import (
    attention,
    best_segments,
    gated_transition,
    project,
    self_attention,
    triangle_multiplication,
)
from kernels.devices import Device, current_device, lowering_for
from kernels.dispatch import (
    BACKENDS,
    PROJECTION_BACKENDS,
    SEGMENTS_BACKENDS,
    TRANSITION_BACKENDS,
    TRIANGLE_BACKENDS,
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
from kernels.operands import Mask, StackedBias
from kernels.preferences import (
    Backend,
    FusedBackend,
    Preference,
    SegmentsBackend,
)
from kernels.segments import PackedSequences, pack_sequences
from kernels.spec import (
    AttentionSpec,
    Order,
    ProjectionSpec,
    SegmentsSpec,
    TransitionSpec,
    TriangleSpec,
)
from kernels.triangle import TriangleWeights

__all__ = [
    "BACKENDS",
    "GPU_ENVIRONMENT",
    "PROJECTION_BACKENDS",
    "SEGMENTS_BACKENDS",
    "TRANSITION_BACKENDS",
    "TRIANGLE_BACKENDS",
    "AttentionSpec",
    "Backend",
    "Device",
    "FusedBackend",
    "Hazard",
    "Mask",
    "Norm",
    "Order",
    "PackedSequences",
    "Preference",
    "ProjectionSpec",
    "SegmentsBackend",
    "SegmentsSpec",
    "Spec",
    "StackedBias",
    "TransitionSpec",
    "TriangleSpec",
    "TriangleWeights",
    "attention",
    "backends_used",
    "best_segments",
    "choose_backend",
    "current_device",
    "demote",
    "demoted",
    "explain",
    "gated_transition",
    "gpu_environment",
    "hazards_of",
    "lowering_for",
    "pack_sequences",
    "project",
    "record_choices",
    "require_safe",
    "self_attention",
    "triangle_multiplication",
]
