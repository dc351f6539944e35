"""Keeps the device busy: loads the next item and writes the last one meanwhile.

Three phases, each in a thread of its own: `load` (features to a padded batch),
`compute` (the device), `finish` (confidences, table, commit). At most four items are
under way, so memory is bounded: one on the device, the others before or behind it.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from workflow.engine.failures import Failure
from workflow.engine.guard import Guard

_MOST_UNDER_WAY = 4

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

    An item that fails in any phase is yielded with its failure; the others go on. What
    the caller does between two items does not keep the device waiting.
    """
    with _Lane() as loader, _Lane() as device, _Lane() as finisher:

        def enter(passage: Passage[Item]) -> Future[Passage[Item]]:
            loaded = loader.submit(
                lambda: _attempt(passage, "load", phases.load, passage.item)
            )
            computed = device.submit(
                lambda: _attempt(
                    passage, "compute", phases.compute, passage.item, loaded.result()
                )
            )
            return finisher.submit(lambda: _finish(passage, phases, computed.result()))

        waiting = deque(Passage(item) for item in items)
        under_way: deque[Future[Passage[Item]]] = deque()
        while waiting or under_way:
            while waiting and len(under_way) < _MOST_UNDER_WAY:
                under_way.append(enter(waiting.popleft()))
            yield under_way.popleft().result()


class _Lane(ThreadPoolExecutor):
    """One thread that takes tasks in order; what waits is dropped when it closes."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)

    def __exit__(self, *_: object) -> None:
        self.shutdown(cancel_futures=True)


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
    result = None
    with Guard(f"{phase} {passage.item}") as guard:
        result = function(*arguments)
    passage.failure = guard.failure
    passage.spans[phase] = (start, time.monotonic())
    return result
