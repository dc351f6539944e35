"""The house rules that a program can check."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("kernels", "af3_core", "workflow")
SCIENCE = (
    *("columns", "contracts", "job", "cif_format", "recent"),
    *("chemistry", "templates", "inputs", "msa", "search", "features"),
    *("structures", "scores", "relax", "model", "training"),
    *("prediction", "af3_output", "figures"),
)
"""Modules and packages of `af3_core`: each imports from those before it only."""
PARTS = (
    *("settings", "tables", "campaign", "batches", "resources", "stages"),
    *("needs", "step", "digests", "download"),
    *("databases", "planning", "store", "engine", "searching", "results", "inference"),
    "report",
)
"""Shared modules of `workflow` and its packages; what is left are the programs."""
JAX_ALLOWED = (
    "kernels/",
    "af3_core/model/",
    "af3_core/training/",
    "workflow/inference/worker.py",
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


def test_the_science_is_layered_too() -> None:
    for path in (ROOT / "af3_core").rglob("*.py"):
        place = path.relative_to(ROOT / "af3_core").parts[0].removesuffix(".py")
        if place == "__init__":
            continue
        used = {name.split(".")[1] for name in imported(path) if "af3_core." in name}
        later = used & set(SCIENCE[SCIENCE.index(place) + 1 :])
        assert not later, f"{path.relative_to(ROOT)} imports {later}"


def test_so_are_the_parts_of_the_workflow_below_its_programs() -> None:
    for path in (ROOT / "workflow").rglob("*.py"):
        place = path.relative_to(ROOT / "workflow").parts[0].removesuffix(".py")
        if place not in PARTS or path.name == "__main__.py":
            continue
        used = {name.split(".")[1] for name in imported(path) if "workflow." in name}
        below = set(PARTS[: PARTS.index(place) + 1])
        assert used <= below, f"{path.relative_to(ROOT)} imports {used - below}"


def test_jax_is_imported_only_where_the_model_is() -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(name.split(".")[0] in ("jax", "haiku") for name in imported(path))
    }
    strangers = {user for user in users if not user.startswith(JAX_ALLOWED)}
    assert strangers <= {"workflow/inference/provenance.py"}


def test_no_source_catches_everything_or_unpickles() -> None:
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert "except Exception:" not in text and "except:" not in text, path
        assert "except Exception as" not in text and "BaseException:" not in text, path
        assert "import pickle" not in text and "shell=True" not in text, path
