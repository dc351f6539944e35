"""The tables of docs/screens.md, made from the schema of the language.

    python -m tests.af3_core.inputs.screen_tables

writes them anew.
"""

import re

from af3_core.inputs.screen_file import SCHEMA
from tests.af3_core.inputs.screen_examples import PAGE

_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _table(fields: dict[str, dict[str, str]]) -> str:
    lines = ["| field | what may stand there |", "| --- | --- |"]
    for name, schema in fields.items():
        if "description" in schema:
            lines.append(f"| `{name}` | {schema['description']} |")
    return "\n".join(lines) + "\n"


def with_tables(text: str) -> str:
    """The page with its tables as the schema has them."""
    definition = SCHEMA["$defs"]["definition"]["anyOf"][1]["properties"]
    tables = {"screen": _table(SCHEMA["properties"]), "definition": _table(definition)}
    return _BLOCK.sub(lambda m: f"{m[1]}{tables[m[2]]}{m[3]}", text)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), encoding="utf-8")
