import json
from dataclasses import replace
from pathlib import Path

import pytest

from af3_core.model.config import ModelConfig, config_from_dict, config_to_dict
from tests.af3_core.model.tiny import TINY


@pytest.mark.parametrize("config", [ModelConfig(), TINY], ids=["published", "tiny"])
def test_a_configuration_survives_json(config) -> None:
    text = json.dumps(config_to_dict(config))
    assert config_from_dict(json.loads(text)) == config


def test_what_a_configuration_leaves_out_is_published() -> None:
    expected = replace(
        ModelConfig(), pairformer=replace(ModelConfig().pairformer, num_blocks=2)
    )
    assert config_from_dict({"pairformer": {"num_blocks": 2}}) == expected


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"num_recycle": 3}, "num_recycle"),
        ({"pairformer": {"blocks": 2}}, "pairformer.blocks"),
        ({"msa": {"max_rows": "many"}}, "msa.max_rows"),
    ],
)
def test_an_unknown_key_or_a_wrong_value_is_named(values, named) -> None:
    with pytest.raises(ValueError, match=named):
        config_from_dict(values)


def test_the_demo_has_a_small_network() -> None:
    file = Path(__file__).parents[3] / "config" / "demo" / "network.json"
    config = config_from_dict(json.loads(file.read_text()))
    assert config.pairformer.num_blocks < ModelConfig().pairformer.num_blocks
