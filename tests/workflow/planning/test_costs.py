"""The cost model: found again in timings that were made with it."""

import random

import pytest

from af3_core.job import InputError
from workflow.planning.buckets import CostModel
from workflow.planning.costs import (
    ENOUGH_ITEMS,
    Timing,
    dump_costs,
    find_costs,
    fit,
    read_costs,
)
from workflow.settings import Plan

TRUE = CostModel(constant=3.0, quadratic=2e-5, cubic=4e-9, compile=70.0, start=60.0)


def timings(*buckets: int, device: str = "toy", noise: float = 0.05) -> list[Timing]:
    """Three items of each bucket, the first with a compilation."""
    rng = random.Random(0)
    return [
        Timing(
            device,
            bucket,
            TRUE.seconds(bucket) * rng.uniform(1 - noise, 1 + noise)
            + (TRUE.compile if number == 0 else 0.0),
            compiled=number == 0,
            from_cache=False,
        )
        for bucket in buckets
        for number in range(3)
    ]


def test_many_sizes_give_the_curve() -> None:
    start = read_costs()[1]["NVIDIA A100-SXM4-80GB"]
    found = fit(timings(128, 256, 512, 1024, 2048, 4096), start)
    for tokens in (200, 800, 3000, 5000):
        assert found.seconds(tokens) == pytest.approx(TRUE.seconds(tokens), rel=0.1)
    assert found.compile == pytest.approx(TRUE.compile, rel=0.2)


def test_one_size_scales_the_curve_that_is_known() -> None:
    start = CostModel(10.0, 1e-4, 1e-8, compile=90.0, start=60.0)
    found = fit(timings(512, noise=0), start)
    factor = TRUE.seconds(512) / start.seconds(512)
    assert found.seconds(3000) == pytest.approx(factor * start.seconds(3000))


def test_too_few_timings_say_nothing() -> None:
    costs = find_costs(Plan(), timings(256, 512))
    assert costs.device.startswith("NVIDIA A100") and "published" in costs.source


def test_enough_timings_replace_what_is_published_and_that_is_said() -> None:
    sizes = [64 * n for n in range(1, ENOUGH_ITEMS)]
    costs = find_costs(Plan(), timings(*sizes))
    assert costs.device == "toy" and costs.source.startswith("measured: 18 items")
    assert costs.model.seconds(300) == pytest.approx(TRUE.seconds(300), rel=0.1)


def test_an_unknown_device_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InputError, match="NVIDIA A100"):
        find_costs(Plan(device="abacus"), [])


def test_a_site_keeps_its_costs_in_the_same_format(tmp_path) -> None:
    path = tmp_path / "costs.toml"
    path.write_text(dump_costs({'my "toy"': TRUE}), encoding="utf-8")
    costs = find_costs(Plan(costs=path), [])
    assert (costs.device, costs.model) == ('my "toy"', TRUE)
    assert find_costs(Plan(costs=path, device="NVIDIA H100 80GB HBM3"), []).model


@pytest.mark.parametrize("text", ["", "[devices.x]\nconstant = 1\n", "not toml"])
def test_a_damaged_file_of_costs_is_the_users_to_mend(tmp_path, text: str) -> None:
    path = tmp_path / "costs.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="costs.toml"):
        read_costs(path)
