"""What the trunk made of a job, kept beside its prediction where that is asked for.

One NumPy zip file for each item and kind, with AlphaFold 3's keys, in float16. What it
was made from is the comment of the zip, as it is in the metadata of a table, so a file
of another prediction is recognised.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float16
from numpy import ndarray

from workflow.tables import replacing


def write_trunk_file(
    path: Path,
    arrays: Mapping[str, Float16[ndarray, "..."]],
    *,
    made_from: str,
) -> None:
    """Writes one file, whole or not at all.

    It is not compressed: that saves a tenth, and takes twenty times as long while the
    device waits.
    """
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.comment = made_from.encode()


def is_trunk_file_current(path: Path, *, made_from: str) -> bool:
    """Whether a complete file, made from this, is there."""
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == made_from.encode() and not archive.testzip()
    except zipfile.BadZipFile:
        return False
