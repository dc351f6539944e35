"""The JSON schema of a campaign's configuration, for editors and other programs.

    python -m workflow.schema > config/schema.json         (`make pins`)

Types, defaults and what is allowed come from `Settings`, meanings from the comments of
the manual, `config/config.yaml`: neither is written down twice.
"""

import json
import re
import sys
from typing import Any

from workflow.installation import MANUAL
from workflow.settings import Settings


def settings_schema() -> dict[str, Any]:
    """The schema, with a description of every key.

    Raises:
        LookupError: the manual lacks a key.
    """
    schema = Settings.model_json_schema()
    meanings = read_manual()
    blocks = schema["$defs"]
    for name, field in schema["properties"].items():
        block = blocks.get(field.get("$ref", "").rpartition("/")[2])
        if block is None:
            field["description"] = meanings[name]
            continue
        for key, inner in block["properties"].items():
            inner["description"] = meanings[f"{name}.{key}"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Foldmill: settings of a campaign",
    }


def read_manual() -> dict[str, str]:
    """What the manual says of each key, by `block.key`.

    A comment is about the keys that follow it up to the next comment or block.
    """
    meanings: dict[str, str] = {}
    block, comment, is_open = "", "", False
    for line in MANUAL.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            comment = ""
        elif line.lstrip().startswith("#"):
            text = line.lstrip("# ").rstrip()
            comment = f"{comment} {text}" if is_open and comment else text
            is_open = True
        elif match := re.match(r"( *)(\w+):", line):
            is_open = False
            if not match[1]:
                block = f"{match[2]}."
            meanings[match[2] if not match[1] else block + match[2]] = comment
    return meanings


if __name__ == "__main__":
    sys.stdout.write(json.dumps(settings_schema(), indent=2) + "\n")
