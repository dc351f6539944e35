"""Devices that would compute nonsense are stopped by name."""

import tomllib
from pathlib import Path

import pytest

from kernels import Device, hazards_of, require_safe

B200 = Device("cuda", (10, 0))


@pytest.mark.parametrize("capability", ((10, 0), (10, 3), (11, 0)))
@pytest.mark.parametrize("cublas", (120_800, 120_903, 130_100))
def test_blackwell_with_a_faulty_cublas_is_stopped_with_the_remedy(
    capability, cublas
) -> None:
    with pytest.raises(RuntimeError, match="frees tensor memory twice.*--extra cuda13"):
        require_safe(Device("cuda", capability), cublas)


@pytest.mark.parametrize("cublas", (120_700, 130_200, 140_000))
def test_other_releases_of_cublas_are_safe(cublas) -> None:
    require_safe(B200, cublas)


@pytest.mark.parametrize(
    "device",
    (
        Device("cpu"),
        Device("cuda", (7, 0)),
        Device("cuda", (8, 0)),
        Device("cuda", (9, 0)),
        Device("cuda", (12, 0)),
    ),
    ids=str,
)
def test_other_devices_need_nothing(device) -> None:
    assert hazards_of(device, cublas=120_903) == ()


def test_the_remedy_is_an_extra_of_the_project() -> None:
    project = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    ((remedy,),) = ({h.remedy for h in hazards_of(B200, cublas=120_903)},)
    assert remedy.rpartition(" ")[2] in extras
