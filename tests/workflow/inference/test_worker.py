"""What stops a worker before it starts."""

import pytest

from kernels import Device, lowering_for
from workflow.campaign import Campaign
from workflow.inference.worker import start_worker

HERE = Campaign()
"""The campaign in the current folder."""


def test_a_device_that_computes_nonsense_is_refused_before_weights_are_read(
    monkeypatch,
) -> None:
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    with (
        lowering_for(Device("cuda", (7, 0))),
        pytest.raises(RuntimeError, match="custom-kernel-fusion-rewriter"),
    ):
        start_worker(HERE, settings=None, bucket=256)
