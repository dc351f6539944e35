"""The command line: plans are shown, mistakes are told in one line."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from tests.workflow.campaigns import (
    DATABASES,
    ROOT,
    job,
    protein,
    toy_checkpoint,
)
from workflow import alignments, figures, query, timeline
from workflow.campaign import Campaign
from workflow.cli import app, main
from workflow.init import write_demo
from workflow.report import __main__ as report
from workflow.settings import read_settings

HERE = Campaign()
"""The campaign in the current folder."""


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A campaign of one good and one broken input, never run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inputs").mkdir()
    for name, data in toy_checkpoint().items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "inputs/good.json").write_text(job("good", protein("MKV" * 20)))
    (tmp_path / "inputs/bad.json").write_text("{")
    return tmp_path


def configure(folder: Path, databases: Path) -> None:
    settings = {
        "inputs": ["inputs"],
        "search": {"databases": str(databases)},
        "model": {"checkpoint": "toy.bin.zst"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def test_a_plan_says_what_will_run_and_what_will_not(campaign: Path, capsys) -> None:
    configure(campaign, DATABASES)
    assert main(["plan", "--directory", str(campaign)]) == 0
    shown = capsys.readouterr().out
    for part in (
        "Jobs: 1, with seeds 1",
        "hours of NVIDIA A100-SXM4-80GB (published, not measured here)",
        "with AlphaFold 3's default buckets",
        "Refused inputs: 1 (1 unreadable or wrong)",
        "refused: inputs/bad.json",
    ):
        assert part in shown
    assert not (campaign / "results").exists()


def test_a_wrong_path_is_told_in_one_line(campaign: Path, capsys) -> None:
    configure(campaign, campaign / "nowhere.tsv")
    assert main(["plan", "--directory", str(campaign)]) != 0
    shown = capsys.readouterr().err
    assert "nowhere.tsv: databases:" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (alignments, ["a3m", "folder"]),
        (figures, ["--out", "figures"]),
        (report, []),
        (timeline, []),
        (query, ["SELECT max(ptm) FROM scores"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_where_no_campaign_is_a_program_says_so(
    program, arguments, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert program.main(arguments) == 2
    told = capsys.readouterr().err
    assert "allowed: " in told or "Campaigns with results have: scores" in told


def command_names(group: typer.Typer, before: str = "") -> list[str]:
    """All commands, those of groups as `GROUP COMMAND`."""
    names = [
        f"{before}{command.name or command.callback.__name__}"
        for command in group.registered_commands
    ]
    for sub in group.registered_groups:
        names += command_names(sub.typer_instance, f"{sub.name} ")
    return names


def foldmill(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "workflow.cli", *arguments],
        capture_output=True,
        encoding="latin-1",
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", command_names(app))
def test_help_of_every_command_fits_a_screen_and_says_what_it_does(
    command: str, capsys
) -> None:
    assert main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: foldmill {command}" in shown
    assert len(shown.splitlines()) <= 32
    assert f"\n    foldmill {command}" in shown, "an example"


@pytest.mark.parametrize("group", [(), ("databases",), ("store",), ("weights",)])
def test_lists_of_commands_fit_a_screen_and_say_each_in_full(
    group: tuple[str, ...], capsys
) -> None:
    main([*group, "--help"])
    shown = capsys.readouterr().out
    assert "..." not in shown.replace("[ARGS]...", "")
    assert len(shown.splitlines()) <= 40


def test_an_unknown_command_is_named(capsys) -> None:
    assert main(["rnu"]) == 2
    assert "'rnu'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["gone", "a[/b]c", "[red]", "é"])
def test_a_folder_that_is_not_there_is_one_sentence(name: str) -> None:
    for command in ("run", "plan", "check", "timeline", "report"):
        done = foldmill(
            command, "--directory", name, environment={"PYTHONIOENCODING": "latin-1"}
        )
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert "--directory" in done.stderr
        assert "Traceback" not in done.stderr + done.stdout


def test_letters_that_the_terminal_lacks_are_shown_otherwise(campaign: Path) -> None:
    configure(campaign, campaign / "datenbänke_日本.tsv")
    done = foldmill(
        *("plan", "--directory", str(campaign)),
        environment={"PYTHONIOENCODING": "latin-1"},
    )
    assert done.returncode == 2
    assert "datenbänke_\\u65e5\\u672c.tsv: databases" in done.stderr


def test_all_mistakes_of_a_configuration_are_told_at_once(
    campaign: Path, capsys
) -> None:
    configure(campaign, DATABASES)
    file = campaign / "config.yaml"
    raw = yaml.safe_load(file.read_text())
    raw |= {"predict": {"dtpye": "bfloat16", "max_tokens": -1}, "socre": {}}
    file.write_text(yaml.safe_dump(raw))
    assert main(["check", "--directory", str(campaign)]) == 2
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 3
    assert "did you mean dtype?" in "".join(told)
    assert "did you mean score?" in "".join(told)


@pytest.mark.parametrize(
    ("text", "field"), [("a: [", "line 1"), ("{}", "inputs"), ("- x", "file")]
)
def test_a_configuration_that_is_none_is_told(
    campaign: Path, capsys, text: str, field: str
) -> None:
    (campaign / "config.yaml").write_text(text)
    assert main(["run", "--directory", str(campaign)]) == 2
    assert field in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        (("re",), {"retry", "report", "results"}),
        (("databases", "f"), {"fetch"}),
        (("run", "--prof"), {"--profile"}),
        (("weights", ""), {"import", "show", "fetch"}),
    ],
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands(typed: tuple[str, ...], completions: set[str]) -> None:
    """With the lines that `--install-completion` puts where bash reads them."""
    script = """
        eval "$(foldmill --show-completion)"
        COMP_WORDS=(foldmill "$@") COMP_CWORD=$#
        $(complete -p foldmill | sed 's/.*-F \\(\\w*\\).*/\\1/') foldmill
        echo "${COMPREPLY[@]}"
    """
    programs = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-c", script, "bash", *typed],
        env={
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == completions


def test_versions_of_what_computes_are_said(capsys) -> None:
    assert main(["version"]) == 0
    said = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert said["jax"] == importlib.metadata.version("jax")


def test_the_demo_can_be_written_anywhere(tmp_path: Path) -> None:
    config = write_demo(tmp_path)
    settings = read_settings(config)
    named = (
        *settings.inputs,
        settings.search.databases,
        settings.model.checkpoint,
        settings.score.references,
    )
    assert all(path is not None and path.exists() for path in named)
    assert not settings.search.store.is_absolute()
