"""What is made again: exactly what depends on what has changed, or is damaged."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from rich.console import Console

from af3_core.contracts import TIMINGS
from af3_core.job import Job
from tests.workflow.finished import (
    HERE,
    JOBS,
    changed,
    finish,
    made_again,
    settings_here,
    write_inputs,
)
from workflow.collect import collect_tables
from workflow.dag import Batches
from workflow.engine.journal import Journal
from workflow.plan import main, make_plan, write_plan
from workflow.planning.batching import PlannedJob
from workflow.resources import Limits
from workflow.retry import ask_for_retry
from workflow.sources import current_plan, find_damage
from workflow.step import read_plan
from workflow.summary import print_results
from workflow.survey import make_room, survey, verdict_path
from workflow.tables import write_table
from workflow.verdict import main as verdict

OF_JOB = ("featurise", "predict", "relax", "score", "export")
PROTEINS = ("uniref90", "small_bfd", "mgnify", "uniprot")


def stages(first: str, *jobs: str) -> set[str]:
    """A stage of these jobs, all that come after it, and the tables."""
    late = OF_JOB[OF_JOB.index(first) :]
    return {f"{stage} {job}" for stage in late for job in jobs} | {"tables"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign of four jobs that is complete."""
    folder = tmp_path_factory.mktemp("survey") / "c"
    write_inputs(folder)
    before = Path.cwd()
    os.chdir(folder)
    finish()
    os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def _here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(folder)
    assert made_again()[0] == set()
    yield
    os.chdir(folder)
    assert made_again()[0] == set(), "changed back, and no run between"


def swapped(old: str, new: str) -> Callable[[bytes], bytes]:
    def swap(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return swap


def digest_of_row(name: str) -> Callable[[bytes], bytes]:
    """The table of databases with another digest of one of them."""

    def change(content: bytes) -> bytes:
        lines = content.decode().splitlines()
        column = lines[0].split("\t").index("database_digest")
        for number, line in enumerate(lines):
            values = line.split("\t")
            if values[0] == name:
                values[column] = values[column][::-1]
                lines[number] = "\t".join(values)
        return ("\n".join(lines) + "\n").encode()

    return change


OF_VILLIN = stages("featurise", "villin")
CHANGES: dict[str, tuple[str, Callable[[bytes], bytes] | None, set[str]]] = {
    "an input": (
        "inputs/given.json",
        swapped("GSHMKNVTWY", "GSHMKNVTWW"),
        stages("featurise", "given"),
    ),
    "a linked alignment": (
        "a.a3m",
        swapped("MLSDEDFR", "MLSDEDFQ"),
        stages("featurise", "linked"),
    ),
    "a linked template": (
        "t.cif",
        swapped("2000-01-01", "2000-01-02"),
        stages("featurise", "linked"),
    ),
    "a linked component": (
        "u.cif",
        swapped("my own", "another"),
        stages("featurise", "linked"),
    ),
    "weights": ("toy.bin.zst", lambda _: b"WEIGHTS", stages("predict", *JOBS)),
    "their configuration": (
        "toy.config.json",
        lambda _: b'{"num_blocks": 1}',
        stages("predict", *JOBS),
    ),
    "no configuration": ("toy.config.json", None, stages("predict", *JOBS)),
    "a reference": (
        "references/given.pdb",
        swapped("given", "other"),
        stages("score", "given"),
    ),
    "no reference": ("references/villin.pdb", None, stages("score", "villin")),
    "a new reference": (
        "references/linked.pdb",
        lambda _: b"REMARK\n",
        stages("score", "linked"),
    ),
    "a database of alignments": (
        "databases.tsv",
        digest_of_row("uniref90"),
        {"search uniref90", "templates", *OF_VILLIN},
    ),
    "a database of paired alignments": (
        "databases.tsv",
        digest_of_row("uniprot"),
        {"search uniprot", *OF_VILLIN},
    ),
    "a database of RNA": (
        "databases.tsv",
        digest_of_row("rfam"),
        {"search rfam", *stages("featurise", "riboswitch")},
    ),
    "a database of templates": (
        "databases.tsv",
        digest_of_row("pdb_seqres"),
        {"templates", *OF_VILLIN},
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_depends_on_a_changed_file_is_made_again_and_no_more(what: str) -> None:
    name, change, expected = CHANGES[what]
    path = Path(name)
    before = path.read_bytes() if path.is_file() else b""
    with changed(path, None if change is None else change(before)):
        assert made_again()[0] == expected


@pytest.mark.parametrize("what", ["an input", "weights", "a reference"])
def test_a_file_that_has_only_another_date_changes_nothing(what: str) -> None:
    path = Path(CHANGES[what][0])
    with changed(path, path.read_bytes()):
        assert made_again()[0] == set()


SEARCHES = {f"search {name}" for name in (*PROTEINS, "rfam", "nt_rna", "rnacentral")}
SETTINGS: dict[str, tuple[dict[str, object], set[str]]] = {
    "relax.samples": ({"relax": {"samples": "none"}}, stages("relax", *JOBS)),
    "relax.keep_hydrogens": (
        {"relax": {"keep_hydrogens": True}},
        stages("relax", *JOBS),
    ),
    "predict.dtype": ({"predict": {"dtype": "bfloat16"}}, stages("predict", *JOBS)),
    "model.num_recycles": ({"model": {"num_recycles": 7}}, stages("predict", *JOBS)),
    "model.recycle_tolerance": (
        {"model": {"recycle_tolerance": 0.1}},
        stages("predict", *JOBS),
    ),
    "model.num_samples": ({"model": {"num_samples": 7}}, stages("predict", *JOBS)),
    "features": (
        {"features": {"resolve_msa_overlaps": False}},
        stages("featurise", *JOBS),
    ),
    "score.rank_by": ({"score": {"rank_by": "ptm"}}, stages("export", *JOBS)),
    "export.zip": ({"export": {"zip": True}}, stages("export", *JOBS) - {"tables"}),
    "predict.batch_minutes": ({"predict": {"batch_minutes": 9}}, set()),
    "search.threads": ({"search": {"threads": 7}}, set()),
    "predict.attention": ({"predict": {"attention": "xla"}}, set()),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_what_a_setting_bears_on_is_made_again_and_no_more(what: str) -> None:
    change, expected = SETTINGS[what]
    assert made_again(settings_here(**change))[0] == expected


def test_another_profile_of_searching_makes_what_was_searched_again() -> None:
    found, _ = made_again(settings_here(search={"profile": "server"}))
    jobs = stages("featurise", "villin", "riboswitch")
    assert found & SEARCHES == {name for name in found if name.startswith("search")}
    assert found - SEARCHES == {"templates", *jobs}


def test_a_job_that_is_taken_out_changes_the_tables_alone() -> None:
    with changed(Path("inputs/given.json"), None):
        assert made_again()[0] == {"tables"}


def test_an_input_that_cannot_be_read_any_more_is_refused_and_in_the_tables() -> None:
    with changed(Path("inputs/given.json"), b"{"):
        assert made_again()[0] == {"tables"}


def test_another_seed_makes_its_own_prediction_only() -> None:
    change = swapped('"modelSeeds": [1]', '"modelSeeds": [1, 2]')
    path = Path("inputs/given.json")
    with changed(path, change(path.read_bytes())):
        found, seen = made_again()
        predicted = {batch for stage, batch in seen.stale if stage == "predict"}
        assert not predicted
    assert "featurise given" in found and "predict given" in found


def results() -> list[Path]:
    """Files that hold something, but for what only says so."""
    return sorted(
        path
        for path in Path("results").rglob("*")
        if path.is_file() and path.stat().st_size and path.suffix != ".planned"
    )


def test_no_byte_of_a_result_can_change_unnoticed() -> None:
    chosen = random.Random(1)
    for _ in range(60):
        path = chosen.choice(results())
        content = bytearray(path.read_bytes())
        place = chosen.randrange(len(content))
        content[place] ^= 1 << chosen.randrange(8)
        if path.suffix == ".json":
            continue  # a digit of a date may be the same number: see test_tables
        before = path.read_bytes()
        path.write_bytes(content)
        found, seen = made_again()
        is_plan = path.parent.name == "plan"
        assert is_plan or (path in seen.damaged and found), path
        path.write_bytes(before)


def test_no_file_of_a_result_can_be_emptied_unnoticed() -> None:
    for path in results():
        before = path.read_bytes()
        path.write_bytes(b"")
        if path.parent.name == "plan":
            assert find_damage(HERE), path
            assert current_plan(HERE, settings_here()).jobs
        else:
            assert path in made_again()[1].damaged, path
        path.write_bytes(before)


@pytest.mark.parametrize("stage", ["featurise", "predict", "relax", "score", "export"])
def test_outcomes_that_are_gone_are_made_again_and_nothing_after_them(
    stage: str,
) -> None:
    path = next(Path("results", stage).glob("*.parquet"))
    with changed(path, None):
        found, _ = made_again()
        assert len(found - {"tables"}) == 1


def test_looking_changes_no_file() -> None:
    def tree() -> dict[str, tuple[int, bytes]]:
        return {
            str(path): (path.stat().st_mtime_ns, path.read_bytes())
            for path in Path().rglob("*")
            if path.is_file()
        }

    before = tree()
    made_again(settings_here(relax={"samples": "none"}))
    with changed(Path("inputs/given.json"), None):
        made_again()
    after = tree()
    assert after.keys() == before.keys()
    assert all(after[name][1] == before[name][1] for name in before)


def test_room_is_made_for_what_is_stale_and_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = next(Path("results/predictions").glob("*"))
    (batch,) = (
        name for name, b in read_plan(HERE).jobs.items() if path.stem in b.items
    )
    path.write_bytes(b"")
    seen = survey(HERE, read_plan(HERE), settings_here())
    make_room(HERE, seen)
    assert not path.exists() and not HERE.outcomes("predict", batch).exists()
    said = capsys.readouterr().err
    assert "predictions: a file is damaged" in said and str(path) in said
    finish()


def test_what_failed_stands_until_another_try_is_asked_for(tmp_path: Path) -> None:
    write_inputs(tmp_path / "c")
    os.chdir(tmp_path / "c")
    finish(failed={("predict", "given"): "gpu_memory"})
    assert made_again()[0] == set()
    assert ask_for_retry(HERE, read_plan(HERE)) == 1
    again = {"predict given", "relax given", "score given", "export given"}
    assert made_again()[0] == again
    plan = read_plan(HERE)
    (batch,) = (
        name
        for name, b in plan.jobs.items()
        if any(plan.about[i.partition(".")[0]].name == "given" for i in b.items)
    )
    Journal(HERE.journal("predict", batch)).write("closed")
    assert made_again()[0] == set()


def test_a_batch_that_was_never_begun_is_planned_anew(tmp_path: Path) -> None:
    write_inputs(tmp_path / "c")
    os.chdir(tmp_path / "c")
    write_plan(HERE, settings_here())
    first = set(read_plan(HERE).jobs)
    write_plan(HERE, settings_here(predict={"batch_minutes": 600}))
    assert len(read_plan(HERE).jobs) == 1 < len(first)
    finish()
    begun = set(read_plan(HERE).jobs)
    write_plan(HERE, settings_here(predict={"batch_minutes": 600}))
    assert set(read_plan(HERE).jobs) == begun


def test_a_plan_that_comes_out_otherwise_than_the_rules_were_made_of_stops() -> None:
    settings = settings_here()
    before = Path("results/plan/plan.json").read_bytes()
    with pytest.raises(ValueError, match="edited while the campaign was being planned"):
        write_plan(HERE, settings, "another")
    assert Path("results/plan/plan.json").read_bytes() == before


def test_an_input_that_is_edited_while_another_is_read_is_seen_by_the_next_plan(
    tmp_path: Path,
) -> None:
    write_inputs(tmp_path / "c")
    os.chdir(tmp_path / "c")
    path = Path("inputs/given.json")

    def edit(planned: PlannedJob, job: Job) -> None:
        if planned.name == "linked":
            path.write_text(path.read_text().replace("GSHMKNVTWY", "GSHMKNVTWW"))

    made = make_plan(HERE, settings_here(), None, edit)
    assert {job.name for job in made.jobs} == set(JOBS)
    assert not made.files.are_unchanged()


def test_settings_may_be_longer_than_a_command_line(tmp_path: Path) -> None:
    write_inputs(tmp_path / "c")
    os.chdir(tmp_path / "c")
    config = yaml.safe_load(Path("config.yaml").read_text())
    config["inputs"] += [f"inputs/{number:050}.json" for number in range(2600)]
    Path("config.yaml").write_text(yaml.safe_dump(config))
    assert Path("config.yaml").stat().st_size > 128 * 1024
    assert main(["--configfile", "config.yaml"]) == 0
    assert len(read_plan(HERE).about) == len(JOBS)


def test_a_job_larger_than_every_bucket_is_one_refused_row() -> None:
    found, _ = made_again(settings_here(predict={"buckets": [32]}))
    assert "tables" in found and not any("villin" in name for name in found)


def test_times_that_are_damaged_are_removed_even_if_all_else_is_too() -> None:
    (name, *_) = read_plan(HERE).jobs
    path = HERE.timings(name)
    write_table(path, TIMINGS, TIMINGS.table([]))
    content = path.read_bytes()
    path.write_bytes(content[:50] + b"x" + content[51:])
    outcomes = HERE.outcomes("predict", name)
    before = outcomes.read_bytes()
    outcomes.write_bytes(before[:50] + b"x" + before[51:])
    _, seen = made_again()
    assert {path, outcomes} <= set(seen.damaged)
    outcomes.write_bytes(before)
    path.unlink()


def model_of(name: str) -> Path:
    """What is exported of a job of these campaigns."""
    return HERE.folders / name / f"{name}_model.cif"


@pytest.mark.parametrize("content", [None, b"data_giben\n", b""])
def test_an_exported_file_that_is_gone_or_damaged_is_exported_again(
    content: bytes | None,
) -> None:
    with changed(model_of("given"), content):
        found, seen = made_again()
        assert found == {"export given"}
        assert seen.damaged == ([] if content is None else [model_of("given")])


EDITS = {
    "changed": swapped("GSHMKNVTWY", "GSHMKNVTWW"),
    "refused": lambda _: b"{",
    "taken out": lambda _: None,
}


@pytest.mark.parametrize("what", EDITS)
def test_what_was_exported_of_a_job_as_it_was_is_removed_before_it_is_exported_anew(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_inputs(tmp_path / "c")
    os.chdir(tmp_path / "c")
    finish()
    path = Path("inputs/given.json")
    content = EDITS[what](path.read_bytes())
    path.unlink() if content is None else path.write_bytes(content)
    settings = settings_here()
    seen = survey(HERE, current_plan(HERE, settings), settings)
    assert seen.orphans == ["given"] and model_of("given").exists()
    write_plan(HERE, settings)
    make_room(HERE, seen)
    assert "removed what was exported of given before: 1 files" in (
        capsys.readouterr().err
    )
    assert not model_of("given").parent.exists() and model_of("villin").exists()
    batches = Batches(HERE, read_plan(HERE), seen, Limits({}), "planned")
    for name in read_plan(HERE).jobs:
        if not HERE.outcomes("export", name).exists():
            waits_for = batches.inputs("export")(SimpleNamespace(batch=name))
            assert set(batches.room) < set(waits_for)


def conclude() -> None:
    """Writes tables, a page and the verdict, if it is a good one."""
    collect_tables(HERE)
    HERE.report.write_text("a page")
    conclude_again()


def conclude_again() -> int:
    return verdict(["--out", str(verdict_path(HERE))])


def test_a_verdict_is_of_its_tables_whatever_the_dates(tmp_path: Path) -> None:
    """Of an earlier run, when the next one ends between tables and verdict, and the
    clock was put back meanwhile."""
    write_inputs(tmp_path / "c")
    os.chdir(tmp_path / "c")
    finish()
    conclude()
    assert made_again()[0] == set() and verdict_path(HERE).is_file()
    for batch in read_plan(HERE).jobs:
        for stage in ("predict", "relax", "score", "export"):
            HERE.outcomes(stage, batch).unlink()
    earlier = verdict_path(HERE).read_text()
    finish(failed={("predict", "given"): "gpu_memory"})
    verdict_path(HERE).write_text(earlier)
    for path in (*HERE.tables.iterdir(), HERE.report):
        os.utime(path, (0, 0))
    assert made_again()[0] == {"report"}
    make_room(HERE, made_again()[1])
    assert not verdict_path(HERE).exists()
    assert conclude_again() == 1 and not verdict_path(HERE).exists()


def test_a_verdict_does_not_outlive_what_it_is_of(tmp_path: Path) -> None:
    write_inputs(tmp_path / "c")
    os.chdir(tmp_path / "c")
    finish()
    conclude()
    text = verdict_path(HERE).read_text()
    assert text.startswith("All ")
    for damaged in (f"x{text[1:]}", text[:-1], ""):
        with changed(verdict_path(HERE), damaged.encode()):
            assert made_again()[0] == {"report"}
    with changed(HERE.report, None):
        assert made_again()[0] == {"report"}
    with changed(HERE.tables / "scores.parquet", None):
        assert made_again()[0] == {"tables"}
    with pytest.raises(ValueError, match="edited while"):
        write_plan(HERE, settings_here(), "another")
    assert not verdict_path(HERE).exists()


def test_a_run_that_does_not_come_to_a_verdict_repeats_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_results(HERE, Console(width=200), is_complete=True)
    assert "jobs have results" in capsys.readouterr().out
    print_results(HERE, Console(width=200), is_complete=False)
    said = capsys.readouterr().out
    assert "of an earlier one" in said and "jobs have results" not in said
