"""Predicts a batch whose features take as long to load as they do to compute.

    python -m tests.workflow.slow_features

in the folder of a campaign that is featurised; prints the share of the time that the
device was idle between items.
"""

import dataclasses
import time
from collections.abc import Callable

from af3_core.contracts import PREDICTIONS
from workflow.batches import load_plan
from workflow.campaign import Campaign
from workflow.engine.items import Item, items_from
from workflow.engine.stream import Passage, stream
from workflow.inference.worker import start_worker
from workflow.settings import check_settings
from workflow.tables import read_json
from workflow.timeline import device_idle

HERE = Campaign()
"""The campaign in the current folder."""


def main() -> None:
    """Predicts all seeds of the largest job, the first ones at full speed."""
    raw = read_json(HERE.plan / "settings.json")
    (batch,) = load_plan(HERE).jobs.values()
    settings = check_settings(raw, source="test")
    worker = start_worker(HERE, settings, batch.bucket, batch.msa_rows)

    keys = dict.fromkeys(batch.items, "")
    items = items_from(keys, HERE.prediction, PREDICTIONS)
    list(stream(items[:1], worker.phases))
    spans = computed(list(stream(items[:4], worker.phases)))
    # Both take twice as long as the slowest, so that neighbours on the machine do not
    # decide which of them is the slower.
    seconds = 2 * max(end - start for start, end in spans)
    slow = dataclasses.replace(
        worker.phases,
        load=taking(seconds, worker.phases.load),
        compute=taking(seconds, worker.phases.compute),
    )
    passages = list(stream(items, slow))
    assert not any(passage.failure for passage in passages)
    loads = [passage.spans["load"] for passage in passages]
    assert min(end - start for start, end in loads) >= seconds
    print(device_idle(computed(passages)))


def computed(passages: list[Passage[Item]]) -> list[tuple[float, float]]:
    """When the device computed each item."""
    return [passage.spans["compute"] for passage in passages]


def taking[**Given, Result](
    seconds: float, phase: Callable[Given, Result]
) -> Callable[Given, Result]:
    """A phase, made to take as long as this."""

    def slow_phase(*arguments: Given.args, **options: Given.kwargs) -> Result:
        began = time.monotonic()
        result = phase(*arguments, **options)
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        return result

    return slow_phase


if __name__ == "__main__":
    main()
