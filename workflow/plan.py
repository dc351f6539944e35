"""Plans a campaign: reads every input and says what will be computed, in batches.

    python -m workflow.plan --configfile config.yaml

writes `results/plan/`: `plan.json` (the batches; all that the Snakefile reads),
`jobs.parquet`, `chains.parquet`, `screen_chains.parquet` (what the jobs of screens are
for), `outcomes.parquet` (inputs that were refused, with file, field, value and what is
allowed), `forecast.json` (what it all will take), `settings.json`, and `sources.json`
(the files that were read, as they were before).
"""

import argparse
import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from af3_core.chemistry.dictionary import Components
from af3_core.contracts import (
    CHAINS,
    JOBS,
    SCREEN_CHAINS,
    ChainRow,
    JobRow,
    OutcomeRow,
)
from af3_core.features.featurise import count_tokens
from af3_core.features.notes import job_notes
from af3_core.features.options import FeatureOptions
from af3_core.inputs.chemistry import standard_components
from af3_core.inputs.files import iterate_jobs
from af3_core.inputs.listing import find_inputs
from af3_core.inputs.text import noting_reads
from af3_core.job import MAX_SEED, InputError, Job, write_job
from workflow.batches import (
    KINDS,
    Batch,
    Kind,
    Plan,
    load_plan,
    planned_path,
    with_id,
    write_plan_file,
)
from workflow.campaign import Campaign
from workflow.contents import find_contents, weights_digest
from workflow.databases.manifest import SEARCHED, Database, read_manifest
from workflow.digests import Files
from workflow.engine.failures import Failure, classify
from workflow.engine.items import commit_outcomes, outcome
from workflow.imports import label_path, with_imported
from workflow.keys import network_key
from workflow.planning.batching import (
    PlannedJob,
    Refusal,
    SearchTarget,
    plan_batches,
    plan_job,
)
from workflow.planning.buckets import CostModel
from workflow.planning.costs import campaign_timings, find_costs
from workflow.planning.forecast import Forecast, forecast, forecast_path
from workflow.results.screen_chains import chain_rows
from workflow.settings import Settings, check_settings, digest_of
from workflow.sources import (
    list_inputs,
    read_known_files,
    settings_digest,
    uncollected,
    write_sources,
)
from workflow.stages import STAGES
from workflow.step import run_step
from workflow.store.entries import Store
from workflow.survey import verdict_path
from workflow.tables import (
    table_writer,
    write_json,
    write_table,
)

_JOBS_PER_GROUP, _LETTERS_PER_GROUP = 1024, 50_000_000
"""Jobs are written when there are so many, or so many letters of JSON."""


@dataclass(frozen=True)
class PlannedCampaign:
    """What will run, and what was refused."""

    plan: Plan
    jobs: list[PlannedJob]
    refusals: list[Refusal]
    forecast: Forecast
    files: Files
    """All that was read for it."""
    inputs: list[str]
    """Files that the settings' inputs came to."""


def make_plan(
    campaign: Campaign,
    settings: Settings,
    before: Plan | None,
    on_job: Callable[[PlannedJob, Job], None] = lambda planned, job: None,
) -> PlannedCampaign:
    """Reads all inputs and plans them; what cannot run is refused, not raised.

    `on_job` sees every job that will run whole; the plan keeps no alignments, so that
    memory does not grow with them.

    Raises:
        InputError: a folder or table that the settings name is not there or unusable.
    """
    folder = settings.score.references
    if folder is not None and not folder.is_dir():
        allowed = "a folder of known structures, or null"
        raise InputError("config", "score.references", str(folder), allowed)
    files = Files(known=read_known_files(campaign))
    for table in (settings.search.databases, settings.plan.costs):
        if table is not None:
            files.note(table)
    network = network_key(settings, weights_digest(settings.model.checkpoint, files))
    costs = find_costs(settings.plan, campaign_timings(campaign, network))
    # What a screen asks for must not change with what is measured while it runs.
    steady = find_costs(settings.plan.model_copy(update={"device": None}), ()).model
    jobs: dict[str, PlannedJob] = {}
    refusals: list[Refusal] = []
    options = settings.feature_options()
    count = functools.partial(_count, options=options)
    screens: list[str] = []
    inputs, store = list_inputs(settings), Store(settings.search.store)
    for label in settings.search.imported:
        files.note(label_path(store, label))
    with noting_reads(files.note), uncollected():
        for path, read in _read_inputs(settings, steady, screens.append):
            try:
                if isinstance(read, InputError):
                    raise read
                read = _with_seeds(read, str(path), settings.predict.num_seeds)
                read = with_imported(read, store, settings.search.imported)
                planned = plan_job(str(path), read, count, *_most_tokens(settings))
                job = replace(planned, notes=_notes(read, options))
                _claim_name(job, jobs)
            except InputError as error:
                record = "" if isinstance(read, InputError) else read.record
                refusals.append(Refusal(str(path), error.of(error.record or record)))
            else:
                on_job(job, read)
    planned, databases = list(jobs.values()), read_manifest(settings.search.databases)
    batches = plan_batches(
        planned,
        _targets(databases, settings),
        settings,
        costs.model,
        before=None if before is None else _begun(campaign, before),
    )
    names = [job.name for job in planned]
    plan = with_id(
        replace(
            batches,
            contents=find_contents(settings, databases, names, files),
            settings=settings_digest(settings),
            refused=digest_of(_refusal_rows(refusals)),
        )
    )
    cost = forecast(plan, planned, refusals, databases, costs, settings)
    cost = replace(cost, screens=screens)
    return PlannedCampaign(plan, planned, refusals, cost, files, inputs)


def _begun(campaign: Campaign, plan: Plan) -> Plan:
    """The batches that anything was done for; the others may be planned anew."""
    kept: dict[Kind, dict[str, Batch]] = {kind: {} for kind in KINDS}
    for stage in STAGES:
        folders = campaign.outcomes(stage.name, "x"), campaign.journal(stage.name, "x")
        names = {
            file.rpartition(".")[0]
            for folder in (path.parent for path in folders)
            for file in (os.listdir(folder) if folder.is_dir() else ())
        }
        batches = plan.of_kind(stage.kind)
        kept[stage.kind] |= {name: batches[name] for name in batches.keys() & names}
    of = {
        kind: {
            name: batch for name, batch in plan.of_kind(kind).items() if name in some
        }
        for kind, some in kept.items()
    }
    return Plan(of["filter"], of["search"], of["templates"], of["jobs"])


def _most_tokens(settings: Settings) -> tuple[int, str]:
    """Tokens of the largest job that can run, and the setting that says so."""
    limits = [(settings.predict.max_tokens, "predict.max_tokens")]
    if settings.predict.buckets is not None:
        limits.append((max(settings.predict.buckets), "predict.buckets"))
    return min(limits)


def _read_inputs(
    settings: Settings, costs: CostModel, say: Callable[[str], None]
) -> Iterator[tuple[Path, Job | InputError]]:
    """Jobs and refusals of all inputs; `say` is told what of a screen is computed."""
    files, errors = find_inputs(settings.inputs)
    yield from ((Path(error.file), error) for error in errors)
    for file in map(Path, files):
        seeds = settings.predict.seeds
        for read in iterate_jobs(file, seeds, cost=costs.seconds_of_all, say=say):
            yield file, read


def read_jobs_of(settings: Settings) -> list[Job]:
    """The jobs of all inputs that can be read."""
    read = (job for _, job in _read_steadily(settings))
    return [job for job in read if not isinstance(job, InputError)]


def find_unreadable(settings: Settings) -> list[Refusal]:
    """Inputs that cannot be read, whatever else keeps the campaign from a plan."""
    return [
        Refusal(str(path), read)
        for path, read in _read_steadily(settings)
        if isinstance(read, InputError)
    ]


def _read_steadily(settings: Settings) -> Iterator[tuple[Path, Job | InputError]]:
    steady = find_costs(settings.plan.model_copy(update={"device": None}), ()).model
    return _read_inputs(settings, steady, lambda said: None)


def _with_seeds(job: Job, source: str, num_seeds: int | None) -> Job:
    """The job with as many seeds as `predict.num_seeds` says, from its own one on.

    Raises:
        InputError: it states several seeds, or they would be too large.
    """
    if num_seeds is None:
        return job
    first = job.seeds[0]
    if len(job.seeds) > 1 or first + num_seeds - 1 > MAX_SEED:
        shown = ", ".join(map(str, job.seeds[:5]))
        allowed = "one seed, from which predict.num_seeds counts on"
        where = f"{job.name}: modelSeeds"
        raise InputError(source, where, shown, f"{allowed}, up to {MAX_SEED}")
    return replace(job, seeds=tuple(range(first, first + num_seeds)))


def _claim_name(job: PlannedJob, jobs: dict[str, PlannedJob]) -> None:
    """Adds a job under its name, which no other may have.

    Names must differ even where a file system ignores case.

    Raises:
        InputError: another job has the name.
    """
    owner = jobs.setdefault(job.name.casefold(), job)
    if owner is not job:
        where = " ".join(filter(None, (owner.source, owner.job.record)))
        allowed = (
            f"a name that no other job has as a file name ({job.name}), upper and lower"
            f" case being one; {owner.job.name} of {where} has it"
        )
        raise InputError(job.source, "name", job.job.name, allowed)


def _count(job: Job, options: FeatureOptions) -> int:
    """Tokens of a job; impossible chemistry is the user's to mend."""
    return count_tokens(job, _components(job), options)


def _notes(job: Job, options: FeatureOptions) -> tuple[str, ...]:
    return job_notes(job, _components(job), options)


def _components(job: Job) -> Components:
    if job.user_ccd is None:
        return standard_components()
    return Components.load(job.user_ccd)


def _targets(databases: Iterable[Database], settings: Settings) -> list[SearchTarget]:
    return [
        SearchTarget(
            database.name,
            database.kind,
            database.role,
            is_filtered=settings.search.filter != "search" and database.has_filter,
        )
        for database in databases
        if database.role in SEARCHED
    ]


def write_plan(campaign: Campaign, settings: Settings, name: str = "") -> None:
    """Plans and writes the tables, last the batches: they say the rest is there.

    Args:
        campaign: whose folder is written.
        settings: its.
        name: what the plan has to come to: its id, which a dot and more may follow.

    Raises:
        InputError: it comes to another plan, or one that cannot be made.
    """
    before = load_plan(campaign)
    # Nothing may say that all is well until it is.
    verdict_path(campaign).unlink(missing_ok=True)
    with _jobs_table(campaign.plan / "jobs.parquet") as add_job, uncollected():
        made = make_plan(campaign, settings, before, add_job)
        plan = made.plan
        if name and name.partition(".")[0] != plan.id:
            raise InputError(
                "the campaign",
                "inputs",
                "edited while the campaign was being planned",
                "inputs and configuration that stay as they are meanwhile; start again",
            )
    chains = [row for job in made.jobs for row in _chain_rows(job)]
    write_table(campaign.plan / "chains.parquet", CHAINS, CHAINS.table(chains))
    places = chain_rows((job.job_id, job.job) for job in made.jobs)
    path = campaign.plan / "screen_chains.parquet"
    write_table(path, SCREEN_CHAINS, SCREEN_CHAINS.table(places))
    commit_outcomes(campaign, "plan", "outcomes", _refusal_rows(made.refusals))
    write_json(campaign.plan / "settings.json", settings.model_dump(mode="json"))
    write_json(forecast_path(campaign), asdict(made.forecast))
    write_sources(campaign, plan, made.inputs, made.files)
    write_plan_file(campaign, plan)
    for old in campaign.plan.glob("*.planned"):
        old.unlink(missing_ok=True)
    for mark in {plan.id, name or plan.id}:
        planned_path(campaign, mark).touch()


@contextmanager
def _jobs_table(path: Path) -> Iterator[Callable[[PlannedJob, Job], None]]:
    """Writes the jobs table as jobs come, never holding many in memory."""
    waiting: list[JobRow] = []
    num_letters = 0

    def flush() -> None:
        nonlocal num_letters
        writer.write_table(JOBS.table(waiting))
        waiting.clear()
        num_letters = 0

    def add_job(planned: PlannedJob, job: Job) -> None:
        nonlocal num_letters
        waiting.append(_job_row(planned, job))
        num_letters += len(waiting[-1].json)
        if num_letters > _LETTERS_PER_GROUP or len(waiting) == _JOBS_PER_GROUP:
            flush()

    with table_writer(path, JOBS) as writer:
        yield add_job
        flush()


def _job_row(planned: PlannedJob, job: Job) -> JobRow:
    return JobRow(
        job_id=planned.job_id,
        name=planned.name,
        source=planned.source,
        num_tokens=planned.num_tokens,
        seeds=list(job.seeds),
        json=write_job(job),
        notes=list(planned.notes),
    )


def _chain_rows(planned: PlannedJob) -> list[ChainRow]:
    rows = []
    needs = {need.entity_index: need for need in planned.needs}
    for index, entity in enumerate(planned.job.entities):
        need = needs.get(index)
        rows.append(
            ChainRow(
                job_id=planned.job_id,
                entity_index=index,
                kind=need.polymer.kind if need else "ligand",
                chain_ids=list(entity.ids),
                sequence_id=need.sequence_id if need else None,
                sequence=need.query if need else None,
                search_unpaired=need is not None and need.search_unpaired,
                search_paired=need is not None and need.search_paired,
                template_id=need.template_id if need else None,
            )
        )
    return rows


def _failure_of(errors: list[InputError]) -> Failure:
    """One failure for all that is wrong with a job."""
    found = [classify(error) for error in errors]
    return replace(found[0], evidence="; ".join(one.evidence for one in found))


def _refusal_rows(refusals: list[Refusal]) -> list[OutcomeRow]:
    """One row per refused job, named by its file and its record there."""
    errors: dict[str, list[InputError]] = {}
    for refusal in refusals:
        record = f"#{refusal.error.record}" if refusal.error.record else ""
        # What is no UTF-8 in a file's name is no text for a table either.
        source = os.fsencode(refusal.source).decode("utf-8", "backslashreplace")
        errors.setdefault(source + record, []).append(refusal.error)
    return [
        outcome("plan", "outcomes", item, failure=_failure_of(of_item))
        for item, of_item in errors.items()
    ]


def read_config(files: Sequence[Path], overrides: str) -> Settings:
    """The settings of configuration files, later ones before earlier ones.

    Args:
        files: of YAML or JSON.
        overrides: an object in JSON, before all of them.

    Raises:
        InputError: naming the first wrong key or value.
    """
    config: dict[str, Any] = {}
    for file in files:
        update_config(config, load_configfile(file))
    update_config(config, json.loads(overrides))
    return check_settings(config, source="config")


def main(argv: list[str] | None = None) -> int:
    """Plans the campaign in this folder."""
    parser = argparse.ArgumentParser(prog="workflow.plan", description=__doc__)
    parser.add_argument("--configfile", type=Path, nargs="+", required=True)
    parser.add_argument("--config", default="{}", help="an object that overrides them")
    parser.add_argument("--name", default="", help="what the plan has to come to")
    arguments = parser.parse_args(argv)

    def plan() -> None:
        settings = read_config(arguments.configfile, arguments.config)
        write_plan(Campaign(), settings, arguments.name)

    return run_step(plan)


if __name__ == "__main__":
    raise SystemExit(main())
