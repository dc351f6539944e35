"""Where a checkpoint lies: one file or several parts, and what stands beside them.

Apart from `checkpoint`, which brings JAX along: whoever plans only names the files.
"""

import re
from pathlib import Path

from af3_core.job import InputError

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
