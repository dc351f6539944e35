"""Predicts every (job, seed) of a batch with one compiled model.

    python -m workflow.predict --batch ID

All items of a batch share a bucket, so the weights are loaded and the network is
compiled once. While the device computes, the next item is loaded and the last one is
written: its samples are committed to `results/predictions/JOB.SEED.parquet`, and
before them what the trunk made of it, if that is kept (`results.trunk_files`). An item
that needs too much memory is computed again in ways that need less.
"""

import importlib.metadata
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from af3_core.contracts import PREDICTIONS, PROVENANCE
from af3_core.job import InputError
from af3_core.model.canary import measure
from kernels import demoted, record_choices
from workflow.campaign import Campaign, split_item
from workflow.contents import weights_digest
from workflow.digests import Files
from workflow.engine.attempts import EXIT_DEVICE, Attempts, Group, begin_attempts
from workflow.engine.failures import DeviceError
from workflow.engine.guard import Guard, log
from workflow.engine.items import (
    Item,
    Progress,
    blocked_items,
    items_from,
    outcomes_of,
    unfinished,
)
from workflow.engine.stream import Passage, Phases, stream
from workflow.first_pass import take_over
from workflow.inference.canary import (
    Trust,
    WrongNumbers,
    require_trusted,
    this_site,
)
from workflow.inference.devices import (
    claim_device,
    set_environment,
    visible_devices,
)
from workflow.inference.timings import begin_timings
from workflow.inference.worker import (
    Worker,
    do_without,
    has_unified_memory,
    rungs_here,
    start_worker,
)
from workflow.keys import Keys, read_keys
from workflow.pooling import provenance_of
from workflow.results.trunk_files import is_trunk_file_current
from workflow.settings import Settings, TrunkFile, digest_of
from workflow.step import have_nucleic_acids, parse_step, run_step
from workflow.store.entries import Store
from workflow.survey import commit_batch
from workflow.tables import write_table


def main(argv: list[str] | None = None) -> int:
    """Predicts one batch."""
    arguments = parse_step("predict", __doc__, argv)
    set_environment()
    try:
        return run_step(lambda: predict_batch(Campaign(), arguments.batch))
    except DeviceError as error:
        print(error, file=sys.stderr)
        return EXIT_DEVICE


def predict_batch(campaign: Campaign, batch: str) -> None:
    """Makes what is missing; writes the batch's timings and outcomes."""
    keys = read_keys(campaign)
    settings, planned = keys.settings, keys.plan.batch("jobs", batch)
    wanted = keys.items("predict", planned)
    items = items_from(wanted, campaign.prediction, PREDICTIONS)
    if not settings.predict.trunk_files:
        take_over(campaign, items)
    before = unfinished(campaign.outcomes("featurise", batch))
    blocked = blocked_items(items, before)
    kinds = settings.predict.trunk_files

    def is_done(item: Item) -> bool:
        return _is_done(campaign, item, kinds)

    todo = [i for i in items if i.name not in blocked and not is_done(i)]
    progress = Progress(campaign, "predict", batch, len(items))
    progress.advance(len(items) - len(todo))
    # Before JAX looks for devices, as it does to tell which rungs there are.
    if todo and (device := claim_device(visible_devices())):
        log(f"device {device} of this machine")
    attempts = begin_attempts(
        campaign,
        "predict",
        batch,
        rungs=rungs_here(),
        has_unified_memory=has_unified_memory(),
    )
    passages: dict[str, Passage[Item]] = {}
    if attempts.next_group(todo) is not None:
        _require_planned_weights(keys)
        worker = start_worker(campaign, settings, planned.bucket, planned.msa_rows)
        jobs = {split_item(name)[0] for name in wanted}
        worker = replace(worker, few_atoms=not have_nucleic_acids(campaign, jobs))
        trust = trust_device(worker, settings, keys.network)
        worker = replace(worker, trust=trust)
        timings = begin_timings(
            *(campaign.timings(batch), batch, planned.bucket, trust), keys.network
        )
        try:
            for passage, on_rung in work_on_device(worker, todo, attempts, is_done):
                passages[passage.item.name] = passage
                timings.add(passage, on_rung)
                progress.advance()
        finally:
            timings.write()
    attempts.require_nothing_more(todo)
    seconds = {name: passage.seconds for name, passage in passages.items()}
    rows = outcomes_of(
        *("predict", batch, items, attempts),
        blocked=blocked,
        done={item.name for item in items if is_done(item)},
        seconds=seconds,
    )
    write_table(campaign.provenance(batch), PROVENANCE, provenance_of(items))
    commit_batch(campaign, keys, "predict", batch, rows)


def _require_planned_weights(keys: Keys) -> None:
    """The key of a prediction says that it is made of the weights of the plan.

    Raises:
        InputError: they are others now.
    """
    checkpoint = keys.settings.model.checkpoint
    if weights_digest(checkpoint, Files()) != keys.plan.contents.weights:
        allowed = "the weights that the campaign was planned with; start it again"
        raise InputError(str(checkpoint), "model.checkpoint", "changed since", allowed)


def _is_done(campaign: Campaign, item: Item, kinds: Sequence[TrunkFile]) -> bool:
    """Whether all that an item is to leave is there; what cannot be read is not."""
    with Guard(f"looking for {item}"):
        paths = [campaign.trunk_file(kind, item.name) for kind in kinds]
        return item.is_done and all(
            is_trunk_file_current(path, made_from=item.made_from) for path in paths
        )
    return False


def trust_device(worker: Worker, settings: Settings, key: str) -> Trust:
    """Has the device show that it computes what is known (`inference.canary`).

    A backend that does not, or cannot be loaded, is done without if it was not asked
    for by its name.

    Raises:
        DeviceError: the device itself does not.
        InputError: the backend that the campaign names does not.
    """
    versions = [importlib.metadata.version(name) for name in ("jax", "jaxlib")]
    folder = Store(settings.search.store).place(Path("canary/records")).parent
    named = settings.predict.attention
    while True:
        work = digest_of(key, named, *versions, *sorted(demoted()))
        site = this_site(worker.platform, worker.device, work, settings.predict.dtype)
        with record_choices() as choices, Guard(f"canary on {site.kind}") as guard:
            trust = require_trusted(site, folder, lambda: measure(worker.runtime))
            log(f"device {site.kind}: {trust.verdict}; {trust.seconds * 1e3:.2f} ms")
            return trust
        guard.raise_unless(
            lambda why, error: (
                do_without(choices, error.computation, why.evidence, named)
                if isinstance(error, WrongNumbers)
                else why.cause == "backend"
                and do_without(choices, "", why.evidence, named)
            )
        )


def work_on_device(
    worker: Worker,
    todo: Sequence[Item],
    attempts: Attempts,
    is_done: Callable[[Item], bool],
) -> Iterator[tuple[Passage[Item], Worker]]:
    """Predicts what this process can; yields how each item went through, and on which
    rung of the ladder.

    Raises:
        SystemExit: the device is in no state to go on.
    """
    while group := attempts.next_group(todo):
        on_rung = worker.on(group.rung, 1 if group.alone else group.together)
        phases = _noted(on_rung.phases, attempts, group, on_rung.at_once)
        to_do = _still_to_do(group, attempts, is_done)
        for passage in stream(to_do, phases, together=on_rung.at_once):
            log(f"{passage.item.name}: {_describe(passage, group)}")
            yield passage, on_rung
            if passage.failure is not None:
                why, num = passage.failure, passage.together
                attempts.failed(passage.item, group, why, together=num)


def _still_to_do(
    group: Group[Item], attempts: Attempts, is_done: Callable[[Item], bool]
) -> Iterator[Item]:
    """The items of a group, but for those that another process has committed.

    Where a driver is killed and started again, the old job may still be at work.
    """
    for item in group.items:
        if is_done(item):
            log(f"{item}: done by another process")
            attempts.finished(item)
        else:
            yield item


def _noted[Loaded, Computed](
    phases: Phases[Item, Loaded, Computed],
    attempts: Attempts,
    group: Group[Item],
    together: int,
) -> Phases[Item, Loaded, Computed]:
    """The phases, with every item's beginning and end in the journal."""

    def load(item: Item) -> Loaded:
        attempts.began(item, group, together=together)
        return phases.load(item)

    def finish(item: Item, computed: Computed) -> None:
        phases.finish(item, computed)
        attempts.done(item, group)

    return Phases(load, phases.compute, finish, phases.compute_together)


def _describe(passage: Passage[Item], group: Group[Item]) -> str:
    how = "" if group.rung == "planned" else f" ({group.rung})"
    if passage.failure is not None:
        return f"failed{how}: {passage.failure.cause}: {passage.failure.evidence}"
    start, end = passage.spans["compute"]
    return f"done{how}, {end - start:.1f} s on the device"


if __name__ == "__main__":
    raise SystemExit(main())
