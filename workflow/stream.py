"""Keeps the device busy: loads the next item and writes the last one meanwhile.

Three phases, each in a thread of its own: `load` (features to a padded batch),
`compute` (the device; in the calling thread), `finish` (confidences, table, commit).
At most one item is loaded ahead and two wait to be finished, so memory is bounded.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from workflow.failures import ITEM_ERRORS, Failure, classify

_MAX_UNFINISHED = 2

type Span = tuple[float, float]


@dataclass(frozen=True)
class Phases[Item, Loaded, Computed]:
    """What is done with every item."""

    load: Callable[[Item], Loaded]
    compute: Callable[[Item, Loaded], Computed]
    finish: Callable[[Item, Computed], None]


@dataclass
class Passage[Item]:
    """How one item went through: spans in seconds of the monotonic clock."""

    item: Item
    failure: Failure | None = None
    spans: dict[str, Span] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Time spent on the item in all phases."""
        return sum(end - start for start, end in self.spans.values())


def stream[Item, Loaded, Computed](
    items: Sequence[Item], phases: Phases[Item, Loaded, Computed]
) -> Iterator[Passage[Item]]:
    """Takes items through the phases, in order, and yields each when it is finished.

    An item that fails in any phase is yielded with its failure; the others go on.
    Whatever is not one of `ITEM_ERRORS` is raised.
    """
    passages = [Passage(item) for item in items]
    unfinished: deque[Future[Passage[Item]]] = deque()
    with ThreadPoolExecutor(1) as loader, ThreadPoolExecutor(1) as finisher:
        loading = deque(loader.submit(_load, p, phases) for p in passages[:1])
        for number, passage in enumerate(passages):
            loaded = loading.popleft().result()
            for following in passages[number + 1 : number + 2]:
                loading.append(loader.submit(_load, following, phases))
            computed = _attempt(
                passage, "compute", phases.compute, passage.item, loaded
            )
            unfinished.append(finisher.submit(_finish, passage, phases, computed))
            while unfinished and (
                len(unfinished) > _MAX_UNFINISHED or unfinished[0].done()
            ):
                yield unfinished.popleft().result()
        while unfinished:
            yield unfinished.popleft().result()


def _load[Item, Loaded, Computed](
    passage: Passage[Item], phases: Phases[Item, Loaded, Computed]
) -> Loaded | None:
    return _attempt(passage, "load", phases.load, passage.item)


def _finish[Item, Loaded, Computed](
    passage: Passage[Item],
    phases: Phases[Item, Loaded, Computed],
    computed: Computed | None,
) -> Passage[Item]:
    _attempt(passage, "finish", phases.finish, passage.item, computed)
    return passage


def _attempt[Item, Result](
    passage: Passage[Item],
    phase: str,
    function: Callable[..., Result],
    *arguments: object,
) -> Result | None:
    """Runs one phase of an item that has not failed yet, and notes its span."""
    if passage.failure is not None:
        return None
    start = time.monotonic()
    try:
        return function(*arguments)
    except ITEM_ERRORS as error:
        passage.failure = classify(error)
        return None
    finally:
        passage.spans[phase] = (start, time.monotonic())
