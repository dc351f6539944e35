"""Makes the mistakes that people make, and writes down what they are told.

    python -m tests.workflow.mistakes > docs/troubleshooting.md

Every mistake is made in a campaign that is otherwise good, and told before anything is
computed. tests/workflow/test_mistakes.py holds the page to what is said today.
"""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from af3_core.model.checkpoint import check_checkpoint
from tests.workflow.campaigns import DATABASES, ROOT, job, make_campaign, protein
from workflow import preflight
from workflow.cli import main

type Change = Callable[[Path, dict[str, Any]], None]
"""Spoils a campaign: its folder, and its configuration, which is written afterwards."""


@dataclass(frozen=True)
class Mistake:
    """One thing done wrong, and the command that tells it."""

    heading: str
    command: tuple[str, ...]
    change: Change
    count: int = 1
    """How many sentences it takes."""
    is_warning: bool = False
    """Whether the campaign can run with it."""
    is_of_full_size: bool = False
    """Whether its small network is to count as one of the published size."""
    is_of_a_guest: bool = False
    """Whether who makes it may write only where every user may."""


def _set(block: str, **keys: object) -> Change:
    def change(folder: Path, settings: dict[str, Any]) -> None:
        settings[block] = {**settings.get(block, {}), **keys}

    return change


def _nothing(folder: Path, settings: dict[str, Any]) -> None:
    """What is wrong is in the command."""


def _truncated(folder: Path, settings: dict[str, Any]) -> None:
    file = folder / "toy.bin.zst"
    file.write_bytes(file.read_bytes()[:-500])


def _other_network(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "toy.config.json").unlink()


def _no_text(folder: Path, settings: dict[str, Any]) -> None:
    settings.clear()
    settings["__text__"] = "inputs: [a.json\nmodel:"


def _three(folder: Path, settings: dict[str, Any]) -> None:
    settings["predict"] = {"dtpye": "bfloat16", "max_tokens": 0}
    settings["scroe"] = {}


def _database_gone(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "databases/uniref90.fasta").unlink()


def _database_changed(folder: Path, settings: dict[str, Any]) -> None:
    with (folder / "databases/mgnify.fasta").open("a") as file:
        file.write(">new\nMKV\n")


def _empty_inputs(folder: Path, settings: dict[str, Any]) -> None:
    for path in (folder / "inputs").iterdir():
        path.unlink()


def _empty_folder(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "empty").mkdir()
    settings["model"]["checkpoint"] = "empty"


def _inputs(*paths: str) -> Change:
    def change(folder: Path, settings: dict[str, Any]) -> None:
        settings["inputs"] = list(paths)

    return change


def _no_config(folder: Path, settings: dict[str, Any]) -> None:
    settings.clear()


def _disk_full(folder: Path, settings: dict[str, Any]) -> None:
    # The kernel's own file system has room for nothing.
    (folder / "full").symlink_to("/proc")
    settings["search"]["store"] = "full/store"


SINFO = """\
cpu|2-00:00:00|250000|(null)
gpu|1-00:00:00|500000|gpu:a100:4
gpu-small|1-00:00:00|250000|gpu:a30:2
"""
"""As `sinfo --format=%R|%l|%m|%G` prints a cluster of three partitions."""
ACCOUNTS = "structural\nteaching\n"
"""As `sacctmgr show associations format=account` prints those of a user."""


def _profile(old: str, new: str) -> Change:
    """A profile of one's own, adapted wrongly, where Slurm answers as recorded."""

    def change(folder: Path, settings: dict[str, Any]) -> None:
        for name, said in (("sinfo", SINFO), ("sacctmgr", ACCOUNTS)):
            program = folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{said}END\n")
            program.chmod(0o755)
        text = (ROOT / "config/profiles/slurm/config.yaml").read_text("utf-8")
        # Predictions come last.
        before, found, after = text.rpartition(old)
        assert found
        (folder / "slurm").mkdir()
        (folder / "slurm/config.yaml").write_text(f"{before}{new}{after}", "utf-8")

    return change


def _large_job(profile: Change) -> Change:
    """Of a network that is as large as the published one is taken to be."""

    def change(folder: Path, settings: dict[str, Any]) -> None:
        profile(folder, settings)
        large = job("large", protein("MKVA" * 1200))
        (folder / "inputs/large.json").write_text(large, encoding="utf-8")
        settings["predict"] = {"dtype": "bfloat16"}

    return change


def _wrong_input(folder: Path, settings: dict[str, Any]) -> None:
    text = job("wrong", protein("MKVAJ*"))
    (folder / "inputs/wrong.json").write_text(text, encoding="utf-8")


def _store_of_others(folder: Path, settings: dict[str, Any]) -> None:
    (folder / "store").mkdir(mode=0o555)


def _all_at_once(folder: Path, settings: dict[str, Any]) -> None:
    settings["model"]["checkpoint"] = "af3.bin.zst"
    settings["search"]["databases"] = "nowhere.tsv"
    settings["score"] = {"references": "known"}


_DEMO = str(ROOT / "config/demo/model/trained.bin.zst")

MISTAKES = (
    Mistake("An unknown command", ("rnu",), _nothing),
    Mistake("A folder that is not there", ("run", "-d", "nowhere"), _nothing),
    Mistake("No configuration", ("run",), _no_config),
    Mistake("A configuration that is not YAML", ("run",), _no_text),
    Mistake("A misspelt setting", ("run",), _set("predict", dtpye="bfloat16")),
    Mistake("A value that does not exist", ("run",), _set("relax", samples="bset")),
    Mistake("A value of the wrong kind", ("run",), _set("plan", max_cluster_jobs="x")),
    Mistake("Three mistakes in one file", ("check",), _three, count=3),
    Mistake("Inputs that are not there", ("run",), _inputs("proteom.fasta")),
    Mistake("A folder without inputs", ("run",), _empty_inputs),
    Mistake("No weights", ("plan",), _set("model", checkpoint="af3.bin.zst")),
    Mistake("A folder without weights", ("plan",), _empty_folder),
    Mistake("Weights cut short", ("check",), _truncated),
    Mistake("Weights of another network", ("check",), _other_network),
    Mistake("No table of databases", ("plan",), _set("search", databases="db.tsv")),
    Mistake("A database that is gone", ("run",), _database_gone),
    Mistake("A database that has changed", ("run",), _database_changed),
    Mistake("No known structures", ("run",), _set("score", references="known")),
    Mistake(
        "The demo's network in a campaign of your own",
        ("check",),
        _set("model", checkpoint=_DEMO),
        is_warning=True,
    ),
    Mistake("An input that cannot be read", ("check",), _wrong_input, is_warning=True),
    Mistake(
        "A store that may only be read",
        ("check",),
        _store_of_others,
        is_warning=True,
        is_of_a_guest=True,
    ),
    # Nobody but root may write there, so others are told that as well.
    Mistake("A disk that is full", ("run",), _disk_full, count=1 + bool(os.getuid())),
    Mistake("No such profile", ("check", "--profile", "slrum"), _nothing),
    Mistake("Slurm where there is none", ("check", "--profile", "slurm"), _nothing),
    Mistake(
        "A partition that the cluster does not have",
        ("run", "--profile", "slurm"),
        _profile("slurm_partition: gpu", "slurm_partition: a100"),
    ),
    Mistake(
        "An account that is not yours",
        ("run", "--profile", "slurm"),
        _profile("# slurm_account: my_group", "slurm_account: my_group"),
    ),
    Mistake(
        "More time than a partition gives",
        ("check", "--profile", "slurm"),
        _profile("max_runtime: 1440", "max_runtime: 4320"),
    ),
    Mistake(
        "Predictions on a partition without a GPU",
        ("check", "--profile", "slurm"),
        _profile("slurm_partition: gpu", "slurm_partition: cpu"),
    ),
    Mistake(
        "A GPU that a partition does not have",
        ("check", "--profile", "slurm"),
        _profile('gres: "gpu:1"', 'gres: "gpu:h200:1"'),
    ),
    Mistake(
        "Predictions that ask for no GPU",
        ("check", "--profile", "slurm"),
        _large_job(_profile('gres: "gpu:1"', "tasks: 1")),
        is_warning=True,
        is_of_full_size=True,
    ),
    Mistake(
        "A GPU that is too small for a job",
        ("check", "--profile", "slurm"),
        _large_job(
            _profile(
                '# cards: "gpu-small gpu:a30:1 24; gpu',
                'cards: "gpu-small gpu:a30:1 24" # ',
            )
        ),
        is_warning=True,
        is_of_full_size=True,
    ),
    Mistake("Several of these", ("run",), _all_at_once, count=3),
)


@dataclass(frozen=True)
class Told:
    """What a command said, and how it ended."""

    status: int
    lines: list[str]
    has_results: bool
    """Whether anything was computed."""


def make(mistake: Mistake, folder: Path) -> Told:
    """Makes a mistake in a new campaign in this folder."""
    shutil.copytree(DATABASES.parent, folder / "databases")
    campaign = make_campaign(folder / "c", {"good.json": job("good", protein("MKVA"))})
    for name in ("toy.bin.zst", "toy.config.json", "inputs"):
        if (campaign / name).exists():
            shutil.move(campaign / name, folder / name)
    settings = yaml.safe_load((campaign / "config.yaml").read_text(encoding="utf-8"))
    settings["search"]["databases"] = "databases/databases.tsv"
    mistake.change(folder, settings)
    if settings:
        text = settings.pop("__text__", None) or yaml.safe_dump(settings)
        (folder / "config.yaml").write_text(text, encoding="utf-8")
    with _inside(folder):
        if mistake.is_of_a_guest:
            status, said = _by_a_guest(mistake.command)
        elif mistake.is_of_full_size:
            network = check_checkpoint(folder / "toy.bin.zst")
            with patch.object(preflight, "ModelConfig", lambda: network):
                status, said = _here(mistake.command)
        else:
            status, said = _here(mistake.command)
    said = said.replace(str(folder), ".").replace(str(ROOT), "FOLDMILL")
    lines = [line for line in said.splitlines() if line.strip()]
    return Told(status, lines, (folder / "results").exists())


def _here(command: Sequence[str]) -> tuple[int, str]:
    """Exit status, and all that was said."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        with contextlib.redirect_stderr(out):
            status = main(list(command))
    return status, out.getvalue()


def _by_a_guest(command: Sequence[str]) -> tuple[int, str]:
    """Likewise, in a process that may not write where only root may."""
    guest = ("/usr/bin/setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    done = subprocess.run(
        [
            *(guest if os.getuid() == 0 else ()),
            *(sys.executable, "-m", "workflow.cli", *command),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": os.defpath},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """In this folder, where no programs are but those that were put into it."""
    before, environment = Path.cwd(), dict(os.environ)
    os.chdir(folder)
    os.environ |= {"PATH": str(folder / "bin"), "LOGNAME": "ada"}
    os.environ.pop("JAX_PLATFORMS", None)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ |= environment


def page(told: list[Told]) -> str:
    """The page for people: what was done, and what they were told."""
    parts = [
        "# Troubleshooting",
        "What a campaign says before anything is computed, by mistake. `foldmill check`"
        " tells all of them at once; `plan` and `run` look first, too, `plan` but for"
        " whether the weights are whole. What goes wrong later has rows with causes and"
        " remedies: [Failures](failures.md).",
    ]
    for mistake, answer in zip(MISTAKES, told, strict=True):
        said = "\n".join(answer.lines)
        command = " ".join(("foldmill", *mistake.command))
        parts.append(f"## {mistake.heading}\n\n```text\n$ {command}\n{said}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    answers = []
    for one in MISTAKES:
        with tempfile.TemporaryDirectory() as name:
            answers.append(make(one, Path(name)))
    print(page(answers), end="")
