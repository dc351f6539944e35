"""What stops a worker before it starts."""

import pytest

from kernels import Device, hazards, lowering_for
from workflow.campaign import Campaign
from workflow.inference.worker import start_worker

HERE = Campaign()
"""The campaign in the current folder."""


def test_a_device_that_computes_nonsense_is_refused_before_weights_are_read(
    monkeypatch,
) -> None:
    monkeypatch.setattr(hazards, "installed_cublas", lambda: 120_903)
    with (
        lowering_for(Device("cuda", (10, 0))),
        pytest.raises(RuntimeError, match="cuBLAS 12.8 to 13.1"),
    ):
        start_worker(HERE, settings=None, bucket=256)
