"""What the documentation site has beside the pages of this folder.

A hook of MkDocs. It makes the reference pages from the code itself, so that they are
never stale, and puts files of the repository that a page links to into the site.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import typer.main  # noqa: E402
from mkdocs.config.defaults import MkDocsConfig  # noqa: E402
from mkdocs.structure.files import File, Files  # noqa: E402
from mkdocs.structure.pages import Page  # noqa: E402

_LINK = re.compile(r"\]\((\.\./[^)#\s]+)")
_TOKENS = (256, 512, 1024, 2048, 3072, 4096, 5120, 8192)
_PUBLISHED = range(1024, 5121)
"""Tokens for which AlphaFold 3 publishes times."""
_CARDS = {
    8: "RTX 3070, slices of a card (MIG)",
    16: "RTX 4080, A2",
    24: "RTX 3090 and 4090, L4, A10, A30",
    32: "RTX 5090",
    40: "A100 40",
    48: "L40S, A40, RTX 6000 Ada",
    80: "A100 80, H100",
    96: "RTX PRO 6000, GH200",
    141: "H200",
    180: "B200",
}
"""Memory in GB."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the reference pages, and every file of the repository that a page names."""
    pages = {
        "reference/settings.md": settings_page(),
        "reference/commands.md": commands_page(),
        "reference/tables.md": tables_page(),
        "reference/hardware.md": hardware_page(),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    for file in list(files.documentation_pages()):
        for link in _LINK.findall(file.content_string):
            target = (ROOT / "docs" / Path(file.src_uri).parent / link).resolve()
            place = _place(target)
            is_page = target.is_relative_to(ROOT / "docs")
            if target.is_file() and not is_page and place not in files.src_uris:
                content = target.read_text(encoding="utf-8")
                if target.suffix != ".md":
                    content = f"# `{target.relative_to(ROOT)}`\n\n{_fenced(content)}"
                files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Leads links into the repository to the pages made of its files."""
    here = Path(page.file.src_uri).parent

    def replace(match: re.Match[str]) -> str:
        target = (ROOT / "docs" / here / match[1]).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return match[0]
        return f"]({os.path.relpath(_place(target), here)}"

    return _LINK.sub(replace, markdown)


def _place(target: Path) -> str:
    """Where a file of the repository stands in the site."""
    path = str(target.relative_to(ROOT))
    return f"code/{path}" if path.endswith(".md") else f"code/{path}.md"


def _fenced(text: str) -> str:
    return f"````text\n{text}\n````\n"


def settings_page() -> str:
    """Every setting: what it may be, its default and its meaning."""
    from workflow.schema import settings_schema

    rows = "\n".join(
        f"| `{key}` | {kind} | {default} | {meaning} |"
        for key, kind, default, meaning in _settings(settings_schema(), "")
    )
    return (
        "# Settings\n\nThe configuration of a campaign, `config.yaml` in its folder."
        " `foldmill init` writes it, `foldmill check` looks it over.\n\n"
        "The same as a [JSON schema](../../config/schema.json), by which editors check"
        " the file while it is written.\n\n"
        f"| key | values | default | meaning |\n| --- | --- | --- | --- |\n{rows}\n"
    )


def _settings(schema: dict[str, Any], prefix: str) -> Iterator[tuple[str, ...]]:
    blocks = schema.get("$defs", {})
    for name, field in schema["properties"].items():
        reference = field.get("$ref", "").rpartition("/")[2]
        if reference in blocks:
            yield from _settings({**blocks[reference], "$defs": blocks}, f"{name}.")
            continue
        default = json.dumps(field["default"]) if "default" in field else "–"
        meaning = field["description"].replace("|", "&#124;")
        yield f"{prefix}{name}", _values(field), f"`{default}`", meaning


def _values(field: dict[str, Any]) -> str:
    """What a setting may be, in words."""
    if "anyOf" in field:
        return " or ".join(_values(part) for part in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    names = {"integer": "a whole number", "number": "a number", "string": "text"}
    names |= {"boolean": "`true`, `false`", "array": "a list", "null": "`null`"}
    return names.get(field.get("type", ""), "text")


def commands_page() -> str:
    """The help of every command, as it prints it."""
    from workflow.cli import app

    parts = ["# Commands\n\nEach command's own `--help`.\n"]
    command = typer.main.get_command(app)
    context = command.make_context("foldmill", [], resilient_parsing=True)
    for name, help_text in _helps(command, context):
        parts.append(f"## {name}\n\n````text\n{help_text}\n````\n")
    return "\n".join(parts)


def _helps(command: Any, context: Any) -> Iterator[tuple[str, str]]:
    yield context.command_path, command.get_help(context)
    for name, sub in getattr(command, "commands", {}).items():
        inner = sub.make_context(name, [], parent=context, resilient_parsing=True)
        yield from _helps(sub, inner)


_HARDWARE = """\
# Hardware

Of one prediction with AlphaFold 3's network: one seed, five samples, 10 recycles, 200
steps, bfloat16. The same functions make the [plan](../planning.md), which reckons
with your own inputs.

**Memory** is *computed*: what XLA's compiler plans for an H100
([table](../../benchmarks/results/gpu_compile.md)). **Times** of 1,024 to 5,120 tokens
are AlphaFold 3's, *published*, to 1 %; those in brackets are *computed* by the curve
through them. No time was measured here; after ten items `foldmill plan` reckons with
those of your own device.

{sizes}

A batch adds its start (60 s) and, for a size that was never compiled on this kind of
card, compiling (90 s). A card is said to hold what needs four fifths of its memory.

{cards}

Compute capability 8.0 (A100) and newer run the fused kernels, older cards slower ones
([which](../../kernels/README.md)). Jobs above `predict.max_tokens` are refused,
whatever the card holds.

**Processors**: predictions need two, searches `search.threads`, relaxation one.
**Host memory**: `foldmill plan` shows it by size. **Disk**: databases [630
GB](../databases.md#how-large); results 165 GB for 20,000 jobs of a human proteome's
lengths ([planned](../planning.md)).
"""


def hardware_page() -> str:
    """What a prediction takes by its size, and what a card holds by its memory."""
    from workflow.planning.costs import read_costs
    from workflow.planning.memory import device_memory_gb, holds

    _, models = read_costs()
    sizes = [
        ["tokens", "memory, GB", "card of at least, GB", *(f"{m}, s" for m in models)]
    ]
    for tokens in _TOKENS:
        least = next(card for card in _CARDS if holds(card, tokens))
        seconds = [f"{model.seconds(tokens):,.0f}" for model in models.values()]
        if tokens not in _PUBLISHED:
            seconds = [f"({one})" for one in seconds]
        memory = f"{device_memory_gb(tokens):.1f}"
        sizes.append([f"{tokens:,}", memory, str(least), *seconds])
    cards = [["card of, GB", "such as", "largest job, tokens"]]
    for card, names in _CARDS.items():
        largest = max(size for size in range(64, 16384, 64) if holds(card, size))
        cards.append([str(card), names, f"{largest:,}"])
    return _HARDWARE.format(sizes=_table(sizes), cards=_table(cards))


def _table(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "| --- " * len(rows[0]) + "|", *lines[1:]])


def tables_page() -> str:
    """Every table's columns, from the contracts."""
    from af3_core.contracts import CONTRACTS

    parts = [
        "# Tables\n\nEvery table is Parquet; its contract's name and version, units and"
        " meanings travel in the file.\n"
    ]
    for contract in CONTRACTS.values():
        parts.append(f"## {contract.name}\n\nVersion {contract.version}.\n")
        parts.append("| column | type | unit | meaning |\n| --- | --- | --- | --- |")
        parts += [
            f"| `{c.name}` | {c.type}{' or null' if c.nullable else ''} | {c.unit} |"
            f" {c.doc.replace('|', '&#124;')} |"
            for c in contract.columns
        ]
        parts.append("")
    return "\n".join(parts)
