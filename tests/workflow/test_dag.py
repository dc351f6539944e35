"""The DAG as Snakemake builds it, without running anything, and what is taken back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from af3_core.contracts import PREDICTIONS, RELAXED
from tests.workflow.campaigns import NEVER_RUN, ROOT, job, make_campaign, protein
from workflow.batches import Batch, Plan
from workflow.campaign import Campaign
from workflow.dag import withdraw_changed, withdraw_incomplete
from workflow.engine.failures import failure
from workflow.engine.items import commit_outcomes, outcome
from workflow.settings import check_settings
from workflow.tables import write_json, write_table

HERE = Campaign()
"""The campaign in the current folder."""


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`snakemake -n --profile slurm` on a campaign that was never planned."""
    folder = make_campaign(
        tmp_path_factory.mktemp("dag") / "c",
        {
            "given.json": job("given", protein("GSHMKNVTWY")),
            "searched.fasta": ">villin\nVNSIDEDDKAVFGQTRRAFSNNPLWKQQNLKKEKGLF\n",
        },
        network=NEVER_RUN,
    )
    result = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "-n"),
            *("--configfile", str(folder / "config.yaml")),
            *("--directory", str(folder), "--snakefile", str(ROOT / "Snakefile")),
            *("--profile", str(ROOT / "slurm")),
        ],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert not (folder / "results").exists()
    return result.stdout + result.stderr


def described(dry_run: str, rule: str) -> str:
    """What Snakemake says of the first job of a rule."""
    return dry_run.split(f"rule {rule}:")[1].split("\n[")[0]


def test_predictions_go_to_the_gpu_partition(dry_run: str) -> None:
    text = described(dry_run, "predict")
    assert "slurm_partition=gpu" in text and "gres=gpu:1" in text
    assert "mem_mb=" in text and "runtime=" in text


@pytest.mark.parametrize(
    "rule", ["search", "templates", "featurise", "relax", "score", "export"]
)
def test_everything_else_goes_to_the_cpu_partition(dry_run: str, rule: str) -> None:
    text = described(dry_run, rule)
    assert "slurm_partition=cpu" in text and "gres" not in text
    assert "mem_mb=" in text and "runtime=" in text


def test_every_stage_is_planned_before_anything_ran(dry_run: str) -> None:
    for rule in ("plan", "search", "templates", "featurise", "predict", "verdict"):
        assert f"rule {rule}:" in dry_run


def test_every_rule_has_log_benchmark_and_environment() -> None:
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for rule in path.read_text(encoding="utf-8").split("\nrule ")[1:]:
            for directive in ("log:", "benchmark:", "conda:", "threads:", "resources:"):
                assert directive in rule, (path.name, rule.split(":")[0], directive)


def test_steps_are_modules_that_say_what_they_do() -> None:
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if "python -m workflow." in line:
                name = line.split("python -m workflow.")[1].split()[0]
                module = ROOT.joinpath("workflow", *name.split("."))
                source = module.with_suffix(".py")
                if not source.exists():
                    source = Path(module) / "__main__.py"
                assert source.exists(), name


ITEMS = ("one.1", "two.1")
DOWNSTREAM = ("predict", "relax", "score", "export")


@pytest.fixture
def complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A batch of two items that is through all stages; one could not be predicted."""
    monkeypatch.chdir(tmp_path)
    for stage in DOWNSTREAM:
        why = failure("unknown", "seen")
        rows = [outcome(stage, "b0", ITEMS[0])]
        rows.append(outcome(stage, "b0", ITEMS[1], failure=why))
        commit_outcomes(HERE, stage, "b0", rows)
    write_table(HERE.prediction(ITEMS[0]), PREDICTIONS, PREDICTIONS.table([]))
    write_table(HERE.relaxed("b0"), RELAXED, RELAXED.table([]))
    return Plan("", jobs={"b0": Batch(ITEMS)})


def standing(plan: Plan) -> list[str]:
    """Stages whose word for the batch still stands once the plan has been looked at."""
    withdraw_incomplete(HERE, plan)
    return [stage for stage in DOWNSTREAM if HERE.outcomes(stage, "b0").is_file()]


def test_a_batch_with_all_its_results_stands(complete: Plan) -> None:
    assert standing(complete) == list(DOWNSTREAM)


def test_a_lost_prediction_takes_back_the_batch(complete: Plan) -> None:
    HERE.prediction(ITEMS[0]).unlink()
    assert standing(complete) == []


def test_embeddings_that_are_asked_for_later_take_back_the_batch(
    complete: Plan,
) -> None:
    path = HERE.trunk_file("embeddings", ITEMS[0])
    path.parent.mkdir()
    path.touch()
    withdraw_incomplete(HERE, complete, ["embeddings"])
    assert standing(complete) == list(DOWNSTREAM)
    path.unlink()
    withdraw_incomplete(HERE, complete, ["embeddings"])
    assert standing(complete) == []


def test_lost_relaxed_structures_take_back_what_came_after(complete: Plan) -> None:
    HERE.relaxed("b0").unlink()
    assert standing(complete) == ["predict"]


def test_so_do_relaxed_structures_that_are_torn(complete: Plan) -> None:
    path = HERE.relaxed("b0")
    path.write_bytes(path.read_bytes()[:-1])
    assert standing(complete) == ["predict"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, DOWNSTREAM),
        ({"predict": {"batch_minutes": 5}}, DOWNSTREAM),
        ({"export": {"zip": True}}, ("predict", "relax", "score")),
        ({"score": {"rank_by": "ptm"}}, ("predict", "relax")),
        ({"relax": {"samples": "none"}}, ("predict",)),
        ({"predict": {"dtype": "float32"}}, ()),
        ({"search": {"profile": "server"}}, ()),
    ],
)
def test_changed_settings_take_back_what_they_bear_on(
    complete: Plan, change: dict[str, dict[str, object]], expected: tuple[str, ...]
) -> None:
    planned = {
        "inputs": ["inputs"],
        "search": {"databases": "databases.tsv"},
        "model": {"checkpoint": "model.bin"},
    }
    given = planned | {name: planned.get(name, {}) | change[name] for name in change}
    before, after = (check_settings(raw, source="test") for raw in (planned, given))
    HERE.plan.mkdir(parents=True)
    write_json(HERE.plan / "settings.json", before.model_dump(mode="json"))
    withdraw_changed(HERE, complete, after)
    assert standing(complete) == list(expected)
