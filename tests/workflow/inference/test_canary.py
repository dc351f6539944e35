"""Which devices are trusted: the right and the quick ones, once per boot of a node."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from af3_core.model.canary import TOLERANCES, Measurement
from workflow.engine.failures import DeviceError, classify
from workflow.inference.canary import Site, refusal, require_trusted, this_site
from workflow.tables import read_json

RIGHT = Measurement(dict.fromkeys(TOLERANCES["bfloat16"], 1e-6), seconds=0.01)
SITE = Site("gpu", "NVIDIA A100", "work", "bfloat16", "node1", "boot1", "0")


def deviating(name: str, by: float) -> Measurement:
    return Measurement({**RIGHT.deviations, name: by}, RIGHT.seconds)


@pytest.mark.parametrize("name", TOLERANCES["bfloat16"])
@pytest.mark.parametrize("by", [0.2, math.nan, math.inf])
def test_one_wrong_number_is_enough_to_refuse(name: str, by: float) -> None:
    reason = refusal(SITE, deviating(name, by), math.inf)
    assert reason is not None and "NVIDIA A100 0 of node node1" in reason
    assert "wrong numbers" in reason and name.replace("_", " ") in reason


def test_what_bfloat16_allows_a_float32_campaign_refuses() -> None:
    found = deviating("product", 2e-3)
    assert refusal(SITE, found, math.inf) is None
    assert refusal(replace(SITE, dtype="float32"), found, math.inf) is not None


def test_a_far_slower_device_than_the_fastest_of_its_kind_is_refused(
    tmp_path: Path,
) -> None:
    require_trusted(SITE, tmp_path, lambda: RIGHT)
    slow = replace(RIGHT, seconds=3.5 * RIGHT.seconds)
    other = replace(SITE, node="node2")
    with pytest.raises(DeviceError, match="slow node") as error:
        require_trusted(other, tmp_path, lambda: slow)
    assert classify(error.value).cause == "device"
    trust = require_trusted(replace(other, kind="H100"), tmp_path, lambda: slow)
    assert trust.seconds == slow.seconds and trust.where == "node2:0"


def test_a_device_is_measured_once_per_boot_of_its_node(tmp_path: Path) -> None:
    measured: list[int] = []

    def measure() -> Measurement:
        measured.append(1)
        return RIGHT

    first = require_trusted(SITE, tmp_path, measure)
    assert first.is_new and "off by 1.0e-06 at most" in first.verdict
    assert require_trusted(SITE, tmp_path, measure) == replace(first, is_new=False)
    for change in ("boot", "device", "work", "node"):
        other = replace(SITE, **{change: "another"})
        assert require_trusted(other, tmp_path, measure).is_new
    assert len(measured) == 5


def test_damaged_records_are_as_good_as_none(tmp_path: Path) -> None:
    require_trusted(SITE, tmp_path, lambda: RIGHT)
    paths = sorted(tmp_path.glob("*.json"))
    assert len(paths) == 2
    for path in paths:
        path.write_text(path.read_text().replace("0.01", "0.001"))
    slow = replace(RIGHT, seconds=3.5 * RIGHT.seconds)
    assert require_trusted(SITE, tmp_path, lambda: slow).is_new
    assert not require_trusted(SITE, tmp_path, lambda: RIGHT).is_new


def test_a_refused_device_is_measured_again(tmp_path: Path) -> None:
    with pytest.raises(DeviceError):
        require_trusted(SITE, tmp_path, lambda: deviating("product", 1.0))
    (record,) = (tmp_path / "refused").glob("*.json")
    assert "wrong numbers" in read_json(record)["refused"]
    assert require_trusted(SITE, tmp_path, lambda: RIGHT).is_new


def test_records_of_an_earlier_boot_are_removed(tmp_path: Path) -> None:
    for boot in ("boot1", "boot2"):
        require_trusted(replace(SITE, boot=boot), tmp_path, lambda: RIGHT)
    kept = [p for p in tmp_path.glob("*.json") if not p.name.startswith("fastest")]
    assert [read_json(p)["boot"] for p in kept] == ["boot2"]


def test_processors_of_one_kind_are_told_apart_by_how_many_may_be_used() -> None:
    site = this_site("cpu", "cpu", "work", "float32")
    assert site.kind != "cpu" and " x " in site.kind and site.boot
