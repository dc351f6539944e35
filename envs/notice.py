"""Writes NOTICE: what Foldmill brings along, what it uses, and under which licences.

    python envs/notice.py > NOTICE

Reads `uv.lock` (which packages each part of the project needs, directly or not) and
`envs/licences.toml` (their licences). A test holds NOTICE to both.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "foldmill"

_HEAD = """\
Foldmill
Licensed under the Apache License, Version 2.0; see LICENSE.

Part of this distribution
=========================
workflow/report/assets/vendor/3Dmol-min.js: 3Dmol.js, BSD-3-Clause, its GLmol part MIT;
    see 3Dmol-LICENSE.txt beside it. It is inside every report.
config/demo/references, tests/data/structures: entries of the Protein Data Bank,
    CC0-1.0.

Not part of it
==============
Foldmill computes what AlphaFold 3 computes and is written anew. The parameters of
AlphaFold 3 are not distributed here; they and what they predict have terms of use of
their own, which every exported folder repeats.

Used by it
==========
Packages that an installation adds, by the part of the project that needs them. They are
not copied into this distribution.
"""


def read_lock() -> dict[str, Mapping[str, object]]:
    """The packages of the lock file by name."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    return {package["name"]: package for package in lock["package"]}


def read_licences() -> tuple[dict[str, str], dict[str, str]]:
    """SPDX expressions and remarks, by package."""
    text = (ROOT / "envs/licences.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    return table["packages"], table["remarks"]


def needed_by(requirements: Iterable[Mapping], lock: Mapping[str, Mapping]) -> set[str]:
    """Names of packages that these requirements bring, directly or not."""
    found: set[tuple[str, str]] = set()
    waiting = [
        (r["name"], extra) for r in requirements for extra in ("", *r.get("extra", ()))
    ]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        package = lock[name]
        more = package.get("dependencies", [])
        if extra:
            more = package.get("optional-dependencies", {}).get(extra, [])
        waiting += [(r["name"], e) for r in more for e in ("", *r.get("extra", ()))]
    return {name for name, _ in found}


def parts() -> dict[str, set[str]]:
    """Packages by part of the project: the package itself, its extras, development."""
    lock = read_lock()
    project = lock[PROJECT]
    found = {PROJECT: needed_by(project["dependencies"], lock)}
    for extra, needs in project["optional-dependencies"].items():
        found[f"{PROJECT}[{extra}]"] = needed_by(needs, lock) - found[PROJECT]
    for group, needs in project["dev-dependencies"].items():
        found[f"development ({group})"] = needed_by(needs, lock) - found[PROJECT]
    return found


def notice() -> str:
    """The text of NOTICE."""
    licences, remarks = read_licences()
    sections = [_HEAD]
    for part, names in parts().items():
        lines = [part, "-" * len(part)]
        for name in sorted(names):
            remark = f"\n    {remarks[name]}" if name in remarks else ""
            lines.append(f"{name}: {licences[name]}{remark}")
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


if __name__ == "__main__":
    print(notice(), end="")
