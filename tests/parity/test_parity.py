import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.parity.__main__ import main
from tests.parity.comparison import (
    compare_exactly,
    compare_mean,
    compare_positions,
    compare_relative,
)
from tests.parity.recipe import TABLE_DIGEST, write_reference_checkpoint

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "data" / "cases"
UBIQUITIN = str(CASES / "ubiquitin.json"), str(CASES / "ubiquitin.npz")


@pytest.fixture(scope="session")
def reference_checkpoint() -> Path:
    """The full-size pseudo-random weights: 1.1 GB, kept between runs."""
    path = Path(tempfile.gettempdir()) / f"foldmill-{TABLE_DIGEST[:16]}.bin"
    if not path.exists():
        write_reference_checkpoint(path)
    return path


@pytest.mark.slow
def test_ubiquitin_is_predicted_as_by_alphafold_3(reference_checkpoint) -> None:
    # In a process of its own: compiled as for users, not as quickly as conftest has it.
    options = ["--checkpoint", str(reference_checkpoint), "--recycles", "2"]
    result = subprocess.run(
        [sys.executable, "-m", "tests.parity", *UBIQUITIN, *options],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_features_alone_need_no_weights(capsys) -> None:
    assert main([*UBIQUITIN, "--features-only"]) == 0
    assert capsys.readouterr().out.strip().endswith("47 of 47 hold")


def test_one_changed_feature_fails(tmp_path, capsys) -> None:
    with np.load(UBIQUITIN[1]) as recorded:
        arrays = {k: v for k, v in recorded.items() if k.startswith("batch.")}
    arrays["batch.aatype"][3] += 1
    np.savez(tmp_path / "spoilt.npz", **arrays)
    assert main([UBIQUITIN[0], str(tmp_path / "spoilt.npz"), "--features-only"]) == 1
    (failed,) = [x for x in capsys.readouterr().out.splitlines() if "FAILED" in x]
    assert "batch.tokens.residue_type" in failed


def test_a_missing_checkpoint_option_is_the_users_fault(capsys) -> None:
    assert main([*UBIQUITIN]) == 2
    assert "--checkpoint" in capsys.readouterr().err


ONES = np.ones((2, 3))


@pytest.mark.parametrize(
    ("comparison", "is_ok"),
    [
        (compare_relative("x", 1.01 * ONES, ONES, None, 0.02), True),
        (compare_relative("x", 1.03 * ONES, ONES, None, 0.02), False),
        (compare_relative("x", np.nan * ONES, ONES, None, 0.02), False),
        (compare_relative("x", ONES[:1], ONES, None, 0.02), False),
        (compare_relative("x", 0 * ONES, 0 * ONES, None, 0.02), True),
        (compare_exactly("x", ONES, ONES), True),
        (compare_exactly("x", ONES, 2 * ONES), False),
        (compare_mean("x", ONES + 0.1, ONES, np.ones(3, bool), 0.2), True),
        (compare_mean("x", ONES + 0.3, ONES, np.ones(3, bool), 0.2), False),
        (compare_positions("x", ONES[None], ONES[None], np.ones(2, bool), 0), True),
        (
            compare_positions("x", ONES[None] + 1, ONES[None], np.ones(2, bool), 1),
            False,
        ),
    ],
    ids=str,
)
def test_a_comparison_holds_within_its_tolerance_only(comparison, is_ok) -> None:
    assert comparison.is_ok == is_ok
    assert str(comparison).endswith("ok" if is_ok else "FAILED")


def test_what_is_masked_is_not_compared() -> None:
    mask = np.array([[True, True, False], [True, True, False]])
    spoilt = np.where(mask, ONES, np.nan)
    assert compare_relative("x", spoilt, ONES, mask, 1e-6).is_ok
