"""What starts quickly imports nothing that it does not need."""

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest
import yaml

from tests.workflow.campaigns import DATABASES, ROOT, job, protein, toy_checkpoint

HEAVY = {
    *("jax", "jaxlib", "haiku", "rdkit", "gemmi", "biotite", "openmm", "posebusters"),
    *("numpy", "scipy", "pandas", "pyarrow", "duckdb", "pyhmmer", "llvmlite"),
    *("snakemake", "matplotlib"),
}
"""Top-level packages that take a tenth of a second or more, or bring such along."""
OF_A_NETWORK = {"jax", "jaxlib", "haiku", "triton"}
NEVER_AT_START = OF_A_NETWORK | {"pandas", "duckdb", "matplotlib", "openmm"}


def imported(program: str, folder: Path = ROOT) -> set[str]:
    """Which packages a Python program has imported when it ends."""
    ending = "\nimport sys; print(*sys.modules, sep='\\n', file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program + ending],
        capture_output=True,
        check=True,
        cwd=folder,
        text=True,
    )
    return {line.partition(".")[0] for line in done.stderr.splitlines()}


@pytest.mark.parametrize("command", [["--help"], ["run", "--help"], ["--version"]])
def test_help_is_there_at_once(command: Collection[str]) -> None:
    program = f"from workflow.cli import main; main({command!r})"
    assert sorted(imported(program) & HEAVY) == []


def test_a_plan_is_made_without_what_computes(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs/one.json").write_text(job("one", protein("MKV" * 20)))
    for name, data in toy_checkpoint().items():
        (tmp_path / name).write_bytes(data)
    settings = {
        "inputs": ["inputs"],
        "search": {"databases": str(DATABASES)},
        "model": {"checkpoint": "toy.bin.zst"},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    program = "from workflow.cli import main; assert main(['plan']) == 0"
    found = imported(program, tmp_path)
    spared = NEVER_AT_START | {"pyhmmer", "llvmlite", "scipy"}
    assert sorted(found & spared) == []
    assert "workflow" in found


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("workflow.engine.supervise", HEAVY - {"numpy", "pyarrow"}),
        ("workflow.search", NEVER_AT_START | {"rdkit", "scipy"}),
        ("workflow.templates", NEVER_AT_START | {"scipy"}),
        ("workflow.featurise", NEVER_AT_START | {"scipy"}),
        ("workflow.score", OF_A_NETWORK | {"posebusters", "pandas", "pyhmmer"}),
        ("workflow.export", OF_A_NETWORK | {"pandas", "duckdb"}),
    ],
)
def test_a_step_starts_without_what_its_items_may_not_need(
    module: str, spared: Collection[str]
) -> None:
    assert sorted(imported(f"import {module}") & set(spared)) == []


def test_a_table_is_a_data_frame_where_one_is_asked_for() -> None:
    """PyArrow, which was told that there is no pandas, looks again."""
    pytest.importorskip("pandas")
    program = (
        "import sys, af3_core.columns, pyarrow as pa\n"
        "table = pa.table({'a': [1, None]})\n"
        "assert 'pandas' not in sys.modules\n"
        "assert table.to_pandas()['a'].sum() == 1\n"
        "frame = sys.modules['pandas'].DataFrame({'a': [1.0, None]})\n"
        "assert pa.Table.from_pandas(frame)['a'].null_count == 1"
    )
    assert "pandas" in imported(program)
