"""What computes a search's first filter, as the settings say."""

import pytest

from af3_core.job import InputError
from kernels import Device, lowering_for
from workflow.search import find_filter
from workflow.settings import Settings, check_settings


def settings(named: str) -> Settings:
    raw = {
        "inputs": ["inputs"],
        "search": {"databases": "databases.tsv", "filter": named},
        "model": {"checkpoint": "weights"},
    }
    return check_settings(raw, source="config.yaml")


def test_the_threads_filter_unless_a_gpu_is_asked_for() -> None:
    assert find_filter(settings("cpu")) is None


def test_a_gpu_that_can_filters_for_all() -> None:
    with lowering_for(Device("cuda", (9, 0))):
        assert find_filter(settings("triton")) == "triton"


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (Device("cpu"), "search.filter: got 'triton'; allowed: cpu, for .*not on cpu"),
        (Device("cuda", (7, 5)), "this card has 7.5|8.0 to 12.1"),
    ],
    ids=["no_card", "old_card"],
)
def test_where_none_can_the_search_says_so_before_it_begins(device, said) -> None:
    with lowering_for(device), pytest.raises(InputError, match=said):
        find_filter(settings("triton"))
