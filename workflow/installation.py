"""Where Foldmill's own files are: Snakefile, rules, profiles, manual of settings, demo.

In a clone they stand at its root. A wheel carries them inside the package `workflow`.
"""

import os
import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_SHARE = _PACKAGE / "share"

PACKAGES = _PACKAGE.parent
"""The folder that our packages are imported from."""
ROOT = _SHARE if _SHARE.is_dir() else _PACKAGE.parent
"""The folder with `Snakefile`, `rules`, `envs` and `config`."""
SNAKEFILE = ROOT / "Snakefile"
MANUAL = ROOT / "config/config.yaml"
"""Every setting with its meaning and default; its values are the demo's."""
SCHEMA = ROOT / "config/schema.json"
"""What editors check a configuration by; see `workflow.schema`."""
PROFILES = ROOT / "config/profiles"


def lead_steps_here() -> None:
    """Lets `python -m workflow.…` in a shell be the interpreter that runs now.

    So it is in an environment of conda too, which has all packages but ours. An image
    has a Python of its own.
    """
    # Where RDKit's data are: it says so to its children when it is imported, but theirs
    # are elsewhere in an image or another environment.
    os.environ.pop("RDBASE", None)
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    os.environ["PYTHONPATH"] = f"{PACKAGES}:{os.environ.get('PYTHONPATH', '')}"
