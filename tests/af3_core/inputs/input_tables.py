"""The tables of docs/input.md, made from the dictionaries that the readers use.

    python -m tests.af3_core.inputs.input_tables

writes them anew.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from af3_core.inputs import alphafold3, alphafoldserver, entities, rules, sample_sheet

PAGE = Path(__file__).parents[3] / "docs" / "input.md"
_REQUIRED = frozenset({"dialect", "version", "name", "modelSeeds", "sequences", "id"})
_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(header: str, rows: Mapping[str, str], required: frozenset[str]) -> str:
    """A Markdown table of names and what may stand there."""
    lines = [f"| {header} | what may stand there |", "| --- | --- |"]
    for name, allowed in rows.items():
        star = "\\*" if name in required else ""
        lines.append(f"| `{name}`{star} | {allowed.replace('|', '\\|')} |")
    return "\n".join(lines) + "\n"


def tables() -> dict[str, str]:
    """Every generated table by its name in the page."""
    needed = _REQUIRED | {"sequence", "queryIndices", "templateIndices"}
    server = {
        f"{kind}.{name}": allowed
        for kind, fields in alphafoldserver.CONTENT_FIELDS.items()
        for name, allowed in fields.items()
    }
    return {
        "job": table("field", alphafold3.JOB_FIELDS, needed),
        "protein": table("field", entities.POLYMER_FIELDS["protein"], needed),
        "sequences": table("kind", rules.SEQUENCE, frozenset()),
        "ligand": table("field", entities.LIGAND_FIELDS, needed),
        "template": table("field", entities.TEMPLATE_FIELDS, needed),
        "server": table("field", server, frozenset()),
        "csv": table("column", sample_sheet.COLUMNS, frozenset({"name", "chains"})),
    }


def with_tables(page: str) -> str:
    """The page with its generated blocks as the code has them now."""
    made = tables()
    return _BLOCK.sub(lambda block: block[1] + made[block[2]] + block[3], page)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
