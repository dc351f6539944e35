"""Searches the sequences of a batch against one database.

    python -m workflow.search --batch ID --threads N

Results go to the search store; the batch's outcomes say that they are there. What the
stage `filter` has left in the store is taken up.
"""

import time
from collections.abc import Sequence

from workflow.campaign import Campaign
from workflow.databases.manifest import find_database
from workflow.engine.guard import log
from workflow.engine.items import Task, Together, work_together
from workflow.keys import read_keys
from workflow.searching.search_keys import hits_key
from workflow.searching.sequences import is_filtered, search_batch, staging_folder
from workflow.step import (
    parse_step,
    read_sequences,
    run_step,
)
from workflow.store.entries import Store
from workflow.survey import commit_batch


def main(argv: list[str] | None = None) -> int:
    """Searches one batch."""
    arguments = parse_step("search", __doc__, argv)
    return run_step(
        lambda: search_sequences(Campaign(), arguments.batch, arguments.threads)
    )


def search_sequences(campaign: Campaign, batch: str, threads: int) -> None:
    """Searches what the store lacks and writes the batch's outcomes."""
    planned_keys = read_keys(campaign)
    plan, settings = planned_keys.plan, planned_keys.settings
    planned = plan.batch("search", batch)
    database = find_database(settings.search.databases, planned.database)
    sequences = read_sequences(campaign, planned.items)
    store, profile = Store(settings.search.store), settings.search.profile
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
        wanted = [sequences[task.name] for task in chunk]
        if batch in plan.filter:
            filtered = [is_filtered(s, database, store, profile) for s in wanted]
            log(f"{sum(filtered)} of {len(wanted)} sequences were filtered before")
        search_batch(
            wanted,
            database,
            store,
            profile=profile,
            threads=threads,
            stage_to=staging_folder(settings.search.stage_to),
            on_result=lambda sequence: together.done(tasks[sequence]),
            guard=lambda sequence: together.guard(tasks[sequence]),
        )

    began = time.monotonic()
    batch_tasks = list(tasks.values())
    rows = work_together(campaign, "search", batch, batch_tasks, is_done, search)
    log(f"{len(rows)} sequences in {database.name}: {time.monotonic() - began:.1f} s")
    commit_batch(campaign, planned_keys, "search", batch, rows)


if __name__ == "__main__":
    raise SystemExit(main())
