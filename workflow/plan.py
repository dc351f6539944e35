"""Plans a campaign: reads every input and says what will be computed, in batches.

    python -m workflow.plan --settings '{…}'

writes `results/plan/`: `manifest.json` (the batches; all that the Snakefile reads),
`jobs.parquet`, `chains.parquet`, `outcomes.parquet` (inputs that were refused, with
file, field, value and what is allowed) and `settings.json`.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from af3_core.chemistry.dictionary import Components
from af3_core.contracts import CHAINS, JOBS
from af3_core.features.featurise import count_tokens
from af3_core.inputs.chemistry import standard_components
from af3_core.inputs.files import find_inputs, iterate_jobs
from af3_core.job import InputError, Job, write_job
from workflow.batching import (
    PlannedJob,
    Refusal,
    SearchTarget,
    make_manifest,
    plan_job,
)
from workflow.campaign import PLAN
from workflow.databases import SEARCHED, read_manifest
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
    jobs: dict[str, PlannedJob] = {}
    refusals: list[Refusal] = []
    for path, read in _read_inputs(settings):
        try:
            if isinstance(read, InputError):
                raise read
            job = plan_job(str(path), read, _count, settings.predict.max_tokens)
            _claim_name(job, jobs)
        except InputError as error:
            refusals.append(Refusal(str(path), error))
    manifest = make_manifest(
        list(jobs.values()),
        _targets(settings),
        settings,
        inputs_digest=inputs_digest(settings),
        before=before,
    )
    return Plan(manifest, list(jobs.values()), refusals)


def _read_inputs(settings: Settings) -> Iterator[tuple[Path, Job | InputError]]:
    files, errors = find_inputs(settings.inputs)
    yield from ((Path(error.file), error) for error in errors)
    for file in files:
        for read in iterate_jobs(file):
            yield file, read


def _claim_name(job: PlannedJob, jobs: dict[str, PlannedJob]) -> None:
    """Adds a job under its name, which no other may have.

    Names must differ even where a file system ignores case.

    Raises:
        InputError: another job has the name.
    """
    owner = jobs.setdefault(job.name.casefold(), job)
    if owner is not job:
        allowed = f"a name that no other job has; {owner.source} uses it"
        raise InputError(job.source, "name", job.name, allowed)


def _count(job: Job) -> int:
    """Tokens of a job; impossible chemistry is the user's to mend."""
    components = standard_components()
    if job.user_ccd is not None:
        components = Components.load(job.user_ccd)
    return count_tokens(job, components)


def _targets(settings: Settings) -> list[SearchTarget]:
    return [
        SearchTarget(database.name, database.kind, database.role)
        for database in read_manifest(settings.search.databases)
        if database.role in SEARCHED
    ]


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
