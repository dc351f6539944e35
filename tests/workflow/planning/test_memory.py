"""How many items a device computes at once."""

import pytest

from workflow.planning.memory import device_memory_gb, items_at_once


@pytest.mark.parametrize(
    ("bucket", "at_once"), [(64, 8), (256, 4), (512, 2), (768, 1), (1024, 1), (5120, 1)]
)
def test_small_items_share_a_large_device(bucket: int, at_once: int) -> None:
    assert items_at_once(bucket, 80.0) == at_once


def test_a_device_without_memory_of_its_own_computes_one_after_the_other() -> None:
    assert items_at_once(64, None) == 1
    assert items_at_once(64, None, asked=3) == 3


@pytest.mark.parametrize("device_gb", [8.0, 16.0, 40.0, 80.0])
@pytest.mark.parametrize("bucket", [64, 256, 512, 1024, 3072])
def test_nobody_asks_for_more_than_there_is_memory_for(
    bucket: int, device_gb: float
) -> None:
    at_once = items_at_once(bucket, device_gb, asked=1000)
    assert at_once == 1 or at_once * device_memory_gb(bucket) < device_gb
    assert items_at_once(bucket, device_gb) <= max(1, at_once)
