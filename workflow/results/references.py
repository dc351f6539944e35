"""Which file of the folder that the user names is the known structure of a job.

Apart from `known_structures`, which reads them and brings all of scoring along.
"""

from collections.abc import Mapping
from pathlib import Path

STRUCTURES = (".cif", ".mmcif", ".pdb", ".ent")


def list_references(folder: Path | None) -> dict[str, Path]:
    """Files of a folder of references, by name; none without a folder."""
    return {} if folder is None else {path.name: path for path in folder.iterdir()}


def find_reference(present: Mapping[str, Path], name: str) -> Path | None:
    """Which of these files is the reference of a job."""
    names = (
        f"{name}{suffix}{packed}" for suffix in STRUCTURES for packed in ("", ".gz")
    )
    return next((present[name] for name in names if name in present), None)
