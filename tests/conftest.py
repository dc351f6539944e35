"""Switches that make annotations and dtypes part of every test."""

import os
import time

import pytest

from tests.workflow.campaigns import QUICK_COMPILE

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Networks in tests are so small that they take longer to compile than to run.
os.environ.setdefault("XLA_FLAGS", QUICK_COMPILE["XLA_FLAGS"])

import jax  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

from tests import shapes  # noqa: E402

install_import_hook(["af3_core", "kernels"], "beartype.beartype")
install_import_hook("workflow", f"{shapes.__name__}.check")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

_LOOP_SECONDS = 0.055  # of `_loop` on the machine whose figures the limits are


def _loop() -> float:
    began = time.perf_counter()
    sum(i * i for i in range(1_000_000))
    return time.perf_counter() - began


@pytest.fixture(scope="session")
def slowness() -> float:
    """How much slower this machine is than the one that time limits are meant for."""
    return max(1.0, min(_loop() for _ in range(5)) / _LOOP_SECONDS)
