"""The house rules that a program can check."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("kernels", "af3_core", "workflow")
JAX_ALLOWED = (
    "kernels/",
    "af3_core/model/",
    "af3_core/batch.py",
    "workflow/inference.py",
)
SOURCES = sorted(p for layer in LAYERS for p in (ROOT / layer).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, at its top or inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    layer = LAYERS.index(path.relative_to(ROOT).parts[0])
    above = {name.split(".")[0] for name in imported(path)} & set(LAYERS[layer + 1 :])
    assert not above


def test_jax_is_imported_only_where_the_model_is() -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(name.split(".")[0] in ("jax", "haiku") for name in imported(path))
    }
    strangers = {user for user in users if not user.startswith(JAX_ALLOWED)}
    assert strangers <= {"workflow/provenance.py"}


def test_no_source_catches_everything_or_unpickles() -> None:
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert "except Exception:" not in text and "except:" not in text, path
        assert "except Exception as" not in text and "BaseException:" not in text, path
        assert "import pickle" not in text and "shell=True" not in text, path
