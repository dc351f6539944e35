"""What every step of the workflow begins and ends with."""

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from af3_core.contracts import CHAINS, JOBS, ChainRow, JobRow
from af3_core.inputs.alphafold3 import read_alphafold3
from af3_core.inputs.entities import Links
from af3_core.inputs.entry import Entry, parse_json
from af3_core.job import InputError, Job
from workflow.batches import Plan, load_plan
from workflow.campaign import Campaign
from workflow.settings import Settings, check_settings
from workflow.tables import open_table, read_columns, read_json, read_rows

EXIT_INPUT = 2


@dataclass(frozen=True)
class StepArguments:
    """The command line of a step."""

    batch: str
    threads: int


def parse_step(stage: str, doc: str | None, argv: list[str] | None) -> StepArguments:
    """Reads `--batch ID [--threads N]`."""
    parser = argparse.ArgumentParser(prog=f"workflow.{stage}", description=doc)
    parser.add_argument("--batch", required=True, help="id of the batch")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(argv)
    return StepArguments(arguments.batch, arguments.threads)


def run_step(main: Callable[[], None]) -> int:
    """Runs a step; what the user can mend becomes one line instead of a traceback."""
    try:
        main()
    except InputError as error:
        print(error, file=sys.stderr)
        return EXIT_INPUT
    return 0


def read_plan(campaign: Campaign) -> Plan:
    """The plan that `workflow.plan` wrote.

    Raises:
        InputError: there is none in this folder.
    """
    plan = load_plan(campaign)
    if plan is None:
        raise _not_planned(campaign)
    return plan


def read_planned_settings(campaign: Campaign) -> Settings:
    """The settings the plan was made with, their paths from where we are.

    Raises:
        InputError: there are none in this folder.
    """
    path = campaign.plan / "settings.json"
    if not path.is_file():
        raise _not_planned(campaign)
    raw = read_json(path)
    return check_settings(raw, source=str(path)).seen_from(campaign.root)


def _not_planned(campaign: Campaign) -> InputError:
    allowed = "the folder of a campaign that runs or has run; `foldmill run` starts it"
    return InputError(str(campaign.plan), "folder", "no plan here", allowed)


def read_job_rows(campaign: Campaign, job_ids: set[str]) -> dict[str, JobRow]:
    """Rows of the jobs table by job id; only the groups that hold them are read."""
    path = campaign.plan / "jobs.parquet"
    table = read_columns(path, JOBS, where=_is_among("job_id", job_ids))
    return {row.job_id: row for row in JOBS.rows(table)}


def read_job_row(campaign: Campaign, job_id: str) -> JobRow:
    """The row of one job. Its group alone is read: a row may take 200 MB.

    Raises:
        InputError: the plan has no such job.
    """
    path = campaign.plan / "jobs.parquet"
    with open_table(path) as file:
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, ["job_id"])["job_id"]
            if (place := pc.index(ids, job_id).as_py()) >= 0:
                row = file.read_row_group(group).slice(place, 1)
                return JOBS.rows(row)[0]
    allowed = "a job of the plan; if it was made anew meanwhile, start again"
    raise InputError(str(path), "job_id", job_id, allowed)


def read_chain_rows(campaign: Campaign) -> list[ChainRow]:
    """The chains table."""
    return read_rows(campaign.plan / "chains.parquet", CHAINS)


def have_nucleic_acids(campaign: Campaign, job_ids: Iterable[str]) -> bool:
    """Whether any of these jobs has a chain of RNA or DNA."""
    where = _is_among("job_id", job_ids) & _is_among("kind", ("rna", "dna"))
    path = campaign.plan / "chains.parquet"
    return read_columns(path, CHAINS, ["job_id"], where).num_rows > 0


def read_jobs_with_templates(
    campaign: Campaign, template_ids: set[str]
) -> list[JobRow]:
    """Rows of the jobs that have a chain with one of these template searches."""
    chains = read_columns(
        campaign.plan / "chains.parquet",
        CHAINS,
        ["job_id"],
        _is_among("template_id", template_ids),
    )
    return list(read_job_rows(campaign, set(chains["job_id"].to_pylist())).values())


def read_sequences(campaign: Campaign, sequence_ids: Iterable[str]) -> dict[str, str]:
    """Sequences by their ids."""
    wanted = set(sequence_ids)
    table = read_columns(
        campaign.plan / "chains.parquet",
        CHAINS,
        ["sequence_id", "sequence"],
        _is_among("sequence_id", wanted),
    )
    return {row["sequence_id"]: row["sequence"] for row in table.to_pylist()}


def _is_among(column: str, values: Iterable[str]) -> pc.Expression:
    """Typed, because an empty list of values has no type of its own."""
    return pc.field(column).isin(pa.array(list(values), pa.string()))


def job_of(row: JobRow) -> Job:
    """The job that a row of the jobs table holds."""
    document = Entry(row.source, "", parse_json(row.json, row.source), "a job")
    return read_alphafold3(document, Links(Path(), ()))
