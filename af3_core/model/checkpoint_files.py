"""Where a checkpoint lies: one file or several parts, and what stands beside them.

Apart from `checkpoint`, which brings JAX along: whoever plans only names the files.
"""

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pydantic

from af3_core.job import InputError
from af3_core.model.config import ModelConfig, config_from_dict, config_to_dict
from af3_core.structures.mmcif_origin import WeightsRelease

FORMAT = "a checkpoint in AlphaFold 3's format, such as af3.bin.zst"


def find_parts(path: Path) -> list[Path]:
    """The files of a checkpoint in reading order; see `load_checkpoint`.

    Raises:
        InputError: none there, several models in a folder, or a part is missing.
    """
    folder = path if path.is_dir() else path.parent
    models: dict[str, dict[int | None, Path]] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if (split := _split_name(file.name)) and file.is_file():
            models.setdefault(split[0], {})[split[1]] = file
    if path.is_dir():
        if len(models) != 1:
            names = ", ".join(models) or "no checkpoint"
            allowed = "a folder with one checkpoint, or the path of one of them"
            raise InputError(str(path), "checkpoint", names, allowed)
        (model,) = models
    else:
        split = _split_name(path.name)
        model = split[0] if split else path.name
    files = models.get(model, {})
    if None in files:
        return [files[None]]
    if not files:
        raise InputError(str(path), "checkpoint", "no such file", FORMAT)
    numbers = sorted(n for n in files if n is not None)
    if numbers != list(range(len(numbers))):
        shown = f"parts {', '.join(map(str, numbers))}"
        raise InputError(str(path), "checkpoint", shown, "parts numbered 0, 1, 2, …")
    return [files[n] for n in numbers]


def _split_name(name: str) -> tuple[str, int | None] | None:
    """A file's model name, suffix included, and its part number; None for others."""
    for pattern in (
        r"(?P<stem>.+)\.(?P<part>\d+)(?P<suffix>\.bin(\.zst)?)",
        r"(?P<stem>.+)(?P<suffix>\.bin(\.zst)?)\.(?P<part>\d+)",
        r"(?P<stem>.+)(?P<suffix>\.bin(\.zst)?)",
    ):
        if match := re.fullmatch(pattern, name):
            part = match.groupdict().get("part")
            model = match["stem"] + match["suffix"]
            return model, None if part is None else int(part)
    return None


def config_path(path: Path) -> Path:
    """Where the `ModelConfig` of a checkpoint is stored: NAME.config.json beside it."""
    if path.is_dir():
        path = find_parts(path)[0]
    split = _split_name(path.name)
    stem = re.sub(r"\.bin(\.zst)?$", "", split[0]) if split else path.name
    return path.with_name(f"{stem}.config.json")


@dataclass(frozen=True)
class Card:
    """What stands beside a checkpoint: its network and, if imported, its release."""

    config: ModelConfig = ModelConfig()
    release: WeightsRelease | None = None
    digest: str = ""
    """SHA-256 of the records; empty where it was not noted."""


_WEIGHTS = "weights"
"""Key beside the fields of ModelConfig."""
_RELEASE = pydantic.TypeAdapter(WeightsRelease)


def read_card(path: Path) -> Card:
    """What is stored beside a checkpoint; the published network if nothing is.

    Raises:
        InputError: it is not JSON, not a `ModelConfig`, or names no release.
    """
    file = config_path(path)
    if not file.exists():
        return Card()
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        weights = values.pop(_WEIGHTS, None)
        config = config_from_dict(values)
        if weights is None:
            return Card(config)
        digest = str(weights.pop("digest", ""))
        return Card(config, _RELEASE.validate_python(weights), digest)
    except (ValueError, AttributeError) as error:
        allowed = "JSON with the fields of ModelConfig, and those of a release"
        raise InputError(str(file), "model configuration", str(error), allowed) from (
            error
        )


def read_config(path: Path) -> ModelConfig:
    """The configuration stored beside a checkpoint, else the published one.

    Raises:
        InputError: it is not JSON or not a `ModelConfig`.
    """
    return read_card(path).config


def write_card(path: Path, card: Card) -> None:
    """Writes what stands beside a checkpoint."""
    values = config_to_dict(card.config)
    if card.release is not None:
        values[_WEIGHTS] = {**dataclasses.asdict(card.release), "digest": card.digest}
    text = json.dumps(values, indent=2) + "\n"
    config_path(path).write_text(text, encoding="utf-8")
