"""Every command line of the documentation does what the page says, as it is written.

The pages' lines run one after the other in a folder that stands for the machine of a
user: `/data`, `/fast` and `/scratch` lie in it, and the servers that databases and
weights come from are here. What cannot run here is named with the test that runs it.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
import zstandard

from af3_core.model.checkpoint import write_random_checkpoint
from tests.af3_core.model.state_dicts import write_torch
from tests.af3_core.model.test_imports import SMALL, tensors
from tests.af3_core.model.tiny import TINY
from tests.test_root import IN_A_ROOT
from tests.workflow.campaigns import DATABASES, QUICK_COMPILE, ROOT
from workflow import weights
from workflow.cli import main
from workflow.databases.fetch import FILES, STRUCTURES

PAGES = (
    *("README.md", "docs/index.md", "docs/databases.md", "docs/weights.md"),
    *("docs/report.md", "docs/screens.md", "docs/failures.md", "docs/planning.md"),
    *("docs/cluster.md", "docs/training.md", "docs/upgrading.md", "CONTRIBUTING.md"),
    "config/demo/model/MODEL_CARD.md",
)
"""In the order in which a user comes to them."""
ELSEWHERE = {
    "snakemake --profile slurm": "tests/slurm/campaign.py",
    "foldmill import-server https://api.colabfold.com --label colabfold": (
        "tests/workflow/test_msa_server.py"
    ),
    **dict.fromkeys(
        (
            "foldmill run --directory /scratch/mine --profile slurm",
            "foldmill run --directory /scratch/my_campaign --profile slurm",
        ),
        "tests/slurm/test_live.py",
    ),
    **dict.fromkeys(IN_A_ROOT, "tests/test_root.py"),
}
"""Lines that another test runs."""
SHOWN = ("warning: pooled rows",)
"""How lines begin that are no commands but what one says."""
FILES_OF = dict(
    zip(
        FILES,
        (
            *("uniref90", "small_bfd", "mgnify", "uniprot"),
            *("rfam", "rnacentral", "nt_rna", "pdb_seqres"),
        ),
        strict=True,
    )
)
"""The demo's database that stands for each published file."""


def commands_of(page: str) -> list[str]:
    """The lines of a page's blocks of shell, without what is commented."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found: list[str] = []
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        pending = ""
        for line in block.replace("\\\n", " ").splitlines():
            pending += line
            if pending.count('"') % 2 == 0:
                found.append(" ".join(re.sub(r"\s#\s.*", "", pending).split()))
                pending = ""
    return [line for line in found if line and not line.startswith(SHOWN)]


def test_pictures_are_those_that_the_script_takes() -> None:
    script = (ROOT / "docs/screenshots.py").read_text(encoding="utf-8")
    taken = set(re.findall(r'out / "(\w+\.png)"', script))
    pages = (ROOT / "docs").glob("*.md")
    shown = {
        name
        for page in pages
        for name in re.findall(r"\(images/(\w+\.png)\)", page.read_text("utf-8"))
    }
    assert taken == shown == {path.name for path in (ROOT / "docs/images").iterdir()}


def test_no_page_with_commands_is_left_out() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "config/README.md"]
    with_commands = {
        str(page.relative_to(ROOT))
        for page in pages
        if commands_of(str(page.relative_to(ROOT)))
    }
    assert with_commands <= {*PAGES, "config/README.md"}


def inline_commands() -> list[tuple[str, str]]:
    """Page and text of every command that stands within a sentence."""
    words = r"foldmill|make|snakemake|python -m|sh envs|\.venv/bin/python -m"
    pages = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
    ]
    return [
        (page.name, command)
        for page in sorted(pages)
        for command in re.findall(
            rf"`((?:{words}) [^`\n]+)`", page.read_text(encoding="utf-8")
        )
    ]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's machine: databases and weights to fetch, a proteome, folders."""
    folder = tmp_path_factory.mktemp("machine")
    for name in ("data/alphafold3", "fast", "scratch", "server"):
        (folder / name).mkdir(parents=True)
    for published, name in FILES_OF.items():
        content = (DATABASES.parent / f"{name}.fasta").read_bytes()
        (folder / "data/alphafold3" / published).write_bytes(content)
        (folder / "server" / f"{published}.zst").write_bytes(
            zstandard.ZstdCompressor(write_checksum=True).compress(content)
        )
    shutil.copytree(
        DATABASES.parent / "pdb_mmcif", folder / "data/alphafold3/mmcif_files"
    )
    command = ["tar", "-cf", "-", "mmcif_files"]
    tar = subprocess.run(
        command, cwd=folder / "data/alphafold3", capture_output=True, check=True
    )
    packed = zstandard.compress(tar.stdout)
    (folder / "server" / f"{STRUCTURES}.zst").write_bytes(packed)
    write_random_checkpoint(folder / "data/af3.bin.zst", TINY, seed=1)
    shutil.copy(folder / "data/af3.bin.zst", folder / "server/af3.bin.zst")
    write_torch(folder / "of3-ob-2025-06-30-174k.pt", tensors())
    shutil.copy(folder / "of3-ob-2025-06-30-174k.pt", folder / "server/of3.pt")
    crambin = "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN"
    (folder / "proteome.fasta").write_text(f">crambin\n{crambin}\n>short\nGSHMKNVT\n")
    return folder


@pytest.fixture(scope="module")
def address(machine: Path) -> Iterator[str]:
    """Of the server that databases and weights come from."""
    handler = partial(Quiet, directory=machine / "server")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """A server that says nothing."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a tiny network stand for the published ones, which have gigabytes."""
    monkeypatch.setattr(weights, "ModelConfig", lambda: TINY)
    real = weights.import_openfold3
    monkeypatch.setattr(
        weights, "import_openfold3", lambda source, target: real(source, target, SMALL)
    )


@pytest.mark.long
def test_every_command_of_the_pages_runs(
    machine: Path,
    address: str,
    small_networks: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XLA_FLAGS", QUICK_COMPILE["XLA_FLAGS"])
    weights_at = f"--accept-terms --address {address}"
    more = {
        "foldmill databases fetch": f"--address {address} --yes",
        "foldmill weights fetch openfold3": f"{weights_at}/of3.pt",
        "foldmill weights fetch alphafold3": f"{weights_at}/af3.bin.zst",
        # Nothing here can be submitted to LSF; its jobs are listed.
        "foldmill run --directory /scratch/my_campaign --profile lsf": "-n",
    }
    done, failed = [], {}
    for page in PAGES:
        campaign = machine / "scratch/mine"
        is_of_a_campaign = page.split("/")[-1] in (
            *("report.md", "screens.md", "planning.md", "MODEL_CARD.md", "failures.md"),
        )
        os.chdir(campaign if is_of_a_campaign else machine)
        for line in commands_of(page):
            if line in ELSEWHERE or line.startswith(("make ", "source ")):
                continue
            extra = next((m for c, m in more.items() if line.startswith(c)), "")
            command = f"{line} {extra}"
            for name in ("data", "fast", "scratch"):
                command = re.sub(rf"(?<= )/{name}\b", f"{machine}/{name}", command)
            if line.startswith("foldmill init") and (campaign / "config.yaml").exists():
                continue  # the same line on two pages
            status = run(command, campaign)
            said = capfd.readouterr()
            if status:
                failed[f"{page}: {line}"] = said.out + said.err
            if line.startswith("foldmill init"):
                make_small(campaign)
            done.append(line)
    assert not failed, "\n\n".join(map(": ".join, failed.items()))
    assert len(done) >= 25
    assert "foldmill run --directory /scratch/mine" in done


def run(command: str, campaign: Path) -> int:
    """Runs a line of a page; returns its exit status."""
    store = campaign.parents[1] / "store"
    if (campaign / "store").is_dir() and not store.exists():
        store.symlink_to(campaign / "store")
    for name in ("my_campaign", "campaign_a", "campaign_b"):
        for place in (campaign.parent / name, campaign / name):
            if campaign.is_dir() and not place.exists():
                place.symlink_to(campaign)
    words = shlex.split(command)
    if words[0].endswith("foldmill"):
        return main(words[1:])
    if "-m" in words:
        # A training takes hours: that its options are known has to do.
        return subprocess.run(
            [".venv/bin/python", *words[1:], "--help"], cwd=ROOT
        ).returncode
    plain = command.replace("<batch>", "*")
    return subprocess.run(["sh", "-c", plain]).returncode


def make_small(campaign: Path) -> None:
    """What a network that means nothing need not do often."""
    file = campaign / "config.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    settings["model"] |= {
        "num_recycles": 0,
        "num_diffusion_steps": 3,
        "num_samples": 1,
    }
    settings["predict"] = {"dtype": "float32", "buckets": [48]}
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")


@pytest.mark.parametrize("line", ELSEWHERE)
def test_what_another_test_runs_stands_there(line: str) -> None:
    assert any(line in commands_of(page) for page in PAGES)
    text = (ROOT / ELSEWHERE[line]).read_text(encoding="utf-8")
    what = line.split()[1] if line.startswith("foldmill") else line.split()[-1]
    assert what in text


def test_targets_of_make_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    named = set()
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        named |= set(re.findall(r"\bmake ([a-z-]+)\b(?=[ `;,.)])", text))
    known = {name for name in named if name in targets}
    assert {"setup", "dev", "demo", "test", "check"} <= known
    blocks = [line for page in PAGES for line in commands_of(page)]
    for line in blocks:
        for target in re.findall(r"\bmake ([a-z-]+)", line):
            assert target in targets, line


def test_hosted_checks_call_targets_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    called = set()
    for file in (ROOT / ".github/workflows").glob("*.yml"):
        jobs = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"]
        steps = [step for job in jobs.values() for step in job["steps"]]
        lines = " ".join(step.get("run", "") for step in steps)
        called |= set(re.findall(r"\bmake ([\w-]+)", lines))
    assert called <= targets
    truth = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert set(re.findall(r"^make ([\w-]+)", truth, re.MULTILINE)) <= called


@pytest.mark.parametrize(("page", "command"), inline_commands())
def test_a_command_within_a_sentence_is_known(
    page: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command.split()
    if words[0] == "foldmill":
        plain = [word for word in words[1:] if re.fullmatch(r"[a-z0-9]+", word)]
        groups = ("databases", "weights", "store")
        path = plain[: 2 if plain and plain[0] in groups else 1]
        assert main([*path, "--help"]) == 0, command
        help_page = capsys.readouterr().out
        if path and path[0] in ("run", "retry", "export"):
            return  # options of other programs may follow
        for option in re.findall(r"--[\w-]+", command):
            assert option in help_page, f"{page}: {command}"
    elif "-m" in words:
        module = words[words.index("-m") + 1]
        assert "<" in module or importlib.util.find_spec(module), f"{page}: {command}"
    elif words[0] == "sh":
        assert (ROOT / words[1]).is_file()
        extra = words[-1]
        assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
