"""From files and folders to jobs: one bad job never stops the others."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from af3_core.inputs.alphafold3 import read_alphafold3
from af3_core.inputs.alphafoldserver import read_server_jobs
from af3_core.inputs.entities import Links
from af3_core.inputs.entry import Entry, flatten_errors, parse_json
from af3_core.inputs.fasta import read_fasta
from af3_core.inputs.sample_sheet import read_sample_sheet
from af3_core.inputs.screen import Screen, Seconds
from af3_core.inputs.screen_file import SCREEN_SUFFIXES, read_screen
from af3_core.inputs.text import (
    COMPRESSED,
    MAX_JSON_BYTES,
    first_bytes,
    read_file,
)
from af3_core.job import InputError, Job

FASTA_SUFFIXES = frozenset({".fasta", ".fa", ".fas", ".faa", ".fna", ".txt"})
TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
INPUT_SUFFIXES = FASTA_SUFFIXES | TABLE_SUFFIXES | SCREEN_SUFFIXES | {".json"}
"""Endings, in any case, of the files that a folder is searched for; each perhaps with
that of a compressed file behind it. Of texts (.txt) only those that are FASTA."""
DEFAULT_SEEDS = (1,)
"""Seeds of jobs from files that state none (FASTA, CSV)."""

_ENDINGS = (
    f"{', '.join(sorted(INPUT_SUFFIXES))}, plain or {', '.join(sorted(COMPRESSED))}"
)
_NUCLEIC = ".fna"


def find_suffix(path: Path) -> str:
    """The ending that says what a file is, in lower case, compressed or not."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if len(suffixes) == 2 and suffixes[1] in COMPRESSED:
        return suffixes[0]
    return suffixes[-1] if suffixes else ""


def find_inputs(
    paths: Iterable[str | os.PathLike[str]],
) -> tuple[list[Path], list[InputError]]:
    """Input files among `paths`, folders replaced by the files directly in them.

    The order is that of `paths`, names sorted within a folder; hidden files are passed
    over and a file that comes twice is taken once.
    """
    found: dict[str, Path] = {}
    errors: list[InputError] = []
    here = os.getcwd()
    for path in map(Path, paths):
        try:
            files = _list_folder(path) if path.is_dir() else [path]
        except OSError as error:
            allowed = f"a readable file or folder ({error.strerror})"
            errors.append(InputError(str(path), "(folder)", str(path), allowed))
            continue
        if not files:
            allowed = f"a folder with files that end in {_ENDINGS}"
            errors.append(InputError(str(path), "(folder)", "no such file", allowed))
        for file in files:
            # Not Path.absolute: it takes a second for 20,000 files.
            found.setdefault(os.path.join(here, file), file)
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
            if not _is_input(folder / name):
                counts[f"{folder}/*{find_suffix(Path(name))}"] += 1
    return dict(sorted(counts.items()))


def _list_folder(folder: Path) -> list[Path]:
    return [folder / name for name in _names_in(folder) if _is_input(folder / name)]


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


def _is_input(path: Path) -> bool:
    suffix = find_suffix(path)
    if suffix != ".txt":
        return suffix in INPUT_SUFFIXES
    try:
        return first_bytes(path).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b">")
    except OSError:
        return False


def read_jobs(
    path: str | os.PathLike[str],
    *,
    default_seeds: tuple[int, ...] = DEFAULT_SEEDS,
    allowed_roots: tuple[Path, ...] | None = None,
) -> tuple[list[Job], list[InputError]]:
    """The jobs of one file, and what is wrong with those that cannot be accepted.

    Args:
        path: a JSON, FASTA or CSV file, or the YAML of a screen.
        default_seeds: for jobs of files that state none (FASTA, CSV).
        allowed_roots: folders that linked alignments, templates and components must
            lie in; None for any file the user can read, as in AlphaFold 3.
    """
    jobs: list[Job] = []
    errors: list[InputError] = []
    for outcome in iterate_jobs(Path(path), default_seeds, allowed_roots):
        if isinstance(outcome, Job):
            jobs.append(outcome)
        else:
            errors.append(outcome)
    return jobs, errors


def iterate_jobs(
    path: Path,
    default_seeds: tuple[int, ...] = DEFAULT_SEEDS,
    allowed_roots: tuple[Path, ...] | None = None,
    *,
    cost: Seconds | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Iterator[Job | InputError]:
    """`read_jobs`, one job or error at a time.

    Args:
        path: see `read_jobs`, as the next two.
        default_seeds: likewise.
        allowed_roots: likewise.
        cost: device time of one job of one seed by its tokens, for budgets of screens.
        say: is told in a sentence what of a screen is computed.
    """
    file = str(path)
    suffix = find_suffix(path)
    try:
        if not file.isprintable():
            raise InputError(file, "(file)", path.name, "a printable UTF-8 file name")
        if suffix not in INPUT_SUFFIXES:
            allowed = f"a file that ends in {_ENDINGS}"
            raise InputError(file, "(file)", path.name, allowed)
        if suffix == ".json":
            document = parse_json(read_file(file, path, MAX_JSON_BYTES), file)
            yield from _read_json(document, file, Links(path.parent, allowed_roots))
        elif suffix in TABLE_SUFFIXES:
            text = read_file(file, path, replace=True)
            links = Links(path.parent, allowed_roots)
            yield from read_sample_sheet(text, file, default_seeds, links)
        elif suffix in SCREEN_SUFFIXES:
            links = Links(path.parent, allowed_roots)
            screen = read_screen(read_file(file, path), file, links, default_seeds)
            yield from _list_screen(screen, cost, say)
        else:
            text = read_file(file, path, replace=True)
            kind = None if suffix == _NUCLEIC else "protein"
            yield from read_fasta(text, file, default_seeds, kind)
    except InputError as error:
        yield error
    except ExceptionGroup as group:
        refused, other = group.split(InputError)
        if other or refused is None:
            raise
        yield from flatten_errors(refused)


def _list_screen(
    screen: Screen, cost: Seconds | None, say: Callable[[str], None]
) -> Iterator[Job | InputError]:
    yield from screen.problems
    chosen = screen.choose(cost)
    say(chosen.sentence)
    for label, others in screen.aliases.items():
        say(f"{label} stands for {', '.join(others)} too: they are the same")
    yield from screen.jobs(chosen)


def _read_json(document: object, file: str, links: Links) -> Iterator[Job | InputError]:
    whole = Entry(file, "", document, "a job")
    if isinstance(document, list):
        yield from read_server_jobs(whole)
    else:
        yield read_alphafold3(whole, links)
