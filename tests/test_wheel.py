"""The wheel, installed where nothing else is, runs a campaign outside of any clone."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.workflow.campaigns import ROOT, job, make_campaign, protein

pytestmark = pytest.mark.long
UV = shutil.which("uv") or str(ROOT / ".uv/bin/uv")


def run(*command: str | Path, folder: Path) -> str:
    """A command in a folder, without anything of this clone; what it says."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV", "XLA_FLAGS")
    }
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**environment, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist, and of the wheel that is made of it alone."""
    folder = tmp_path_factory.mktemp("dist")
    build = (UV, "build", "--quiet", "--python", sys.executable)
    run(*build, "--out-dir", folder, ROOT, folder=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment that has the wheel alone."""
    folder = tmp_path_factory.mktemp("environment")
    run(
        UV,
        "venv",
        "--quiet",
        "--python",
        sys.executable,
        folder / "venv",
        folder=folder,
    )
    python = folder / "venv/bin/python"
    run(UV, "pip", "install", "--quiet", "--python", python, wheel, folder=folder)
    return python.parent


def test_what_is_uploaded_passes_twines_check(built: Path) -> None:
    files = sorted(built.glob("foldmill-*"))
    assert [path.name.rpartition(".")[2] for path in files] == ["whl", "gz"]
    twine = (UV, "tool", "run", "--quiet", "--python", sys.executable, "twine==7.0.0")
    said = run(*twine, "check", "--strict", *files, folder=built)
    assert said.count("PASSED") == 2


def test_the_sdist_is_small_and_has_its_papers(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    assert sdist.stat().st_size < 30_000_000
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "NOTICE", "CITATION.cff", "CHANGELOG.md", "uv.lock"} <= names


def test_the_wheel_has_what_stands_at_the_root_of_a_clone(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("Snakefile", "rules/plan.smk", "config/config.yaml"):
        assert f"workflow/share/{name}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith("tests/")]


def test_a_campaign_of_five_jobs_runs_outside_of_any_clone(
    installed: Path, tmp_path: Path
) -> None:
    sequences = ("MKVLAAGG", "GSHMKNVT", "MLSDEDFK", "ACDEFGHI", "KLMNPQRS")
    jobs = {f"j{n}.json": job(f"j{n}", protein(s)) for n, s in enumerate(sequences)}
    made = make_campaign(tmp_path / "made", jobs)
    foldmill, mine = installed / "foldmill", tmp_path / "mine"
    run(
        *(foldmill, "init", mine, "--inputs", made / "inputs"),
        *("--weights", made / "toy.bin.zst"),
        *("--databases", ROOT / "config/demo/databases/databases.tsv"),
        folder=tmp_path,
    )
    run(foldmill, "check", folder=mine)
    said = run(foldmill, "run", folder=mine)
    assert "All 5 jobs have results." in said
    assert (mine / "results/report.html").is_file()
    said = run(installed / "snakemake", "--cores", "1", "-n", folder=mine)
    assert "Nothing to be done" in said


def test_the_demo_is_planned_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    said = run(installed / "foldmill", "version", folder=tmp_path)
    assert said.startswith("foldmill ")
