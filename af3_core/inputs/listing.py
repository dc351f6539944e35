"""Which files are inputs: found by their endings, and read elsewhere."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from af3_core.inputs.text import COMPRESSED, first_bytes
from af3_core.job import InputError

FASTA_SUFFIXES = frozenset({".fasta", ".fa", ".fas", ".faa", ".fna", ".txt"})
SCREEN_SUFFIXES = frozenset({".yaml", ".yml"})
TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
INPUT_SUFFIXES = FASTA_SUFFIXES | TABLE_SUFFIXES | SCREEN_SUFFIXES | {".json"}
"""Endings, in any case, of the files that a folder is searched for; each perhaps with
that of a compressed file behind it. Of texts (.txt) only those that are FASTA."""
ENDINGS = (
    f"{', '.join(sorted(INPUT_SUFFIXES))}, plain or {', '.join(sorted(COMPRESSED))}"
)


def find_suffix(name: str) -> str:
    """The ending that says what a file is, in lower case, compressed or not."""
    stem, suffix = os.path.splitext(name.lower())
    return (suffix in COMPRESSED and os.path.splitext(stem)[1]) or suffix


def find_inputs(
    paths: Iterable[str | os.PathLike[str]],
) -> tuple[list[str], list[InputError]]:
    """Input files among `paths`, folders replaced by the files directly in them.

    The order is that of `paths`, names sorted within a folder; hidden files are passed
    over and a file that comes twice is taken once.
    """
    found: dict[str, str] = {}
    errors: list[InputError] = []
    here = os.getcwd()
    for path in map(Path, paths):
        try:
            files = _list_folder(path) if path.is_dir() else [str(path)]
        except OSError as error:
            allowed = f"a readable file or folder ({error.strerror})"
            errors.append(InputError(str(path), "(folder)", str(path), allowed))
            continue
        if not files:
            allowed = f"a folder with files that end in {ENDINGS}"
            errors.append(InputError(str(path), "(folder)", "no such file", allowed))
        # Text, not paths: those take a second for 20,000 files.
        start = "" if path.is_absolute() else f"{here}/"
        for file in files:
            found.setdefault(f"{start}{file}", file)
    return list(found.values()), errors


def find_ignored(paths: Iterable[str | os.PathLike[str]]) -> dict[str, int]:
    """How many files among `paths`' folders are not read, by folder and ending.

    Hidden files and what lies in folders within them do not count.
    """
    counts: Counter[str] = Counter()
    for folder in map(Path, paths):
        try:
            names = _names_in(folder)
        except OSError:
            continue
        for name in names:
            if not _is_input(folder, name):
                counts[f"{folder}/*{find_suffix(name)}"] += 1
    return dict(sorted(counts.items()))


def _list_folder(folder: Path) -> list[str]:
    start = "" if folder == Path() else f"{folder}/"
    names = (name for name in _names_in(folder) if _is_input(folder, name))
    return [f"{start}{name}" for name in names]


def _names_in(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and not _is_folder(entry)
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links, say; whoever reads it is told
        return False


def _is_input(folder: Path, name: str) -> bool:
    suffix = find_suffix(name)
    if suffix != ".txt":
        return suffix in INPUT_SUFFIXES
    try:
        return (
            first_bytes(folder / name).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b">")
        )
    except OSError:
        return False
