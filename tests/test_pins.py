"""What conda installs is what the lock file says: `make pins` has been run."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

from tests.workflow.campaigns import ROOT

LOCKED = {
    package["name"]: package["version"]
    for package in tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    if "version" in package
}
EXTRAS = {"core": [], "inference-cuda": ["cuda12"]}
"""By environment."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def pins(environment: str) -> dict[str, str]:
    """Versions by name, where every line is a requirement that pip takes."""
    text = (ROOT / f"envs/{environment}.yaml").read_text("utf-8")
    (listed,) = (d for d in yaml.safe_load(text)["dependencies"] if isinstance(d, dict))
    requirements = [Requirement(line) for line in listed["pip"]]
    return {r.name: str(r.specifier).removeprefix("==") for r in requirements}


@pytest.mark.parametrize("environment", EXTRAS)
def test_conda_pins_the_versions_of_the_lock_file(environment: str) -> None:
    found = pins(environment)
    assert found == {name: LOCKED[name] for name in found}


@pytest.mark.parametrize("environment", EXTRAS)
def test_conda_installs_all_that_the_project_needs(environment: str) -> None:
    needed = [*PROJECT["dependencies"]]
    for extra in EXTRAS[environment]:
        needed += PROJECT["optional-dependencies"][extra]
    names = {re.match(r"[\w.-]+", requirement)[0] for requirement in needed}
    assert names <= pins(environment).keys()


def test_every_range_begins_with_what_is_tested_and_ends() -> None:
    needed = [*PROJECT["dependencies"]]
    for requirements in PROJECT["optional-dependencies"].values():
        needed += requirements
    for requirement in map(Requirement, needed):
        bounds = {s.operator: s.version for s in requirement.specifier}
        if requirement.name == "nvidia-cublas":
            # JAX asks for it; this only keeps away what corrupts data.
            assert LOCKED[requirement.name] in requirement.specifier
            continue
        assert bounds.keys() == {">=", "<"}, requirement
        assert bounds[">="] == LOCKED[requirement.name], requirement


def test_extras_are_those_that_the_documentation_names() -> None:
    assert PROJECT["optional-dependencies"].keys() == {
        *("cuda12", "cuda13", "lsf", "mmseqs", "train", "triton")
    }
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for extra in re.findall(r"--extra ([\w-]+)", page.read_text("utf-8")):
            assert extra in PROJECT["optional-dependencies"], f"{page.name}: {extra}"
