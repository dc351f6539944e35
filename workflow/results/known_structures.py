"""Reads the known structure of a job from the folder that the user names."""

import gzip
from pathlib import Path

from af3_core.job import InputError
from af3_core.scores.rows import Reference
from af3_core.structures.structure import Structure
from af3_core.structures.structure_file import parse_structure
from workflow.results.references import find_reference, list_references
from workflow.tables import digest_file


def read_reference(
    folder: Path | None, name: str, known: str | None = None
) -> Reference | None:
    """The reference of a job, or None if there is no folder or no file of its name.

    `known`: its name and digest, where it has to be the one of the plan.

    Raises:
        InputError: the file is neither mmCIF nor PDB, holds no structure, or has been
            changed since.
    """
    path = find_reference(list_references(folder), name)
    found = None if path is None else f"{path.name} {digest_file(path)}"
    if known is not None and found != known:
        allowed = "the structure that the campaign was planned with; start it again"
        raise InputError(str(path or folder), "references", f"{name}: changed", allowed)
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
