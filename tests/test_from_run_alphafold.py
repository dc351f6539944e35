"""docs/from_run_alphafold.md has an answer for every flag; the settings that it and the
pages for users of other programs name exist."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from workflow.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "from_run_alphafold.md").read_text(encoding="utf-8")
FLAGS = (ROOT / "tests" / "data" / "run_alphafold_flags.txt").read_text().split()


def settings_named(page: str) -> set[str]:
    """What stands in code as `block.key`, where the block is one of the settings."""
    blocks = {
        name
        for name, item in Settings.model_fields.items()
        if isinstance(item.annotation, type) and issubclass(item.annotation, BaseModel)
    }
    named = re.findall(r"`([a-z_]+)\.([a-z_0-9]+)(?::[^`]*)?`", page)
    return {f"{block}.{key}" for block, key in named if block in blocks}


def test_every_flag_of_the_script_has_one_answer() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `--")]
    answered = [flag for row in rows for flag in re.findall(r"`--(\w+)`", row[:1000])]
    first_cells = [re.findall(r"`--(\w+)`", row.split(" | ")[0]) for row in rows]
    assert sorted(flag for cell in first_cells for flag in cell) == sorted(FLAGS)
    assert set(answered) <= set(FLAGS)


@pytest.mark.parametrize(
    ("page", "least"),
    [("run_alphafold", 16), ("colabfold", 12), ("alphapulldown", 6)],
)
def test_the_settings_that_the_pages_name_exist(page: str, least: int) -> None:
    manual = yaml.safe_load((ROOT / "config" / "config.yaml").read_text("utf-8"))
    named = settings_named((ROOT / f"docs/from_{page}.md").read_text("utf-8"))
    assert len(named) >= least
    for name in named:
        block, key = name.split(".")
        annotation = Settings.model_fields[block].annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
        assert key in annotation.model_fields, name
        assert key in manual[block], name
