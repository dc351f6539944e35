"""Faults planted in the code on purpose: each has to be caught by a named test.

Every fault is one edit, made in a copy of the packages; the test that is said to catch
it is run there and must fail. Under a minute in all.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Fault:
    """One wrong line, and who notices it."""

    file: str
    right: str
    wrong: str
    caught_by: str


FAULTS = {
    "chains in another order in the features": Fault(
        "af3_core/features/assembly.py",
        "        chains=skeleton.chains,",
        "        chains=skeleton.chains[::-1],",
        "tests/af3_core/model/test_batch.py"
        "::test_the_batch_equals_that_of_alphafold3[villin_gb1]",
    ),
    "one token of padding taken for real": Fault(
        "af3_core/model/batch.py",
        "mask=np.arange(num_tokens) < features.num_tokens,",
        "mask=np.arange(num_tokens) <= features.num_tokens,",
        "tests/af3_core/model/test_batch.py"
        "::test_the_batch_equals_that_of_alphafold3[ubiquitin]",
    ),
    "noise schedule off by one": Fault(
        "af3_core/model/diffusion.py",
        "np.linspace(0, 1, sampler.num_steps + 1, dtype=np.float32)",
        "np.linspace(0, 1, sampler.num_steps, dtype=np.float32)",
        "tests/af3_core/model/test_diffusion.py"
        "::test_the_schedule_falls_from_160_to_nearly_nothing",
    ),
    "templates placed one residue off": Fault(
        "af3_core/features/templates.py",
        "_place_atoms(arrays, query, source.atoms(index, positions))",
        "_place_atoms(arrays, query, source.atoms(index - 1, positions))",
        "tests/af3_core/features/test_templates.py"
        "::test_features_equal_those_of_alphafold3[villin_gb1]",
    ),
    "B-factors shifted by one atom": Fault(
        "af3_core/structures/mmcif.py",
        '"B_iso_or_equiv": plddt,',
        '"B_iso_or_equiv": plddt[1:] + plddt[:1],',
        "tests/af3_core/structures/test_mmcif.py::test_gemmi_reads_the_same_atoms",
    ),
    "alignment turned the wrong way in the loss": Fault(
        "af3_core/training/diffusion_loss.py",
        '"aj,ij->ai"',
        '"aj,ji->ai"',
        "tests/af3_core/training/test_diffusion_loss.py"
        "::test_alignment_is_the_best_rigid_motion",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    shutil.copytree(ROOT / "af3_core", tmp_path / "af3_core")
    for shared in ("kernels", "tests", "config", "pyproject.toml"):
        (tmp_path / shared).symlink_to(ROOT / shared)
    source = tmp_path / fault.file
    text = source.read_text(encoding="utf-8")
    assert text.count(fault.right) == 1, f"{fault.file} has changed: plant it anew"
    source.write_text(text.replace(fault.right, fault.wrong), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-rf", "-p", "no:cacheprovider"]
    found = subprocess.run(
        [*command, fault.caught_by, "--basetemp", str(tmp_path / "pytest")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1, found.stdout + found.stderr
    assert f"FAILED {fault.caught_by}" in found.stdout
