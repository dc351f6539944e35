"""From files and folders to jobs: one bad job never stops the others."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from af3_core.inputs.alphafold3 import read_alphafold3
from af3_core.inputs.alphafoldserver import read_server_jobs
from af3_core.inputs.entities import Links
from af3_core.inputs.entry import Entry, flatten_errors, parse_json
from af3_core.inputs.fasta import read_fasta
from af3_core.inputs.listing import (
    ENDINGS,
    INPUT_SUFFIXES,
    SCREEN_SUFFIXES,
    TABLE_SUFFIXES,
    find_suffix,
)
from af3_core.inputs.sample_sheet import read_sample_sheet
from af3_core.inputs.screen import Screen, Seconds
from af3_core.inputs.screen_file import read_screen
from af3_core.inputs.text import MAX_JSON_BYTES, read_file
from af3_core.job import InputError, Job

DEFAULT_SEEDS = (1,)
"""Seeds of jobs from files that state none (FASTA, CSV)."""

_NUCLEIC = ".fna"


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
    suffix = find_suffix(path.name)
    try:
        if not file.isprintable():
            raise InputError(file, "(file)", path.name, "a printable UTF-8 file name")
        if suffix not in INPUT_SUFFIXES:
            allowed = f"a file that ends in {ENDINGS}"
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
