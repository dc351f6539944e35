"""Data that may not lie in the repository, such as what real weights predicted.

The environment variable FOLDMILL_REFERENCE names their folder, where
CONTRIBUTING.md says what is in it. Without it, tests that need them are skipped.
"""

import os
from pathlib import Path

import pytest

VARIABLE = "FOLDMILL_REFERENCE"


def reference_folder(name: str) -> Path | None:
    """A folder of the reference data; None where there is none."""
    root = os.environ.get(VARIABLE)
    if not root:
        return None
    folder = Path(root) / name
    return folder if folder.is_dir() else None


def need_reference(name: str) -> Path:
    """A folder of the reference data; skips the test where there is none."""
    folder = reference_folder(name)
    if folder is None:
        pytest.skip(f"needs {name} in the folder that {VARIABLE} names")
    return folder
