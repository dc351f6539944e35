"""Where Foldmill's own files are: Snakefile, rules, profiles, manual of settings, demo.

In a clone they stand at its root. A wheel carries them inside the package `workflow`.
"""

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
PROFILES = ROOT / "config/profiles"
