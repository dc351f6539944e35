"""Predicts every (job, seed) of a batch with one compiled model.

    python -m workflow.predict --batch ID

All items of a batch share a bucket, so the weights are loaded and the network is
compiled once. While the device computes, the next item is loaded and the last one is
written: its samples are committed to `results/predictions/JOB.SEED.parquet`.
"""

from pathlib import Path

from af3_core.contracts import PREDICTIONS, TIMINGS
from workflow.campaign import (
    features_path,
    outcomes_path,
    prediction_path,
    split_item,
    timings_path,
)
from workflow.inference import Worker, prediction_key, start_worker
from workflow.items import (
    Item,
    Progress,
    commit_outcomes,
    items_from,
    log,
    outcome,
    skipped,
    unfinished,
)
from workflow.manifest import Batch
from workflow.step import Row, parse_step, read_plan, read_planned_settings, run_step
from workflow.stream import Passage, stream
from workflow.tables import write_table


def main(argv: list[str] | None = None) -> int:
    """Predicts one batch."""
    arguments = parse_step("predict", __doc__, argv)
    return run_step(lambda: predict_batch(arguments.batch))


def predict_batch(batch: str) -> None:
    """Makes what is missing and writes the batch's timings and outcomes."""
    settings, planned = read_planned_settings(), read_plan().jobs[batch]
    key = prediction_key(settings)
    items = items_from(planned.items, _features_of, prediction_path, PREDICTIONS, key)
    blocked = unfinished(outcomes_path("featurise", batch))
    todo = [i for i in items if i.job_id not in blocked and not i.is_done]
    progress = Progress("predict", batch, len(items))
    progress.advance(len(items) - len(todo))
    passages: dict[str, Passage[Item]] = {}
    if todo:
        worker = start_worker(settings, planned.bucket, planned.msa_rows)
        for passage in stream(todo, worker.phases):
            passages[passage.item.name] = passage
            log(f"{passage.item.name}: {_describe(passage)}")
            progress.advance()
        write_timings(batch, planned, worker, list(passages.values()))
    rows = []
    for item in items:
        if item.job_id in blocked:
            rows.append(skipped("predict", batch, item.name, blocked[item.job_id]))
        else:
            passage = passages.get(item.name, Passage(item))
            rows.append(_outcome(batch, passage))
    commit_outcomes("predict", batch, rows)


def _features_of(item: str) -> Path:
    return features_path(split_item(item)[0])


def _describe(passage: Passage[Item]) -> str:
    if passage.failure is not None:
        return f"failed: {passage.failure.cause}: {passage.failure.evidence}"
    start, end = passage.spans["compute"]
    return f"done, {end - start:.1f} s on the device"


def _outcome(batch: str, passage: Passage[Item]) -> Row:
    return outcome(
        *("predict", batch, passage.item.name),
        job_id=passage.item.job_id,
        seconds=passage.seconds,
        failure=passage.failure,
    )


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
