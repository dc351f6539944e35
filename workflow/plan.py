"""Plans a campaign: reads every input and says what will be computed, in batches.

    python -m workflow.plan --settings '{…}'

writes `results/plan/`: `manifest.json` (the batches; all that the Snakefile reads),
`jobs.parquet`, `chains.parquet`, `outcomes.parquet` (inputs that were refused, with
file, field, value and what is allowed) and `settings.json`.
"""

import argparse
import hashlib
import json
from dataclasses import dataclass

from af3_core.features import count_tokens

from af3_core.contracts import CHAINS, JOBS
from af3_core.job import InputError, write_job
from af3_core.job_files import find_inputs, read_inputs
from workflow.batching import PlannedJob, Refusal, make_manifest, plan_job
from workflow.campaign import PLAN
from workflow.databases import search_targets
from workflow.failures import classify
from workflow.items import commit_outcomes, outcome
from workflow.manifest import (
    MANIFEST,
    Manifest,
    digest_inputs,
    dump_manifest,
    load_manifest,
)
from workflow.settings import Settings, check_settings
from workflow.tables import replacing, write_table


@dataclass(frozen=True)
class Plan:
    """What will run, and what was refused."""

    manifest: Manifest
    jobs: list[PlannedJob]
    refusals: list[Refusal]


def inputs_digest(settings: Settings) -> str:
    """Names the inputs and databases as they are now, and the settings that count."""
    databases = settings.search.databases
    listed = databases.read_bytes() if databases.is_file() else b""
    key = (
        settings.search.batch_size,
        settings.predict.buckets,
        settings.predict.max_tokens,
        settings.predict.batch_minutes,
        hashlib.sha256(listed).hexdigest(),
    )
    files, _ = find_inputs(settings.inputs)
    return digest_inputs(files, repr(key))


def make_plan(settings: Settings, before: Manifest | None) -> Plan:
    """Reads all inputs and plans them; what cannot run is refused, not raised."""
    jobs: list[PlannedJob] = []
    refusals: list[Refusal] = []
    max_tokens = settings.predict.max_tokens
    for path, read in read_inputs(settings.inputs):
        if isinstance(read, InputError):
            refusals.append(Refusal(str(path), read))
            continue
        try:
            jobs.append(plan_job(str(path), read, count_tokens, max_tokens))
        except InputError as error:
            refusals.append(Refusal(str(path), error))
    manifest = make_manifest(
        jobs,
        search_targets(settings.search.databases),
        settings,
        inputs_digest=inputs_digest(settings),
        before=before,
    )
    return Plan(manifest, jobs, refusals)


def current_manifest(settings: Settings) -> Manifest:
    """The plan on disk if it still fits the inputs, else the plan that would be made.

    Nothing is written, so that parsing the Snakefile has no effect.
    """
    before = load_manifest()
    if before is not None and before.inputs_digest == inputs_digest(settings):
        return before
    return make_plan(settings, before).manifest


def write_plan(plan: Plan, settings: Settings) -> None:
    """Writes the plan's tables; the manifest last: it says that the rest is there."""
    jobs = [_job_row(job) for job in plan.jobs]
    write_table(PLAN / "jobs.parquet", JOBS, JOBS.table(jobs))
    chains = [row for job in plan.jobs for row in _chain_rows(job)]
    write_table(PLAN / "chains.parquet", CHAINS, CHAINS.table(chains))
    commit_outcomes("plan", "outcomes", _refusal_rows(plan.refusals))
    with replacing(PLAN / "settings.json") as temporary:
        temporary.write_text(settings.model_dump_json(indent=1), encoding="utf-8")
    with replacing(MANIFEST) as temporary:
        temporary.write_text(dump_manifest(plan.manifest), encoding="utf-8")


def _job_row(planned: PlannedJob) -> dict[str, object]:
    return {
        "job_id": planned.job_id,
        "name": planned.name,
        "source": planned.source,
        "num_tokens": planned.num_tokens,
        "seeds": list(planned.job.seeds),
        "json": write_job(planned.job),
    }


def _chain_rows(planned: PlannedJob) -> list[dict[str, object]]:
    rows = []
    needs = {need.entity_index: need for need in planned.needs}
    for index, entity in enumerate(planned.job.entities):
        need = needs.get(index)
        rows.append(
            {
                "job_id": planned.job_id,
                "entity_index": index,
                "kind": need.polymer.kind if need else "ligand",
                "chain_ids": list(entity.ids),
                "sequence_id": need.sequence_id if need else None,
                "sequence": need.polymer.sequence if need else None,
                "search_unpaired": need is not None and need.search_unpaired,
                "search_paired": need is not None and need.search_paired,
                "template_id": need.template_id if need else None,
            }
        )
    return rows


def _refusal_rows(refusals: list[Refusal]) -> list[dict[str, object]]:
    """One row per refused input; several of one file are numbered."""
    return [
        outcome(
            "plan",
            "outcomes",
            f"{refusal.source}#{number}",
            failure=classify(refusal.error),
        )
        for number, refusal in enumerate(refusals, start=1)
    ]


def main(argv: list[str] | None = None) -> int:
    """Plans the campaign in this folder."""
    parser = argparse.ArgumentParser(prog="workflow.plan", description=__doc__)
    parser.add_argument("--settings", required=True, help="the settings, as JSON")
    arguments = parser.parse_args(argv)
    settings = check_settings(json.loads(arguments.settings), source="settings")
    write_plan(make_plan(settings, load_manifest()), settings)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
