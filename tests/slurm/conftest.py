"""The campaign that all others are compared with."""

from pathlib import Path

import pytest

from tests.slurm.campaign import HERE, make_clone, running


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the campaigns keep compiled networks."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="session")
def undisturbed(compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clone in which the demo was run to its end, on this machine without Slurm."""
    clone = make_clone(tmp_path_factory.mktemp("undisturbed") / "foldmill", compiled)
    with running(clone, HERE) as process:
        assert process.wait(timeout=1800) == 0
    return clone
