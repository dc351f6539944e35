"""Predicts every (job, seed) of a batch with one compiled model.

    python -m workflow.predict --batch ID

All items of a batch share a bucket, so the weights are loaded and the network is
compiled once. While the device computes, the next item is loaded and the last one is
written: its samples are committed to `results/predictions/JOB.SEED.parquet`. An item
that needs too much memory is computed again in ways that need less.
"""

import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path

from af3_core.contracts import PREDICTIONS, PROVENANCE, TIMINGS
from af3_core.model.canary import measure
from workflow.campaign import (
    features_path,
    outcomes_path,
    prediction_path,
    provenance_path,
    split_item,
    timings_path,
)
from workflow.manifest import Batch
from workflow.pooling import provenance_of
from workflow.running.attempts import EXIT_DEVICE, Attempts, Group, begin_attempts
from workflow.running.canary import require_trusted, this_site
from workflow.running.failures import DeviceError
from workflow.running.inference import (
    Worker,
    has_unified_memory,
    prediction_key,
    rungs_here,
    start_worker,
)
from workflow.running.items import (
    Item,
    Progress,
    blocked_items,
    commit_outcomes,
    items_from,
    log,
    outcomes_of,
    unfinished,
)
from workflow.running.stream import Passage, Phases, stream
from workflow.settings import Settings, digest_of
from workflow.step import parse_step, read_plan, read_planned_settings, run_step
from workflow.tables import write_table


def main(argv: list[str] | None = None) -> int:
    """Predicts one batch."""
    arguments = parse_step("predict", __doc__, argv)
    try:
        return run_step(lambda: predict_batch(arguments.batch))
    except DeviceError as error:
        print(error, file=sys.stderr)
        return EXIT_DEVICE


def predict_batch(batch: str) -> None:
    """Makes what is missing and writes the batch's timings and outcomes."""
    settings, planned = read_planned_settings(), read_plan().jobs[batch]
    key = prediction_key(settings)
    items = items_from(planned.items, _features_of, prediction_path, PREDICTIONS, key)
    blocked = blocked_items(items, unfinished(outcomes_path("featurise", batch)))
    todo = [i for i in items if i.name not in blocked and not i.is_done]
    progress = Progress("predict", batch, len(items))
    progress.advance(len(items) - len(todo))
    attempts = begin_attempts(
        "predict", batch, rungs=rungs_here(), has_unified_memory=has_unified_memory()
    )
    passages: dict[str, Passage[Item]] = {}
    if attempts.next_group(todo) is not None:
        worker = start_worker(settings, planned.bucket, planned.msa_rows)
        trust_device(worker, settings, key)
        try:
            work_on_device(worker, todo, attempts, passages, progress)
        finally:
            if passages:
                write_timings(batch, planned, worker, list(passages.values()))
    attempts.require_nothing_more(todo)
    seconds = {name: passage.seconds for name, passage in passages.items()}
    rows = outcomes_of(
        *("predict", batch, items, attempts),
        blocked=blocked,
        done={item.name for item in items if item.is_done},
        seconds=seconds,
    )
    write_table(provenance_path(batch), PROVENANCE, provenance_of(items))
    commit_outcomes("predict", batch, rows)


def trust_device(worker: Worker, settings: Settings, key: str) -> None:
    """Has the device show that it computes what is known (`running.canary`).

    Raises:
        DeviceError: it does not.
    """
    versions = [importlib.metadata.version(name) for name in ("jax", "jaxlib")]
    work = digest_of(key, worker.runtime.attention_backend, *versions)
    site = this_site(worker.platform, worker.device, work, settings.predict.dtype)
    folder = settings.search.store / "canary"
    said = require_trusted(site, folder, lambda: measure(worker.runtime))
    log(f"device {site.kind}: {said or 'trusted since an earlier job'}")


def work_on_device(
    worker: Worker,
    todo: Sequence[Item],
    attempts: Attempts,
    passages: dict[str, Passage[Item]],
    progress: Progress,
) -> None:
    """Predicts what this process can, and fills in how each item went through.

    Raises:
        SystemExit: the device is in no state to go on.
    """
    while group := attempts.next_group(todo):
        phases = _noted(worker.on(group.rung).phases, attempts, group)
        for passage in stream(group.items, phases):
            passages[passage.item.name] = passage
            log(f"{passage.item.name}: {_describe(passage, group)}")
            if passage.failure is not None:
                attempts.failed(passage.item, group, passage.failure)
            progress.advance()


def _noted[Loaded, Computed](
    phases: Phases[Item, Loaded, Computed], attempts: Attempts, group: Group[Item]
) -> Phases[Item, Loaded, Computed]:
    """The phases, with every item's beginning and end in the journal."""

    def load(item: Item) -> Loaded:
        attempts.began(item, group)
        return phases.load(item)

    def finish(item: Item, computed: Computed) -> None:
        phases.finish(item, computed)
        attempts.done(item, group)

    return Phases(load, phases.compute, finish)


def _features_of(item: str) -> Path:
    return features_path(split_item(item)[0])


def _describe(passage: Passage[Item], group: Group[Item]) -> str:
    how = "" if group.rung == "planned" else f" ({group.rung})"
    if passage.failure is not None:
        return f"failed{how}: {passage.failure.cause}: {passage.failure.evidence}"
    start, end = passage.spans["compute"]
    return f"done{how}, {end - start:.1f} s on the device"


def write_timings(
    batch: str, planned: Batch, worker: Worker, passages: list[Passage[Item]]
) -> None:
    """Records when each phase of each item began and ended."""
    spans = [span for passage in passages for span in passage.spans.values()]
    origin = min(start for start, _ in spans)
    rows = [
        {
            "batch_id": batch,
            "item": passage.item.name,
            "phase": phase,
            "start": start - origin,
            "end": end - origin,
            "bucket": planned.bucket,
            "num_tokens": worker.num_tokens.get(passage.item.name, -1),
            "compiled": phase == "compute" and passage.item.name in worker.compiled_for,
            "from_cache": phase == "compute" and passage.item.name in worker.found_for,
            "device": worker.device,
        }
        for passage in passages
        for phase, (start, end) in passage.spans.items()
    ]
    write_table(timings_path(batch), TIMINGS, TIMINGS.table(rows))


if __name__ == "__main__":
    raise SystemExit(main())
