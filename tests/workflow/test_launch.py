"""What Snakemake says of failures is found in its own output and repeated."""

import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from workflow.installation import PROFILES
from workflow.launch import Launched, find_failures, find_profile, print_room

FAILING = """
rule all:
    input: "b.txt", "c.txt"

rule predict:
    output: "{name}.txt"
    log: "logs/{name}.log"
    retries: 1
    shell: "echo Traceback > {log}; echo '  File x' >> {log};"
           " echo 'OSError: no space for {wildcards.name}' >> {log}; exit 1"
"""


def launch(folder: Path, *options: str) -> Launched:
    """Snakemake itself, its output in a log."""
    log = folder / "log"
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "1", *options],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return Launched(done.returncode, log)


def test_each_failing_step_is_told_once_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(FAILING, encoding="utf-8")
    ended = launch(tmp_path, "--keep-going")
    assert ended.status != 0
    found = {failure.log: failure for failure in find_failures(ended, tmp_path)}
    assert found.keys() == {tmp_path / "logs/b.log", tmp_path / "logs/c.log"}
    for path, failure in found.items():
        assert failure.what == "predict failed:"
        assert failure.said[-1].strip() == f"OSError: no space for {path.stem}"


def test_a_wrong_option_is_told_by_snakemakes_own_sentence(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(FAILING, encoding="utf-8")
    ended = launch(tmp_path, "--no-such-option")
    (failure,) = find_failures(ended, tmp_path)
    assert "--no-such-option" in "".join(failure.said)


def test_a_broken_snakefile_is_told(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text("rule all:\n    input: nothing\n", "utf-8")
    ended = launch(tmp_path)
    (failure,) = find_failures(ended, tmp_path)
    assert "nothing" in "".join(failure.said)


MAKING_ROOM = """
rule all:
    input: "1a.room"

rule make_room:
    output: "{seen}.room"
    log: "logs/make_room/{seen}.log"
    shell: "for n in `seq 30`; do echo damaged, removed: [/b] $n; done 2>&1 > {log};"
           " touch {output}"

rule verdict:
    output: "verdict"
    shell: "exit 1"
"""


def test_what_is_removed_is_said_where_people_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Snakefile").write_text(MAKING_ROOM, encoding="utf-8")
    ended = launch(tmp_path)
    assert ended.status == 0 and ended.has_verdict
    print_room(ended, tmp_path, Console(width=300))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "damaged, removed: [/b] 1" and len(lines) == 21
    assert lines[-1] == f"… and 10 more: {tmp_path}/logs/make_room/1a.log"


def test_a_run_without_a_verdict_says_nothing_of_an_earlier_ones(
    tmp_path: Path,
) -> None:
    (tmp_path / "Snakefile").write_text(MAKING_ROOM, encoding="utf-8")
    assert launch(tmp_path, "verdict").has_verdict
    (tmp_path / "Snakefile").write_text(FAILING, encoding="utf-8")
    assert not launch(tmp_path).has_verdict


def test_profiles_of_campaign_and_user_go_before_the_one_we_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "campaign"
    assert find_profile("slurm", folder) == (PROFILES / "slurm").resolve()
    for place in (tmp_path / "home/.config/snakemake/slurm", folder / "slurm"):
        place.mkdir(parents=True)
        assert find_profile("slurm", folder) == place.resolve()
    assert find_profile("mine", folder) == "mine"
