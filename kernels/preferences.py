"""Names of backends, for whoever chooses one without computing: needs no JAX."""

from typing import Literal

Backend = Literal["auto", "naive", "xla", "cpu", "cudnn", "triton"]
FusedBackend = Literal["auto", "naive", "xla", "cpu", "triton"]
"""Of the operations that cuDNN does not have."""
SegmentsBackend = Literal["auto", "naive", "cpu", "triton"]
Preference = Backend | tuple[Backend, ...]
"""A backend, or several of which the first that does not refuse is taken."""
