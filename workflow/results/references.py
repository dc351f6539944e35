"""Finds the known structure of a job in the folder that the user names."""

import gzip
from pathlib import Path

from af3_core.job import InputError
from af3_core.scores.rows import Reference
from af3_core.structures.structure import Structure
from af3_core.structures.structure_file import parse_structure

SUFFIXES = (".cif", ".mmcif", ".pdb", ".ent")


def find_reference(folder: Path | None, name: str) -> Path | None:
    """The file of a job's reference; None without a folder or a file of its name."""
    if folder is None:
        return None
    paths = (
        folder / f"{name}{suffix}{packed}"
        for suffix in SUFFIXES
        for packed in ("", ".gz")
    )
    return next((path for path in paths if path.is_file()), None)


def read_reference(path: Path | None) -> Reference | None:
    """The structure in a job's reference, if it has one.

    Raises:
        InputError: the file is neither mmCIF nor PDB, or holds no structure.
    """
    return None if path is None else Reference(path.name, _parse(path))


def _parse(path: Path) -> Structure:
    try:
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        return parse_structure(text.decode("utf-8"), path.name)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            str(path), "file", str(error), "mmCIF or PDB with coordinates"
        ) from error
