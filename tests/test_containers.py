"""The Dockerfile and Apptainer's definition do the same, and what the README says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.campaigns import ROOT

DOCKERFILE = ROOT / "containers/Dockerfile"
DEFINITION = ROOT / "containers/foldmill.def"
PLACE = "/opt/foldmill"
EXTRAS = "--extra cuda12"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, with lines that go on joined, without comments."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [
        (word, rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines())
        if word
    ]


def sections() -> dict[str, list[str]]:
    """The definition's lines by section; its header is under ""."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in DEFINITION.read_text(encoding="utf-8").splitlines():
        if line.startswith("%"):
            name = line[1:].strip()
            found[name] = []
        elif line.strip() and not line.startswith("#"):
            found[name].append(line.strip())
    return found


def docker_copies() -> dict[str, str]:
    """What is copied from the clone, and where to."""
    found = {}
    for word, rest in instructions():
        if word != "COPY":
            continue
        *sources, target = rest.split()
        for source in sources:
            place = f"{target.removeprefix('./')}{source}" if target == "./" else target
            found[source] = f"{PLACE}/{place}"
    return found


def docker_steps(extras: str = "") -> list[str]:
    """The shell commands of the build, in order."""
    runs = [rest for word, rest in instructions() if word == "RUN"]
    steps = [step.strip() for run in runs for step in run.split("&&")]
    return [step.replace("$EXTRAS", extras).strip() for step in steps]


def apptainer_steps(extras: str = "") -> list[str]:
    """Likewise; where they are run is a step of its own there."""
    lines = sections()["post"]
    assert lines.count(f"cd {PLACE}") == 1
    steps = [line for line in lines if line != f"cd {PLACE}"]
    return [step.replace("{{ extras }}", extras).strip() for step in steps]


@pytest.mark.parametrize("extras", ["", EXTRAS])
def test_both_take_the_same_steps(extras: str) -> None:
    assert docker_steps(extras) == apptainer_steps(extras)


def test_they_set_up_as_a_clone_does() -> None:
    steps = [re.sub(r"\b\w+=1 ", "", step) for step in docker_steps(EXTRAS)]
    assert steps[-2:] == ["make setup", f"sh envs/setup.sh {EXTRAS}"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "`make setup` alone" in readme and f"`sh envs/setup.sh {EXTRAS}`" in readme


def test_both_begin_with_the_same_image_and_copy_the_same() -> None:
    base = next(rest for word, rest in instructions() if word == "FROM")
    assert f"From: {base}" in sections()[""]
    copied = dict(line.split() for line in sections()["files"])
    assert copied == docker_copies()
    assert all((ROOT / source).exists() for source in copied)


def test_what_is_copied_is_what_a_wheel_is_made_of() -> None:
    """Nothing that the package needs is left out."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text.split("[tool.hatch.build.targets.wheel]")[1].split("\n[tool.uv]")[0]
    packages = re.search(r"packages = \[(.*)\]", block)
    named = set(re.findall(r'"([\w/]+)"', packages[1])) | {
        name.split("/")[0] for name in re.findall(r'^"([\w/]+)" =', block, re.M)
    }
    assert named <= docker_copies().keys()


def test_the_extras_that_images_are_built_with_exist() -> None:
    comments = DOCKERFILE.read_text("utf-8") + DEFINITION.read_text("utf-8")
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"--extra ([\w-]+)", comments):
        assert f"\n{extra} = [" in text


def test_the_linter_of_dockerfiles_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    linted = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert linted.returncode == 0 and not linted.stdout, linted.stdout + linted.stderr
