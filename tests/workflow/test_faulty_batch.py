"""One batch of real jobs: one hangs, one exhausts memory; the store has lost what was
found for two, and one of them cannot be searched again."""

import contextlib
import gzip
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.campaigns import (
    DATABASES,
    ENVIRONMENT,
    NEVER_RUN,
    ROOT,
    job,
    make_campaign,
    protein,
)
from tests.workflow.damage_campaign import step as run_step
from tests.workflow.finished import HERE, RNA, settings_here
from workflow.campaign import Campaign
from workflow.engine.attempts import EXIT_POSTPONE
from workflow.engine.journal import read_lines
from workflow.plan import write_plan
from workflow.step import read_plan

pytestmark = pytest.mark.long

MINUTES = 3
"""An item for which others wait has a quarter of them."""
CRAMBIN = "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN"


def ligand(smiles: str) -> dict[str, object]:
    return {"ligand": {"id": "L", "smiles": smiles}}


GOOD = {f"good_{n}": job(f"good_{n}", protein("GSHMK" * n)) for n in (1, 2, 3)}
DEEP = {"unpairedMsa": None, "unpairedMsaPath": "deep.a3m.gz"}
BAD = {
    "no_memory": job("no_memory", protein("GSHMK" * 900, **DEEP)),
    "hangs": job("hangs", protein("GSHMK"), ligand("C" * 600)),
    "raises": job("raises", RNA),
}
CAUSES = {"no_memory": "host_memory", "hangs": "time_limit", "raises": "unknown"}
MEMORY = 5 << 29
"""Address space, bytes: 0.7 GB more than the good ones take."""
SEARCHED = {"searched.fasta": f">searched\n{CRAMBIN}\n"}
SETTINGS = {
    "search": {"databases": "databases/databases.tsv"},
    "predict": {"buckets": [5120], "batch_minutes": 100_000},
}


def inputs(jobs: dict[str, str]) -> dict[str, str | bytes]:
    return {f"{name}.json": text for name, text in jobs.items()}


def deep_alignment() -> bytes:
    """A fifth of a gigabyte, which is there several times while it is read."""
    rows = (b">%d\n%s\n" % (number, b"GSHMK" * 900) for number in range(45_000))
    return gzip.compress(b"".join(rows), compresslevel=1)


def searched(folder: Path) -> tuple[Campaign, str]:
    """A campaign whose searches are done, and its one batch of jobs."""
    with contextlib.chdir(folder):
        write_plan(HERE, settings_here())
        for stage in ("search", "templates"):
            for name in read_plan(HERE).of_kind(stage):
                assert run_step(stage, "--batch", name) == 0
    (batch,) = read_plan(Campaign(folder)).jobs
    return Campaign(folder), batch


def test_the_others_finish_in_the_first_submission(tmp_path: Path) -> None:
    folder = make_campaign(
        *(tmp_path / "c", inputs(GOOD | BAD) | SEARCHED), network=NEVER_RUN, **SETTINGS
    )
    (folder / "inputs/deep.a3m.gz").write_bytes(deep_alignment())
    shutil.copytree(DATABASES.parent, folder / "databases")
    campaign, batch = searched(folder)
    names = {job_id: about.name for job_id, about in read_plan(campaign).about.items()}
    assert len(names) == len(GOOD) + len(BAD) + 1
    shutil.rmtree(folder / "store")
    (folder / "databases/rfam.fasta").unlink()
    step = [sys.executable, "-m", "workflow.engine.supervise", "featurise"]
    done = subprocess.run(
        [*step, "--batch", batch, "--attempt", "1", "--minutes", str(MINUTES)],
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert done.returncode == EXIT_POSTPONE
    made = {names[path.stem] for path in campaign.features("x").parent.iterdir()}
    assert made == {*GOOD, "searched"}
    lines = read_lines(campaign.journal("featurise", batch))
    blamed = {names[x.item]: x.cause for x in lines if x.cause is not None}
    assert blamed == CAUSES
    assert list((folder / "store").glob("*/*/*.parquet"))
