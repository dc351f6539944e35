"""Which implementation computes an operation: tables of plain-sentence refusals.

Nothing here looks at an array or at the machine: a spec says all there is to know,
so every decision can be asked about, and tested, for devices that are not there.
"""

import contextlib
import contextvars
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from kernels import (
    attention_cpu,
    attention_cudnn,
    attention_naive,
    attention_triton,
    attention_xla,
    projection_cpu,
    projection_naive,
    projection_triton,
    projection_xla,
    segments_cpu,
    segments_naive,
    segments_triton,
    transition_cpu,
    transition_naive,
    transition_triton,
    transition_xla,
    triangle_cpu,
    triangle_naive,
    triangle_triton,
    triangle_xla,
)
from kernels.spec import (
    AttentionSpec,
    ProjectionSpec,
    SegmentsSpec,
    TransitionSpec,
    TriangleSpec,
)

Spec = AttentionSpec | ProjectionSpec | TransitionSpec | TriangleSpec | SegmentsSpec

_RECORD: contextvars.ContextVar[dict[Spec, str] | None] = contextvars.ContextVar(
    "_RECORD", default=None
)
_DEMOTED: dict[str, str] = {}
_LOGGER = logging.getLogger(__name__)


class Implementation(NamedTuple):
    """One way to compute an operation."""

    unsupported: Callable[[Any], str | None]
    """Why it cannot run a spec, as a sentence; None when it can."""
    run: Callable[..., Any]


# All in order of preference. "auto" never reaches `naive`: xla and cpu refuse nothing.
BACKENDS: dict[str, Implementation] = {
    "triton": Implementation(attention_triton.unsupported, attention_triton.run),
    "cudnn": Implementation(attention_cudnn.unsupported, attention_cudnn.run),
    "cpu": Implementation(attention_cpu.unsupported, attention_cpu.run),
    "xla": Implementation(attention_xla.unsupported, attention_xla.run),
    "naive": Implementation(attention_naive.unsupported, attention_naive.run),
}
TRANSITION_BACKENDS: dict[str, Implementation] = {
    "triton": Implementation(transition_triton.unsupported, transition_triton.run),
    "cpu": Implementation(transition_cpu.unsupported, transition_cpu.run),
    "xla": Implementation(transition_xla.unsupported, transition_xla.run),
    "naive": Implementation(transition_naive.unsupported, transition_naive.run),
}
TRIANGLE_BACKENDS: dict[str, Implementation] = {
    "triton": Implementation(triangle_triton.unsupported, triangle_triton.run),
    "cpu": Implementation(triangle_cpu.unsupported, triangle_cpu.run),
    "xla": Implementation(triangle_xla.unsupported, triangle_xla.run),
    "naive": Implementation(triangle_naive.unsupported, triangle_naive.run),
}
PROJECTION_BACKENDS: dict[str, Implementation] = {
    "triton": Implementation(projection_triton.unsupported, projection_triton.run),
    "cpu": Implementation(projection_cpu.unsupported, projection_cpu.run),
    "xla": Implementation(projection_xla.unsupported, projection_xla.run),
    "naive": Implementation(projection_naive.unsupported, projection_naive.run),
}
SEGMENTS_BACKENDS: dict[str, Implementation] = {
    "triton": Implementation(segments_triton.unsupported, segments_triton.run),
    "cpu": Implementation(segments_cpu.unsupported, segments_cpu.run),
    "naive": Implementation(segments_naive.unsupported, segments_naive.run),
}
TABLES: dict[type, dict[str, Implementation]] = {
    AttentionSpec: BACKENDS,
    ProjectionSpec: PROJECTION_BACKENDS,
    TransitionSpec: TRANSITION_BACKENDS,
    TriangleSpec: TRIANGLE_BACKENDS,
    SegmentsSpec: SEGMENTS_BACKENDS,
}


def demote(backend: str, reason: str) -> None:
    """From now on, in this process, `backend` refuses everything, for `reason`.

    For a backend that a test of the device has found wrong, or that cannot be loaded:
    "auto" then takes the next in order, and whoever names it is told the reason.
    Functions that JAX has already compiled keep what they were compiled with.

    Raises ValueError for a backend that is not known, or after which none is left.
    """
    if backend in ("xla", "naive") or backend not in BACKENDS:
        known = ", ".join(name for name in BACKENDS if name not in ("xla", "naive"))
        raise ValueError(f"cannot do without backend {backend!r}, only without {known}")
    _DEMOTED[backend] = reason
    _choose_automatically.cache_clear()
    _LOGGER.warning("backend %s is not used: %s", backend, reason)


def demoted() -> dict[str, str]:
    """The backends that `demote` was given, with the reasons: for provenance."""
    return dict(_DEMOTED)


def refusal(spec: Spec, backend: str) -> str | None:
    """Why `backend` does not compute `spec`, as a sentence; None when it can."""
    if backend in _DEMOTED:
        return f"not used in this process: {_DEMOTED[backend]}"
    return TABLES[type(spec)][backend].unsupported(spec)


def explain(spec: Spec) -> dict[str, str | None]:
    """For each backend in order of preference: why it refuses `spec`, or None."""
    return {name: refusal(spec, name) for name in TABLES[type(spec)]}


@contextlib.contextmanager
def record_choices() -> Iterator[dict[Spec, str]]:
    """Collects, for provenance, which backend computed what inside the block.

    Choices are made when JAX traces: enter the block before the first call.
    """
    choices: dict[Spec, str] = {}
    token = _RECORD.set(choices)
    try:
        yield choices
    finally:
        _RECORD.reset(token)


def backends_used(choices: Mapping[Spec, str]) -> dict[str, list[str]]:
    """The backends of each operation, as a line of provenance."""
    used: dict[str, set[str]] = {}
    for spec, name in choices.items():
        used.setdefault(spec.operation, set()).add(name)
    return {operation: sorted(names) for operation, names in sorted(used.items())}


def dispatch(spec: Spec, backend: str | tuple[str, ...]) -> Implementation:
    """The implementation that `choose_backend` names; the choice is recorded."""
    chosen = choose_backend(spec, backend)
    record = _RECORD.get()
    if record is not None:
        record[spec] = chosen
    return TABLES[type(spec)][chosen]


def choose_backend(spec: Spec, backend: str | tuple[str, ...] = "auto") -> str:
    """The name of the backend that computes `spec`.

    Of several, the first that does not refuse; "auto" is all of them in order of
    preference. Raises ValueError with the sentence of each that refuses.
    """
    if backend == "auto":
        return _choose_automatically(spec)
    table = TABLES[type(spec)]
    refusals = []
    for name in (backend,) if isinstance(backend, str) else backend:
        if name not in table:
            allowed = ", ".join(table)
            raise ValueError(
                f"unknown {spec.operation} backend {name!r}; allowed: auto, {allowed}"
            )
        reason = refusal(spec, name)
        if reason is None:
            return name
        refusals.append(f"backend {name!r} refused: {reason}")
    raise ValueError(f"{spec.operation} of {spec}: {'; '.join(refusals)}")


# Cached so that each shape is logged once.
@functools.cache
def _choose_automatically(spec: Spec) -> str:
    refusals = explain(spec)
    chosen = next(name for name, reason in refusals.items() if reason is None)
    reasons = [f"not {name}: {why}" for name, why in refusals.items() if why]
    _LOGGER.info("; ".join([f"{spec.operation} by {chosen} for {spec}", *reasons]))
    return chosen
