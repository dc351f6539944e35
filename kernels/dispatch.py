"""Which backend computes an attention: one table of plain-sentence refusals."""

import functools
import logging
from collections.abc import Callable
from typing import Literal, NamedTuple

from jaxtyping import Array

from kernels import (
    attention_cudnn,
    attention_naive,
    attention_triton,
    attention_xla,
)
from kernels.spec import AttentionSpec

Backend = Literal["auto", "naive", "xla", "cudnn", "triton"]


class Implementation(NamedTuple):
    """One way to compute attention."""

    unsupported: Callable[[AttentionSpec], str | None]
    """Why it cannot run a spec, as a sentence; None when it can."""
    run: Callable[..., Array]


# In order of preference. `naive` is last: "auto" never reaches it, for xla refuses
# nothing.
BACKENDS: dict[str, Implementation] = {
    "triton": Implementation(attention_triton.unsupported, attention_triton.run),
    "cudnn": Implementation(attention_cudnn.unsupported, attention_cudnn.run),
    "xla": Implementation(attention_xla.unsupported, attention_xla.run),
    "naive": Implementation(attention_naive.unsupported, attention_naive.run),
}

_LOGGER = logging.getLogger(__name__)


def explain(spec: AttentionSpec) -> dict[str, str | None]:
    """For each backend in order of preference: why it refuses `spec`, or None."""
    return {name: backend.unsupported(spec) for name, backend in BACKENDS.items()}


def choose_backend(spec: AttentionSpec, backend: Backend = "auto") -> str:
    """The name of the backend that computes `spec`.

    "auto" takes the first that does not refuse. Raises ValueError with the sentence
    of a named backend that refuses.
    """
    if backend == "auto":
        return _choose_automatically(spec)
    if backend not in BACKENDS:
        allowed = ", ".join(["auto", *BACKENDS])
        raise ValueError(f"unknown attention backend {backend!r}; one of: {allowed}")
    refusal = BACKENDS[backend].unsupported(spec)
    if refusal is not None:
        raise ValueError(f"attention backend {backend!r} cannot run here: {refusal}")
    return backend


# Cached so that each shape is logged once.
@functools.cache
def _choose_automatically(spec: AttentionSpec) -> str:
    refusals = explain(spec)
    chosen = next(name for name, refusal in refusals.items() if refusal is None)
    passed_over = [f"{n}: {why}" for n, why in refusals.items() if why is not None]
    _LOGGER.info("attention %s → %s; %s", spec, chosen, "; ".join(passed_over))
    return chosen
