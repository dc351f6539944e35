"""Finds the known structure of a job in the folder that the user names."""

import gzip
from pathlib import Path

from af3_core.job import InputError
from af3_core.scores.rows import Reference
from af3_core.structures.structure import Structure
from af3_core.structures.structure_file import parse_structure

SUFFIXES = (".cif", ".mmcif", ".pdb", ".ent")


def read_reference(folder: Path | None, name: str) -> Reference | None:
    """The reference of a job, or None if there is no folder or no file of its name.

    Raises:
        InputError: the file is neither mmCIF nor PDB, or holds no structure.
    """
    if folder is None:
        return None
    for suffix in SUFFIXES:
        for path in (folder / f"{name}{suffix}", folder / f"{name}{suffix}.gz"):
            if path.is_file():
                return Reference(path.name, _parse(path))
    return None


def _parse(path: Path) -> Structure:
    try:
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        return parse_structure(text.decode("utf-8"), path.name)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            str(path), "file", str(error), "mmCIF or PDB with coordinates"
        ) from error
