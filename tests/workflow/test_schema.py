"""The schema of the configuration says what the settings say."""

import json

import jsonschema
import pytest
import yaml

from workflow.installation import MANUAL, SCHEMA
from workflow.schema import read_manual, settings_schema
from workflow.settings import check_settings

WRITTEN = json.loads(SCHEMA.read_text(encoding="utf-8"))
DEMO = yaml.safe_load(MANUAL.read_text(encoding="utf-8"))


def refusals(changes: dict[str, object]) -> list[str]:
    """What the schema says against the demo's configuration with these blocks."""
    validator = jsonschema.Draft202012Validator(WRITTEN)
    return [error.message for error in validator.iter_errors({**DEMO, **changes})]


def test_the_schema_on_disk_is_that_of_the_settings() -> None:
    assert WRITTEN == settings_schema(), "run `make pins`"


def test_a_comment_is_about_the_keys_below_it() -> None:
    manual = read_manual()
    assert manual["search.threads"] == manual["search.batch_size"]
    assert manual["plan.device"].startswith("Kind of device that times")
    assert manual["plan.device"].endswith("the A100.")


def test_the_demos_configuration_follows_the_schema() -> None:
    assert refusals({}) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"relax": {"samples": "some"}}, "'some' is not one of"),
        ({"predict": {"max_token": 5120}}, "'max_token' was unexpected"),
        ({"predict": {"max_tokens": 0}}, "minimum of 0"),
        ({"inputs": "config/demo"}, "is not of type 'array'"),
        ({"search": {}}, "'databases' is a required property"),
    ],
)
def test_what_the_settings_refuse_the_schema_refuses(wrong, said) -> None:
    (message,) = refusals(wrong)
    assert said in message
    with pytest.raises(ValueError, match="config"):
        check_settings({**DEMO, **wrong}, source="config")
