"""Predicts a batch whose features take as long to load as they do to compute.

    python -m tests.workflow.slow_features

in the folder of a campaign that is featurised; prints the share of the time that the
device was idle between items.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

from af3_core.contracts import PREDICTIONS
from workflow.campaign import features_path, prediction_path, split_item
from workflow.inference import Loaded, start_worker
from workflow.items import Item, items_from
from workflow.manifest import load_manifest
from workflow.settings import check_settings
from workflow.stream import Passage, stream
from workflow.timeline import device_idle


def main() -> None:
    """Predicts all seeds of the largest job, the first ones at full speed."""
    raw = json.loads(Path("results/plan/settings.json").read_text(encoding="utf-8"))
    (batch,) = load_manifest().jobs.values()
    settings = check_settings(raw, source="test")
    worker = start_worker(settings, batch.bucket, batch.msa_rows)

    def features_of(item: str) -> Path:
        return features_path(split_item(item)[0])

    items = items_from(batch.items, features_of, prediction_path, PREDICTIONS, "")
    list(stream(items[:1], worker.phases))
    spans = computed(list(stream(items[:4], worker.phases)))
    seconds = sum(end - start for start, end in spans) / len(spans)
    load = taking(seconds, worker.phases.load)
    passages = list(stream(items, dataclasses.replace(worker.phases, load=load)))
    assert not any(passage.failure for passage in passages)
    loads = [passage.spans["load"] for passage in passages]
    assert min(end - start for start, end in loads) >= seconds
    print(device_idle(computed(passages)))


def computed(passages: list[Passage[Item]]) -> list[tuple[float, float]]:
    """When the device computed each item."""
    return [passage.spans["compute"] for passage in passages]


def taking(seconds: float, load: Callable[[Item], Loaded]) -> Callable[[Item], Loaded]:
    """`load`, made as slow as this."""

    def slow_load(item: Item) -> Loaded:
        began = time.monotonic()
        loaded = load(item)
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        return loaded

    return slow_load


if __name__ == "__main__":
    main()
