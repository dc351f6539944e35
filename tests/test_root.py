"""A bare Debian, in which nothing is but what the README asks for: its commands run.

`make test-root` makes the system with debootstrap and enters it with chroot, so it
needs root and a network; `FOLDMILL_DEBIAN` names one that is there already. Debian has
no Python 3.12: that of this process is copied, and named as the README says.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.test_containers import EXTRAS, PLACE, docker_copies, docker_steps
from tests.workflow.campaigns import (
    ROOT,
    TINY,
    job,
    make_campaign,
    protein,
    run_campaign,
)

MISSING = shutil.which("debootstrap") is None or os.geteuid() != 0
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(MISSING, reason="needs root and debootstrap"),
]
IN_A_ROOT = ("git clone <this repository> foldmill && cd foldmill",)
"""Lines of the README that only a new machine can run."""
PYTHON = Path(sys.base_prefix) / "bin/python3.12"
_SYSTEM = "python3,python3-pip,git,make,ca-certificates,libffi8,libsqlite3-0"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PASSED_ON = re.compile(r"SSL_CERT|PIP_CERT|REQUESTS_CA|CURL_CA|https?_proxy", re.I)


class Machine:
    """The bare system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, line: str, folder: str = "/root", *, limit: float = 3000) -> str:
        """A line of shell as a user types it; what it says.

        Raises:
            AssertionError: it fails.
        """
        passed = {k: v for k, v in os.environ.items() if _PASSED_ON.match(k)}
        done = subprocess.run(
            ["chroot", self.folder, "bash", "-c", f"cd {folder} && {line}"],
            env={
                "HOME": "/root",
                "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "LANG": "C.UTF-8",
                "FOLDMILL_PYTHON": str(PYTHON),
                **passed,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit,
        )
        print(f"$ {line}\n{done.stdout}")
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Debian's smallest system, with git, make and a Python 3 that has pip."""
    given = os.environ.get("FOLDMILL_DEBIAN")
    folder = Path(given) if given else tmp_path_factory.mktemp("debian")
    if not (folder / "bin").exists():
        command = ["debootstrap", "--variant=minbase", f"--include={_SYSTEM}"]
        subprocess.run([*command, "bookworm", str(folder)], check=True)
    shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
    if _CERTIFICATES.is_file():
        shutil.copy(_CERTIFICATES, folder / str(_CERTIFICATES).lstrip("/"))
    target = folder / str(PYTHON.parents[1]).lstrip("/")
    if not target.exists():
        without = shutil.ignore_patterns("site-packages", "test", "__pycache__")
        shutil.copytree(PYTHON.parents[1], target, symlinks=True, ignore=without)
    bare = folder / "srv/foldmill.git"
    shutil.rmtree(bare, ignore_errors=True)
    shutil.rmtree(folder / "root/foldmill", ignore_errors=True)
    clone = ["git", "clone", "--quiet", "--bare", "--single-branch", str(ROOT)]
    subprocess.run([*clone, str(bare)], check=True)
    mount = folder / "proc"
    subprocess.run(["mount", "-t", "proc", "proc", str(mount)], check=True)
    try:
        yield Machine(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


@pytest.fixture(scope="module")
def clone(machine: Machine) -> str:
    """The README's first lines, as they stand there but for the address."""
    (line,) = IN_A_ROOT
    assert line in (ROOT / "README.md").read_text(encoding="utf-8")
    machine.run(line.replace("<this repository>", "/srv/foldmill.git"))
    machine.run("make setup", "/root/foldmill")
    return "/root/foldmill"


def test_what_runs_campaigns_comes_without_development_tools(
    machine: Machine, clone: str
) -> None:
    machine.run("! .venv/bin/python -c 'import pytest'", clone)
    machine.run("! .venv/bin/python -c 'import triton'", clone)


def test_the_commands_are_on_the_path_as_the_readme_says(
    machine: Machine, clone: str
) -> None:
    said = machine.run("source .venv/bin/activate && foldmill version", clone)
    assert "foldmill " in said
    line = "source .venv/bin/activate && snakemake --version && foldmill --help"
    assert "Usage: foldmill" in machine.run(line, clone)


@pytest.fixture(scope="module")
def five_jobs(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Inputs, weights and databases of a small campaign, in /srv."""
    sequences = ("MKVLAAGG", "GSHMKNVT", "MLSDEDFK", "ACDEFGHI", "KLMNPQRS")
    jobs = {f"j{n}.json": job(f"j{n}", protein(s)) for n, s in enumerate(sequences)}
    made = make_campaign(tmp_path_factory.mktemp("root") / "made", jobs, network=TINY)
    shutil.copytree(made, machine.folder / "srv/made", dirs_exist_ok=True)
    databases = machine.folder / "srv/databases"
    shutil.copytree(ROOT / "config/demo/databases", databases, dirs_exist_ok=True)


def run_five_jobs(machine: Machine, foldmill: str) -> None:
    """Has an installation run the small campaign, in /srv/mine."""
    machine.run(
        f"rm -rf /srv/mine && {foldmill} init /srv/mine --inputs /srv/made/inputs"
        " --weights /srv/made/toy.bin.zst --databases /srv/databases/databases.tsv",
        "/srv",
    )
    machine.run(f"{foldmill} check", "/srv/mine")
    said = machine.run(f"{foldmill} run", "/srv/mine")
    assert "All 5 jobs have results." in said
    assert (machine.folder / "srv/mine/results/report.html").is_file()


def test_the_wheel_runs_jobs_and_the_demo_outside_of_any_clone(
    machine: Machine, clone: str, five_jobs: None
) -> None:
    machine.run(f"{clone}/.uv/bin/uv build --wheel --quiet --out-dir /srv/dist", clone)
    shutil.move(machine.folder / clone.lstrip("/"), machine.folder / "root/gone")
    try:
        machine.run(f"{PYTHON} -m venv --clear /srv/installed")
        machine.run("/srv/installed/bin/pip install --quiet /srv/dist/*.whl")
        run_five_jobs(machine, "/srv/installed/bin/foldmill")
        said = machine.run("/srv/installed/bin/foldmill demo", "/srv")
        assert "All 13 jobs have results." in said
    finally:
        shutil.move(machine.folder / "root/gone", machine.folder / clone.lstrip("/"))


def test_what_conda_installs_with_pip_runs_five_jobs(
    machine: Machine, clone: str, five_jobs: None
) -> None:
    """As Snakemake does: packages of the environment, our code of the clone."""
    (machine.folder / "srv/core.txt").write_text("\n".join(pip_part("core")))
    machine.run(f"{PYTHON} -m venv --clear /srv/conda")
    machine.run("/srv/conda/bin/pip install --quiet --requirement /srv/core.txt")
    python = f"PATH=/srv/conda/bin:$PATH PYTHONPATH={clone} python"
    run_five_jobs(machine, f"{python} -m workflow.cli")


def test_pip_finds_all_that_condas_environment_with_cuda_lists(
    machine: Machine, clone: str
) -> None:
    lines = pip_part("inference-cuda")
    (machine.folder / "srv/cuda.txt").write_text("\n".join(lines))
    machine.run(f"{PYTHON} -m venv --clear /srv/conda_cuda")
    install = "/srv/conda_cuda/bin/pip install --quiet --dry-run"
    machine.run(f"{install} --report /srv/cuda.json --requirement /srv/cuda.txt")
    found = json.loads((machine.folder / "srv/cuda.json").read_bytes())["install"]
    assert "jax-cuda12-plugin" in {one["metadata"]["name"] for one in found}


def pip_part(environment: str) -> list[str]:
    """What an environment of conda has from pip."""
    text = (ROOT / f"envs/{environment}.yaml").read_text(encoding="utf-8")
    dependencies = yaml.safe_load(text)["dependencies"]
    return next(part["pip"] for part in dependencies if isinstance(part, dict))


@pytest.mark.parametrize("extras", ["", EXTRAS], ids=["cpu", "cuda"])
def test_the_steps_of_the_images_make_what_runs_five_jobs(
    machine: Machine, clone: str, five_jobs: None, extras: str
) -> None:
    """In a Debian that has the Python of their base image."""
    place = build_image(machine, clone, extras)
    run_five_jobs(machine, f"PATH={PLACE}/.venv/bin:$PATH foldmill")
    has_cuda = list(place.glob(".venv/lib/*/site-packages/jax_cuda12_plugin"))
    assert bool(has_cuda) == bool(extras)


def build_image(machine: Machine, clone: str, extras: str) -> Path:
    """Takes the steps of the Dockerfile; returns where they have put Foldmill."""
    place = machine.folder / PLACE.lstrip("/")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for source, target in docker_copies().items():
        origin = machine.folder / clone.lstrip("/") / source
        copy = shutil.copytree if origin.is_dir() else shutil.copy
        copy(origin, machine.folder / target.lstrip("/"))
    for step in docker_steps(extras):
        machine.run(step, PLACE)
    return place


APPTAINER = """\
#!/bin/sh
# In place of Apptainer, which cannot run here: the image is a folder, and is entered
# with chroot; of the machine it sees the folder that the step runs in.
if [ "$1" = --version ]; then echo apptainer version 1.3.6; exit; fi
while [ "$1" != exec ]; do shift; done
shift
while true; do
    case "$1" in
    --home | --bind | --pwd) shift 2 ;;
    --*) shift ;;
    *) break ;;
    esac
done
image=$1 shell=$2 line=$4
echo "$line" >>"$STEPS"
mkdir -p "$image$PWD"
inside='mount --bind "$1" "$2$1" &&
    exec chroot "$2" env PATH="$5" "$3" -c "cd $1 && $4"'
path="@PLACE@/.venv/bin:/usr/local/bin:/usr/bin:/bin"
exec unshare --mount sh -c "$inside" - "$PWD" "$image" "$shell" "$line" "$path"
"""


def test_snakemake_runs_every_step_inside_the_image(
    machine: Machine, clone: str, tmp_path: Path
) -> None:
    if not (machine.folder / f"{PLACE}/.venv".lstrip("/")).exists():
        build_image(machine, clone, "")
    (tmp_path / "bin").mkdir()
    engine = tmp_path / "bin/apptainer"
    engine.write_text(APPTAINER.replace("@PLACE@", PLACE), encoding="utf-8")
    engine.chmod(0o755)
    inputs = {"one.json": job("one", protein("GSHMKNVT"))}
    search = {"databases": "databases/databases.tsv"}
    campaign = make_campaign(tmp_path / "c", inputs, network=TINY, search=search)
    shutil.copytree(ROOT / "config/demo/databases", campaign / "databases")
    steps = tmp_path / "steps"
    ended = run_campaign(
        campaign,
        *("--sdm", "apptainer"),
        environment={
            "FOLDMILL_IMAGE": str(machine.folder),
            "PATH": f"{engine.parent}:{os.environ['PATH']}",
            "STEPS": str(steps),
        },
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "All 1 jobs have results." in ended.stdout
    ran = steps.read_text(encoding="utf-8")
    for step in ("workflow.plan", "supervise predict", "workflow.report"):
        assert step in ran


def test_the_demo_runs(machine: Machine, clone: str) -> None:
    assert "All 13 jobs have results." in machine.run("make demo", clone)
    assert (machine.folder / "root/foldmill/results/report.html").is_file()


def test_the_tests_pass(machine: Machine, clone: str) -> None:
    said = machine.run("make test", clone, limit=3 * 3600)
    assert " passed" in said
