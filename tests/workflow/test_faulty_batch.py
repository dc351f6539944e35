"""One batch of real jobs: one hangs, one exhausts memory, one raises, and the store has
lost what was searched for one."""

import contextlib
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.campaigns import (
    ENVIRONMENT,
    NEVER_RUN,
    ROOT,
    job,
    make_campaign,
    protein,
)
from tests.workflow.damage_campaign import step
from tests.workflow.finished import HERE, settings_here
from workflow.campaign import Campaign
from workflow.engine.attempts import EXIT_POSTPONE
from workflow.engine.journal import read_lines
from workflow.plan import write_plan
from workflow.step import read_plan

pytestmark = pytest.mark.long

LENGTH, DEPTH = 2500, 16_000
"""Of an alignment that takes 400 MB more than the others."""
MARGIN = 200 * 2**20
"""Bytes more than a process needs whose alignments are small."""
MINUTES = 12
CRAMBIN = "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN"


def ligand(smiles: str) -> dict[str, object]:
    return {"ligand": {"id": "L", "smiles": smiles}}


GOOD = {f"good_{n}": job(f"good_{n}", protein("GSHMK" * n)) for n in (1, 2, 3)}
BAD = {
    "hangs": job("hangs", protein("GSHMK"), ligand("C" * 600)),
    "memory": job(
        "memory", protein("G" * LENGTH, unpairedMsa=None, unpairedMsaPath="../deep.a3m")
    ),
    "raises": job("raises", protein("GSHMK"), ligand("C1C[C@H]2C[C@H]1CC2")),
}
CAUSES = {"hangs": "time_limit", "memory": "host_memory", "raises": "conformer"}
SEARCHED = {"searched.fasta": f">searched\n{CRAMBIN}\n"}
SETTINGS = {"predict": {"buckets": [5120], "batch_minutes": 100_000}}
PEAK = """
import sys
from workflow.featurise import main
assert main(sys.argv[1:]) == 0
print(*(x.split()[1] for x in open("/proc/self/status") if x.startswith("VmPeak")))
"""


def inputs(jobs: dict[str, str]) -> dict[str, str | bytes]:
    return {f"{name}.json": text for name, text in jobs.items()}


def searched(folder: Path) -> tuple[Campaign, str]:
    """A campaign whose searches are done, and its one batch of jobs."""
    with contextlib.chdir(folder):
        write_plan(HERE, settings_here())
        for stage in ("search", "templates"):
            for name in read_plan(HERE).of_kind(stage):
                assert step(stage, "--batch", name) == 0
    (batch,) = read_plan(Campaign(folder)).jobs
    return Campaign(folder), batch


def python(folder: Path, *arguments: str, memory: int | None = None) -> tuple[int, str]:
    """Runs a step of a campaign; its exit status, and what it said."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=limit if memory else None,
    )
    return done.returncode, done.stdout


def test_the_others_finish_in_the_first_submission(tmp_path: Path) -> None:
    small = make_campaign(
        tmp_path / "small", inputs(GOOD) | SEARCHED, network=NEVER_RUN, **SETTINGS
    )
    _, of_small = searched(small)
    shutil.rmtree(small / "store")
    status, said = python(small, "-c", PEAK, "--batch", of_small)
    assert status == 0
    memory = 1024 * int(said) + MARGIN
    folder = make_campaign(
        *(tmp_path / "c", inputs(GOOD | BAD) | SEARCHED), network=NEVER_RUN, **SETTINGS
    )
    rows = (f">{n}\n{'A' * (n % LENGTH):G<{LENGTH}}\n" for n in range(DEPTH))
    (folder / "deep.a3m").write_text(f">q\n{'G' * LENGTH}\n{''.join(rows)}")
    campaign, batch = searched(folder)
    names = {job_id: about.name for job_id, about in read_plan(campaign).about.items()}
    assert len(names) == len(GOOD) + len(BAD) + 1
    shutil.rmtree(folder / "store")
    submission = ("featurise", "--batch", batch, "--attempt", "1")
    status, _ = python(
        *(folder, "-m", "workflow.engine.supervise", *submission),
        *("--minutes", str(MINUTES)),
        memory=memory,
    )
    assert status == EXIT_POSTPONE
    made = {names[path.stem] for path in campaign.features("x").parent.iterdir()}
    assert made == {*GOOD, "searched"}
    lines = read_lines(campaign.journal("featurise", batch))
    blamed = {names[x.item]: x.cause for x in lines if x.cause is not None}
    assert blamed == CAUSES
    assert list((folder / "store").glob("*/*/*.parquet"))
