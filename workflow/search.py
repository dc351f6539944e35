"""Searches the sequences of a batch against one database.

    python -m workflow.search --batch ID --threads N

Results go to the search store; the batch's outcomes say that they are there.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from af3_core.job import InputError
from workflow.campaign import Campaign
from workflow.databases.catalogue import Database, read_manifest
from workflow.engine.guard import log
from workflow.engine.items import Task, Together, work_together
from workflow.keys import read_keys
from workflow.searching.sequences import hits_key, search_batch, staging_folder
from workflow.settings import Settings
from workflow.step import (
    parse_step,
    read_sequences,
    run_step,
)
from workflow.store.entries import Store
from workflow.survey import commit_batch

if TYPE_CHECKING:
    from kernels import SegmentsBackend


def main(argv: list[str] | None = None) -> int:
    """Searches one batch."""
    arguments = parse_step("search", __doc__, argv)
    return run_step(
        lambda: search_sequences(Campaign(), arguments.batch, arguments.threads)
    )


def search_sequences(campaign: Campaign, batch: str, threads: int) -> None:
    """Searches what the store lacks and writes the batch's outcomes."""
    planned_keys = read_keys(campaign)
    settings = planned_keys.settings
    planned = planned_keys.plan.batch("search", batch)
    database = find_database(settings, planned.database)
    sequences = read_sequences(campaign, planned.items)
    store, profile = Store(settings.search.store), settings.search.profile
    filter_by = find_filter(settings)
    keys = {
        name: hits_key(sequence, database, profile)
        for name, sequence in sequences.items()
    }
    tasks = {
        sequence: Task(name, None, keys[name].digest)
        for name, sequence in sequences.items()
    }

    def is_done(task: Task) -> bool:
        return store.get(keys[task.name]) is not None

    def search(chunk: Sequence[Task], together: Together) -> None:
        search_batch(
            [sequences[task.name] for task in chunk],
            database,
            store,
            profile=profile,
            threads=threads,
            stage_to=staging_folder(settings.search.stage_to),
            filter_by=filter_by,
            on_result=lambda sequence: together.done(tasks[sequence]),
            guard=lambda sequence: together.guard(tasks[sequence]),
        )

    began = time.monotonic()
    batch_tasks = list(tasks.values())
    rows = work_together(campaign, "search", batch, batch_tasks, is_done, search)
    log(f"{len(rows)} sequences in {database.name}: {time.monotonic() - began:.1f} s")
    commit_batch(campaign, planned_keys, "search", batch, rows)


def find_filter(settings: Settings) -> "SegmentsBackend | None":
    """What computes the first filter beside the threads; None: the threads themselves.

    Raises:
        InputError: the settings name a GPU, and here is none that can.
    """
    if settings.search.filter == "cpu":
        return None
    # Imported here: they bring JAX, which a search by the processor does without.
    from kernels import SegmentsSpec, current_device, explain

    device = current_device()
    reason = explain(SegmentsSpec(1, 1, 1, 1, 1, device))["triton"]
    if reason is not None:
        allowed = f"cpu, for {reason}"
        raise InputError("config.yaml", "search.filter", "triton", allowed)
    log(f"first filter: triton on {device}")
    return "triton"


def find_database(settings: Settings, name: str) -> Database:
    """The database of this name in the campaign's manifest.

    Raises:
        InputError: there is none.
    """
    path = settings.search.databases
    databases = {database.name: database for database in read_manifest(path)}
    if name not in databases:
        raise InputError(str(path), "name", name, ", ".join(databases))
    return databases[name]


if __name__ == "__main__":
    raise SystemExit(main())
