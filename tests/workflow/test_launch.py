"""What Snakemake says of failures is found in its own output and repeated."""

import subprocess
import sys
from pathlib import Path

from workflow.launch import Launched, find_failures, find_profile

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


def test_a_profile_of_the_campaign_goes_before_the_one_we_bring(
    tmp_path: Path,
) -> None:
    assert Path(find_profile("slurm", tmp_path)).name == "slurm"
    (tmp_path / "slurm").mkdir()
    assert find_profile("slurm", tmp_path) == (tmp_path / "slurm").resolve()
    assert find_profile("mine", tmp_path) == "mine"
