"""Finds what searches of a batch have to look at in one database, ahead of them.

    python -m workflow.filter --batch ID --threads N

HMMER's first filter, for all sequences of the batch in one pass over the database, by
what `search.filter` names. What it leaves goes to the search store, where the search of
the batch takes it up; the batch's outcomes say that it is there.
"""

import time
from collections.abc import Sequence

from af3_core.job import InputError
from workflow.campaign import Campaign
from workflow.databases.manifest import find_database
from workflow.engine.guard import log
from workflow.engine.items import Task, Together, work_together
from workflow.inference.devices import (
    claim_device,
    set_environment,
    visible_devices,
)
from workflow.keys import read_keys
from workflow.searching.search_keys import hits_key
from workflow.searching.sequences import (
    Filter,
    filter_batch,
    is_filtered,
    staging_folder,
)
from workflow.settings import Settings
from workflow.step import parse_step, read_sequences, run_step
from workflow.store.entries import Store
from workflow.survey import commit_batch


def main(argv: list[str] | None = None) -> int:
    """Filters for one batch."""
    arguments = parse_step("filter", __doc__, argv)
    set_environment()
    return run_step(
        lambda: filter_sequences(Campaign(), arguments.batch, arguments.threads)
    )


def filter_sequences(campaign: Campaign, batch: str, threads: int) -> None:
    """Filters for what the store lacks and writes the batch's outcomes."""
    planned_keys = read_keys(campaign)
    settings = planned_keys.settings
    planned = planned_keys.plan.batch("filter", batch)
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
        if keys[task.name] in store:
            return True
        return is_filtered(sequences[task.name], database, store, profile)

    def work(chunk: Sequence[Task], together: Together) -> None:
        filter_batch(
            [sequences[task.name] for task in chunk],
            database,
            store,
            find_filter(settings),
            profile=profile,
            threads=threads,
            stage_to=staging_folder(settings.search.stage_to),
            on_result=lambda sequence: together.done(tasks[sequence]),
            guard=lambda sequence: together.guard(tasks[sequence]),
        )

    began = time.monotonic()
    rows = work_together(campaign, "filter", batch, list(tasks.values()), is_done, work)
    log(f"{len(rows)} sequences in {database.name}: {time.monotonic() - began:.1f} s")
    commit_batch(campaign, planned_keys, "filter", batch, rows)


def find_filter(settings: Settings) -> Filter:
    """What computes the filter here, as the settings say.

    Raises:
        InputError: they name a GPU, and here is none that can.
    """
    if settings.search.filter != "triton":
        return Filter("cpu", "cpu ahead")
    # Before JAX looks for devices.
    if device := claim_device(visible_devices()):
        log(f"device {device} of this machine")
    # Imported here: they bring JAX, which a processor does without.
    from kernels import SegmentsSpec, current_device, explain

    here = current_device()
    reason = explain(SegmentsSpec(1, 1, 1, 1, 1, here))["triton"]
    if reason is not None:
        allowed = f"search or cpu, for {reason}"
        raise InputError("config.yaml", "search.filter", "triton", allowed)
    log(f"first filter: triton on {here}")
    return Filter("triton", f"triton on {here}")


if __name__ == "__main__":
    raise SystemExit(main())
