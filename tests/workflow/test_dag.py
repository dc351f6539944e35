"""The DAG as Snakemake builds it, without running anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.campaigns import NEVER_RUN, ROOT, job, make_campaign, protein
from workflow.campaign import Campaign

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
        # What is a wildcard for Snakemake is none for a user.
        model={"checkpoint": "toy{batch}.bin.zst"},
    )
    (folder / "toy.bin.zst").rename(folder / "toy{batch}.bin.zst")
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
