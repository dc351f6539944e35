"""Known computations: exact here, and off when anything about them is."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from af3_core.model import canary
from af3_core.model.canary import REFERENCE, TOLERANCES, measure, reference_pair
from af3_core.model.config import Runtime

FLOAT32 = Runtime(dtype="float32")


def test_the_stored_reference_is_what_the_naive_backend_computes() -> None:
    expected = np.load(REFERENCE)
    np.testing.assert_allclose(reference_pair(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("backend", ["auto", "xla", "naive"])
def test_a_device_in_order_stays_well_within_the_tolerances(dtype, backend) -> None:
    found = measure(Runtime(dtype=dtype, attention_backend=backend))
    allowed = TOLERANCES[dtype]
    assert found.deviations.keys() == allowed.keys()
    assert all(found.deviations[name] < allowed[name] / 3 for name in allowed)


def test_bfloat16_would_not_pass_for_float32() -> None:
    rounded = measure(replace(FLOAT32, dtype="bfloat16")).deviations
    assert all(
        rounded[name] > 10 * TOLERANCES["float32"][name]
        for name in ("product", "attention", "transition")
    )


def test_a_pass_of_the_compiler_that_goes_wrong_is_seen(monkeypatch) -> None:
    """The pair update of a network one of whose softmaxes is a little off."""
    whole = canary.attention

    def off(*operands, **options) -> object:
        return 1.02 * whole(*operands, **options)

    monkeypatch.setattr("af3_core.model.canary.attention", off)
    deviation = measure(FLOAT32).deviations["attention"]
    assert deviation > TOLERANCES["float32"]["attention"]


MEASURED = """
import time
from af3_core.model.canary import measure
from af3_core.model.config import Runtime
began = time.process_time()
measure(Runtime(dtype="float32"))
print(time.process_time() - began)
"""


@pytest.mark.timed
def test_measuring_costs_a_few_seconds_of_cpu_at_most(slowness: float) -> None:
    """In a process of its own, which has to compile all of it."""
    told = subprocess.check_output([sys.executable, "-c", MEASURED], text=True)
    assert float(told) < 6.0 * slowness  # 2.6 s on an idle machine
