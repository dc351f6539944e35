"""Makes the folder of a new campaign: a configuration, a Snakefile, a profile to edit.

The configuration is the manual of settings with the user's answers in it. What is the
demo's alone is taken out, so that nothing of it can be left in a real campaign.
"""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from af3_core.job import InputError
from workflow.installation import MANUAL, PROFILES, ROOT, SCHEMA
from workflow.tables import replacing

CONFIG = "config.yaml"
_HEAD = f"""\
# yaml-language-server: $schema={SCHEMA.as_uri()}
# Settings of this campaign, each with its meaning. Paths are relative to this folder.
#   foldmill check   looks for mistakes       foldmill plan     what it will take
#   foldmill run     runs it, or goes on      foldmill status   how far it is
"""
_SNAKEFILE = """\
# For `snakemake` itself; `foldmill run` needs no Snakefile here.
from workflow.installation import SNAKEFILE


configfile: "config.yaml"


module foldmill:
    snakefile:
        SNAKEFILE
    config:
        config


use rule * from foldmill
"""
"""What is only included has no default target: nothing would run."""


@dataclass(frozen=True)
class Answers:
    """What a user says of a new campaign; what is None is left to be filled in."""

    inputs: Sequence[Path] = ()
    databases: Path | None = None
    weights: Path | None = None
    store: Path | None = None
    profile: str | None = None


def init_campaign(folder: Path, answers: Answers) -> list[Path]:
    """Writes what a campaign's folder needs; returns the files.

    Raises:
        InputError: there is a configuration already, or no such profile.
    """
    config = folder / CONFIG
    if config.exists():
        allowed = "a folder without a configuration; edit the one that is there"
        raise InputError(str(config), "folder", "a campaign's already", allowed)
    written = [config, folder / "Snakefile"]
    folder.mkdir(parents=True, exist_ok=True)
    if answers.profile is not None:
        written.append(_copy_profile(answers.profile, folder))
    settings = _settings(folder, answers)
    with replacing(config) as temporary:
        temporary.write_text(settings, encoding="utf-8")
    with replacing(folder / "Snakefile") as temporary:
        temporary.write_text(_SNAKEFILE, encoding="utf-8")
    if not answers.inputs:
        (folder / "inputs").mkdir(exist_ok=True)
        written.append(folder / "inputs")
    return written


def write_demo(folder: Path) -> Path:
    """Writes the demo's configuration, unless it is there; its data are not copied.

    Returns:
        The configuration.
    """
    config = folder / CONFIG
    if not config.exists():
        text = MANUAL.read_text(encoding="utf-8")
        # Quoted: where Foldmill is installed, a path may have any letters.
        text = re.sub(
            r"(?<=[ ])config/demo/\S+",
            lambda match: json.dumps(str(ROOT / match[0])),
            text.replace("$schema=schema.json", f"$schema={SCHEMA.as_uri()}"),
        )
        with replacing(config) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return config


def _settings(folder: Path, answers: Answers) -> str:
    """The manual with the answers in place of the demo's values."""
    inputs = [_path(folder, path) for path in answers.inputs] or ["inputs"]
    values = {
        "inputs": "\n" + "\n".join(f"  - {_quoted(path)}" for path in inputs),
        "  databases": _quoted(_path(folder, answers.databases, "databases.tsv")),
        "  store": _quoted(_path(folder, answers.store, "store")),
        "  checkpoint": _quoted(_path(folder, answers.weights, "af3.bin.zst")),
        "  dtype": "bfloat16",
        "  references": "null",
    }
    _, _, manual = MANUAL.read_text(encoding="utf-8").partition("\n\n")
    for key, value in values.items():
        pattern = rf"^{key}:(?: .*|(?:\n  - .*)+)$"
        shown = f"{key}:{value}" if value.startswith("\n") else f"{key}: {value}"
        manual, count = re.subn(
            pattern, lambda _, shown=shown: shown, manual, flags=re.MULTILINE
        )
        if count != 1:
            raise LookupError(f"{MANUAL} has {count} lines {key.strip()!r}, not one")
    return f"{_HEAD}\n{manual}"


def _quoted(text: str) -> str:
    """A string as YAML takes it, whatever is in it."""
    return text if re.fullmatch(r"[\w./][\w./-]*", text) else json.dumps(text)


def _path(folder: Path, given: Path | None, otherwise: str = "") -> str:
    """A path as it is written down: absolute, unless it lies inside the folder."""
    if given is None:
        return otherwise
    path, root = given.resolve(), folder.resolve()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _copy_profile(name: str, folder: Path) -> Path:
    """A profile beside the configuration, where `--profile NAME` finds it first."""
    known = sorted(p.name for p in PROFILES.iterdir() if p.name != "default")
    if name not in known:
        raise InputError("foldmill init", "--profile", name, ", ".join(known))
    target = folder / name
    if not target.exists():
        shutil.copytree(PROFILES / name, target)
    return target
