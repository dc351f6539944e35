"""Inputs that people reported elsewhere get AlphaFold 3's answer."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.foreign_inputs import main

FOREIGN = Path(__file__).parent / "data" / "foreign"
CASE = "mini_ligfirst_full"


def copy_case(folder: Path) -> Path:
    """One input with its recorded features; returns the latter."""
    for ending in (".json", ".npz"):
        shutil.copy(FOREIGN / "templates" / f"{CASE}{ending}", folder)
    return folder / f"{CASE}.npz"


def test_every_foreign_input_is_decided_and_featurised_as_recorded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = main([str(FOREIGN)])
    printed = capsys.readouterr().out
    assert status == 0, [x for x in printed.splitlines() if x.startswith("WRONG")]
    assert printed.count("features equal") == len(list(FOREIGN.rglob("*.npz")))


def test_other_features_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy_case(tmp_path)
    arrays = dict(np.load(path))
    arrays["batch.template_atom_positions"][0, 2] += 1
    np.savez(path, **arrays)
    assert main([str(tmp_path)]) == 1
    assert "batch.templates.atom_positions" in capsys.readouterr().out


def test_the_sane_reading_of_a_template_is_another_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_case(tmp_path)
    row = f'{CASE}.json\taccepted\t\t{{"features": {{"template_positions": "own"}}}}\t'
    (tmp_path / "official.tsv").write_text(
        f"file\tofficial\tours\tsettings\twhy\n{row}\n"
    )
    assert main([str(tmp_path)]) == 1
    assert "batch.templates.atom_positions" in capsys.readouterr().out


def test_another_decision_than_the_recorded_one_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.fasta").write_text(">a\nM1\n>b\nMKT\n")
    assert main([str(tmp_path)]) == 0
    (tmp_path / "official.tsv").write_text(
        "file\tofficial\tours\tsettings\twhy\na.fasta\taccepted\t\t\t\n"
    )
    assert main([str(tmp_path)]) == 1
    assert "WRONG" in capsys.readouterr().out
