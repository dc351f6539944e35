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


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the reference pages, and every file of the repository that a page names."""
    pages = {
        "reference/settings.md": settings_page(),
        "reference/commands.md": commands_page(),
        "reference/tables.md": tables_page(),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    for file in list(files.documentation_pages()):
        for link in _LINK.findall(file.content_string):
            target = (ROOT / "docs" / Path(file.src_uri).parent / link).resolve()
            place = _place(target)
            if target.is_file() and place not in files.src_uris:
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
