"""Campaigns whose results are there, with the right keys and nothing in them.

Plan, keys and survey are the real ones; only what the stages compute is left out, so
that thousands of changes can be tried.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from af3_core.contracts import (
    FEATURES,
    INTERFACES,
    PREDICTIONS,
    PROVENANCE,
    RELAXED,
    SAMPLE_SCORES,
)
from tests.af3_core.chemistry.test_dictionary import USER_CCD
from tests.af3_core.inputs.job_examples import TEMPLATE
from tests.workflow.campaigns import DATABASES, NEVER_RUN, job, make_campaign, protein
from workflow.campaign import Campaign, split_item
from workflow.collect import collect_tables
from workflow.databases.manifest import format_manifest, read_manifest
from workflow.engine.failures import Cause, failure
from workflow.engine.items import outcome
from workflow.keys import Keys, read_keys
from workflow.plan import read_config, write_plan
from workflow.settings import Settings
from workflow.sources import current_plan
from workflow.stages import STAGE, STAGES, StageName
from workflow.survey import Survey, commit_batch, survey
from workflow.tables import digest_file, write_table

HERE = Campaign()
"""The campaign in the current folder."""
NO_ITEMS = {"items": "{}"}
"""Metadata of a batch file."""
JOBS = ("given", "linked", "villin", "riboswitch")
LINKED = {
    "protein": {
        "id": "A",
        "sequence": "MLSDEDFK",
        "unpairedMsaPath": "../a.a3m",
        "pairedMsa": "",
        "templates": [
            {"mmcifPath": "../t.cif", "queryIndices": [0], "templateIndices": [0]}
        ],
    }
}
RNA = {"rna": {"id": "A", "sequence": "GGCUUAUCAAGAGAGGUGGAGGGACUGGCCC"}}


def write_inputs(folder: Path) -> None:
    """Four jobs, each a batch of its own: without a search, with linked files, and with
    searches of a protein and of an RNA; two of them have a reference."""
    make_campaign(
        folder,
        {
            "given.json": job("given", protein("GSHMKNVTWY")),
            "linked.json": job("linked", LINKED, userCCDPath="../u.cif"),
            "villin.fasta": ">villin\nVNSIDEDDKAVFGQTRRAFSNNPLWKQQNLKKEKGLF\n",
            "riboswitch.json": job("riboswitch", RNA),
        },
        network=NEVER_RUN,
        predict={"batch_minutes": 1},
        search={"databases": "databases.tsv", "batch_size": 1},
        score={"references": "references"},
    )
    (folder / "a.a3m").write_text(">q\nMLSDEDFK\n>x\nMLSDEDFR\n")
    (folder / "t.cif").write_text(TEMPLATE)
    (folder / "u.cif").write_text(USER_CCD)
    (folder / "toy.bin.zst").write_bytes(b"weights")
    (folder / "toy.config.json").write_text("{}")
    (folder / "references").mkdir()
    for name in ("given", "villin"):
        (folder / f"references/{name}.pdb").write_text(f"REMARK {name}\n")
    databases = format_manifest(read_manifest(DATABASES), folder)
    (folder / "databases.tsv").write_text(databases)


def settings_here(**overrides: object) -> Settings:
    """Of the campaign in the current folder."""
    return read_config([Path("config.yaml")], json.dumps(overrides))


def finish(*, failed: dict[tuple[StageName, str], Cause] | None = None) -> None:
    """Plans the campaign in the current folder and commits what is missing or stale.

    `failed` has causes by stage and job's name.
    """
    write_plan(HERE, settings_here())
    keys = read_keys(HERE)
    for stage in STAGES:
        for name in keys.plan.of_kind(stage.kind):
            if not HERE.outcomes(stage.name, name).is_file():
                _commit(keys, stage.name, name, failed or {})
    collect_tables(HERE)


def _commit(
    keys: Keys, stage: StageName, name: str, failed: dict[tuple[StageName, str], Cause]
) -> None:
    batch = keys.plan.of_kind(STAGE[stage].kind)[name]
    rows, exported = [], {}
    for item, key in keys.items(stage, batch).items():
        about = keys.plan.about.get(item.partition(".")[0])
        job_name = "" if about is None else about.name
        cause = failed.get((stage, job_name))
        is_late = any(job_name == other and cause is None for _, other in failed)
        why = None if cause is None else failure(cause, "made up")
        status = "skipped" if is_late and stage not in _BEFORE else None
        rows.append(outcome(stage, name, item, failure=why, status=status))
        if rows[-1].status != "done":
            continue
        if stage == "featurise":
            write_table(
                HERE.features(item), FEATURES, FEATURES.table([]), made_from=key
            )
        elif stage == "predict":
            path = HERE.prediction(item)
            write_table(path, PREDICTIONS, PREDICTIONS.table([]), made_from=key)
    if stage == "export":
        for item in keys.items(stage, batch):
            exported[item] = _export(keys.plan.about[item].name)
    elif stage == "predict":
        write_table(HERE.provenance(name), PROVENANCE, PROVENANCE.table([]))
    elif stage == "relax":
        write_table(HERE.relaxed(name), RELAXED, RELAXED.table([]), notes=NO_ITEMS)
    elif stage == "score":
        write_table(
            HERE.scores(name), SAMPLE_SCORES, SAMPLE_SCORES.table([]), notes=NO_ITEMS
        )
        write_table(
            HERE.interfaces(name), INTERFACES, INTERFACES.table([]), notes=NO_ITEMS
        )
    commit_batch(HERE, keys, stage, name, rows, exported=exported)


def _export(name: str) -> dict[Path, str]:
    path = HERE.folders / name / f"{name}_model.cif"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"data_{name}\n")
    return {path: digest_file(path)}


_BEFORE = ("filter", "search", "templates", "featurise")


def made_again(settings: Settings | None = None) -> tuple[set[str], Survey]:
    """What a run would make: `stage job`, `search database` and `tables`."""
    settings = settings or settings_here()
    plan = current_plan(HERE, settings)
    seen = survey(HERE, plan, settings)
    found = {stage for stage, _ in seen.stale if stage in ("tables", "report")}
    for stage in STAGES:
        for name, batch in plan.of_kind(stage.kind).items():
            path = HERE.outcomes(stage.name, name)
            if path.is_file() and (stage.name, name) not in seen.stale:
                continue
            if stage.kind == "jobs":
                jobs = {plan.about[split_item(i)[0]].name for i in batch.items}
                found |= {f"{stage.name} {job_name}" for job_name in jobs}
            else:
                found.add(f"{stage.name} {batch.database}".strip())
    return found, seen


@contextmanager
def changed(path: Path, content: bytes | None) -> Iterator[None]:
    """A file with other content, or gone, with a date older than it had; then as it
    was, with the date that it had."""
    before = path.read_bytes() if path.is_file() else None
    status = path.stat() if path.is_file() else path.parent.stat()
    times = (status.st_atime_ns, status.st_mtime_ns)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
        os.utime(path, ns=(times[0], times[1] - 10**15))
    yield
    if before is None:
        path.unlink()
    else:
        path.write_bytes(before)
        os.utime(path, ns=times)
