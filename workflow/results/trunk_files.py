"""What the trunk made of a job, kept beside its prediction where that is asked for.

One NumPy zip file for each item and kind, with AlphaFold 3's keys, in float16. The
comment of the zip, its last bytes, is what it was made from and a digest of all before
that digest, so a damaged file and one of another prediction are recognised.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float16
from numpy import ndarray

from workflow.tables import digest_of_first, replacing

_DIGEST_LETTERS = 2 * hashlib.sha256().digest_size


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
            archive.comment = (made_from + "0" * _DIGEST_LETTERS).encode()
        with temporary.open("r+b") as file:
            digest = digest_of_first(file, temporary.stat().st_size - _DIGEST_LETTERS)
            file.write(digest.hex().encode())


def is_trunk_file_current(path: Path, *, made_from: str) -> bool:
    """Whether a file of which no byte is damaged, made from this, is there."""
    if not path.is_file():
        return False
    wanted = made_from.encode()
    size = path.stat().st_size - _DIGEST_LETTERS
    if size < len(wanted):
        return False
    with path.open("rb") as file:
        found = digest_of_first(file, size).hex().encode()
        file.seek(size - len(wanted))
        return file.read() == wanted + found
