"""From files and folders to jobs: one bad job never stops the others."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from af3_core.inputs.alphafold3 import read_alphafold3
from af3_core.inputs.alphafoldserver import read_server_jobs
from af3_core.inputs.entities import Links
from af3_core.inputs.entry import Entry, flatten_errors, parse_json
from af3_core.inputs.fasta import read_fasta
from af3_core.inputs.sample_sheet import read_sample_sheet
from af3_core.inputs.text import read_file
from af3_core.job import InputError, Job

INPUT_SUFFIXES = frozenset({".json", ".fasta", ".fa", ".faa", ".csv"})
"""Endings, in any case, of the files that a folder is searched for."""
DEFAULT_SEEDS = (1,)
"""Seeds of jobs from files that state none (FASTA, CSV)."""

_ENDINGS = ", ".join(sorted(INPUT_SUFFIXES))


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
            allowed = f"a readable folder ({error.strerror})"
            errors.append(InputError(str(path), "(folder)", str(path), allowed))
            continue
        if not files:
            allowed = f"a folder with files that end in {_ENDINGS}"
            errors.append(InputError(str(path), "(folder)", "no such file", allowed))
        for file in files:
            # Not Path.absolute: it takes a second for 20,000 files.
            found.setdefault(os.path.join(here, file), file)
    return list(found.values()), errors


def _list_folder(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = sorted(
            entry.name
            for entry in entries
            if os.path.splitext(entry.name)[1].lower() in INPUT_SUFFIXES
            and not entry.name.startswith(".")
            and not entry.is_dir()
        )
    return [folder / name for name in names]


def read_jobs(
    path: str | os.PathLike[str],
    *,
    default_seeds: tuple[int, ...] = DEFAULT_SEEDS,
    allowed_roots: tuple[Path, ...] | None = None,
) -> tuple[list[Job], list[InputError]]:
    """The jobs of one file, and what is wrong with those that cannot be accepted.

    Args:
        path: a JSON, FASTA or CSV file.
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
) -> Iterator[Job | InputError]:
    """`read_jobs`, one job or error at a time."""
    file = str(path)
    suffix = path.suffix.lower()
    try:
        if not file.isprintable():
            raise InputError(file, "(file)", path.name, "a printable UTF-8 file name")
        if suffix not in INPUT_SUFFIXES:
            allowed = f"a file that ends in {_ENDINGS}"
            raise InputError(file, "(file)", path.name, allowed)
        text = read_file(file, path)
        if suffix == ".json":
            links = Links(path.parent, allowed_roots)
            yield from _read_json(text, file, links)
        elif suffix == ".csv":
            yield from read_sample_sheet(text, file, default_seeds)
        else:
            yield from read_fasta(text, file, default_seeds)
    except InputError as error:
        yield error
    except ExceptionGroup as group:
        refused, other = group.split(InputError)
        if other:
            raise
        yield from flatten_errors(refused)


def _read_json(text: str, file: str, links: Links) -> Iterator[Job | InputError]:
    document = Entry(file, "", parse_json(text, file), "a job")
    if isinstance(document.value, list):
        yield from read_server_jobs(document)
    else:
        yield read_alphafold3(document, links)
