"""What the acceptance command prepares loads, and compiles for an H100 without one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu_acceptance import RUN_ENVIRONMENT, report
from benchmarks.gpu_compile import COMPILER
from kernels import GPU_ENVIRONMENT

needs_compiler = pytest.mark.skipif(
    not COMPILER.is_dir(), reason="XLA's compiler for GPUs is absent: run `make dev`"
)

PREPARE = """
from pathlib import Path
from benchmarks.gpu_compile import start
start()
from af3_core.model.config import Runtime
from benchmarks.gpu_acceptance import Network, prepare
from tests.af3_core.model.tiny import TINY
prepare(
    Path({folder!r}),
    agreeing=(32,),
    timed=(32,),
    contest=((32, 2, 128),),
    models=(Network("model-32", 32, 16, TINY, Runtime()),),
    wanted={wanted!r}.__contains__,
)
"""
WANTED = (
    "agree-triangle-bfloat16-32-triton",
    "agree-triangle-bfloat16-32-cudnn",
    "agree-triangle-outgoing-32-triton",
    "agree-project-heads-of-columns-32-triton",
    "time-project-heads-32-triton",
    "time-contest-128-x2-32-auto",
    "filter",
    "stream",
)
# What a machine for acceptance has not is not to be had here either.
CHECK = """
import sys
sys.modules.update(dict.fromkeys(("triton", "jax_triton", "haiku", "af3_core"), None))
from pathlib import Path
from benchmarks.gpu_compile import start
start()
from benchmarks.gpu_acceptance import check
print(*check(Path({folder!r}), {card!r}), sep="\\n")
"""


def python(program: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("acceptance")
    python(PREPARE.format(folder=str(folder), wanted=WANTED))
    return folder


@needs_compiler
@pytest.mark.slow
def test_what_is_prepared_compiles_for_an_h100_with_nothing_but_jax(prepared) -> None:
    compiled = python(CHECK.format(folder=str(prepared), card="h100")).split()
    plan = json.loads((prepared / "plan.json").read_text())
    programs = {step["program"] for step in plan}
    assert programs == {*WANTED, "model-32"}
    assert set(compiled) == programs | {"model-32-parameters"}


@needs_compiler
@pytest.mark.slow
def test_the_plan_begins_with_what_is_worth_most(prepared) -> None:
    kinds = [step["kind"] for step in json.loads((prepared / "plan.json").read_text())]
    order = ("agree", "filter", "stream", "reference", "time", "model", "profile")
    assert kinds == sorted(kinds, key=order.index)


@needs_compiler
@pytest.mark.slow
def test_without_a_gpu_each_step_says_why_it_failed(prepared, tmp_path) -> None:
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "benchmarks.gpu_acceptance", "run"]
    options = ["--folder", str(prepared), "--minutes", "0.6"]
    subprocess.run([*command, *options], env=environment, check=True)
    rows = list(
        map(json.loads, (prepared / "acceptance.jsonl").read_text().splitlines())
    )
    assert rows[0]["step"] == "probe" and rows[0]["platform"] == "cpu"
    assert rows[1]["ok"] is False and "platform" in rows[1]["error"]
    assert f"| {rows[1]['step']} | no |" in report(prepared)


def test_it_runs_in_the_environment_of_every_run() -> None:
    assert dict(GPU_ENVIRONMENT) == RUN_ENVIRONMENT
