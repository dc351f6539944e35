"""Devices that would compute nonsense are stopped by name."""

import pytest

from kernels import Device, hazards_of, require_safe

FLAG = "--xla_disable_hlo_passes=custom-kernel-fusion-rewriter"
V100 = Device("cuda", (7, 0))


def test_compute_capability_7_is_stopped_with_the_flag_it_needs() -> None:
    with pytest.raises(RuntimeError, match=f"XLA_FLAGS={FLAG}"):
        require_safe(V100, xla_flags="")


@pytest.mark.parametrize("flags", (FLAG, f"--other=1 {FLAG},another-pass"))
def test_the_flag_makes_it_safe(flags) -> None:
    require_safe(V100, xla_flags=flags)


def test_the_environment_is_read_by_default(monkeypatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_disable_hlo_passes=something-else")
    assert [hazard.name for hazard in hazards_of(V100)] == [
        "custom-kernel-fusion-rewriter"
    ]


@pytest.mark.parametrize("device", (Device("cpu"), Device("cuda", (8, 0))), ids=str)
def test_other_devices_need_nothing(device) -> None:
    assert hazards_of(device, xla_flags="") == ()
