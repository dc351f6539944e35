"""Writes what follows from the lock file: conda's environments, and NOTICE.

    python envs/write.py            (`make pins`)

An environment of conda has the same packages as `.venv`, from the same index, pinned
one by one; Snakemake copies its file elsewhere, so nothing in it may be a path. NOTICE
says what Foldmill brings along and uses, under which licences (`envs/licences.toml`).
Tests hold all of them to the lock file.
"""

import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "foldmill"
ENVIRONMENTS = {"core": (), "inference-cuda": ("--extra", "cuda12")}
"""Environments of conda, and which extras they have."""

_ENVIRONMENT = """\
# For `snakemake --software-deployment-method conda`. Written by `make pins` from the
# lock file. Without conda, envs/setup.sh makes the same in .venv.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python =3.12
  - pip
  - pip:
"""

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


def read_lock() -> dict[str, Mapping[str, Any]]:
    """The packages of the lock file by name."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    return {package["name"]: package for package in lock["package"]}


def read_licences() -> tuple[dict[str, str], dict[str, str]]:
    """SPDX expressions and remarks, by package."""
    text = (ROOT / "envs/licences.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    return table["packages"], table["remarks"]


def needed_by(
    requirements: Iterable[Mapping[str, Any]], lock: Mapping[str, Mapping[str, Any]]
) -> set[str]:
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


def environment(name: str) -> str:
    """The text of one of conda's environments."""
    uv = shutil.which("uv") or str(ROOT / ".uv/bin/uv")
    command = [uv, "export", "--quiet", "--locked", "--no-default-groups"]
    command += ["--no-emit-project", "--no-hashes", "--no-header", "--no-annotate"]
    command += ENVIRONMENTS[name]
    exported = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    )
    pins = [line.strip() for line in exported.stdout.splitlines() if line.strip()]
    return _ENVIRONMENT + "".join(f'      - "{pin}"\n' for pin in pins)


if __name__ == "__main__":
    for name in ENVIRONMENTS:
        (ROOT / f"envs/{name}.yaml").write_text(environment(name), encoding="utf-8")
    (ROOT / "NOTICE").write_text(notice(), encoding="utf-8")
