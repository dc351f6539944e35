"""Keeps the device busy: loads the next items and writes the last ones meanwhile.

Three phases, each in a thread of its own: `load` (features to a padded batch),
`compute` (the device), `finish` (confidences, table, commit). Few items are under way,
so memory is bounded: those on the device, and as many before or behind it. Small items
may be computed several at once, in one program; each is loaded and finished alone.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import batched
from typing import cast

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
    compute_together: (
        Callable[[Sequence[Item], Sequence[Loaded]], Sequence[Computed]] | None
    ) = None
    """`compute` for several items at once, if that is possible."""


@dataclass
class Passage[Item]:
    """How one item went through: spans in seconds of the monotonic clock."""

    item: Item
    failure: Failure | None = None
    spans: dict[str, Span] = field(default_factory=dict)
    together: int = 1
    """With how many items it was computed; of their time it has its equal share."""

    @property
    def seconds(self) -> float:
        """Time spent on the item in all phases."""
        return sum(end - start for start, end in self.spans.values())


def stream[Item, Loaded, Computed](
    items: Iterable[Item],
    phases: Phases[Item, Loaded, Computed],
    *,
    together: int = 1,
) -> Iterator[Passage[Item]]:
    """Takes items through the phases, in order, and yields each when it is finished.

    An item that fails in any phase is yielded with its failure; the others go on, but
    for those that were computed with it. What the caller does between two items does
    not keep the device waiting.

    Args:
        items: taken from the iterable when there is room for them.
        phases: what is done with every item.
        together: how many are computed at once.
    """
    with _Lane() as loader, _Lane() as device, _Lane() as finisher:

        def enter(chunk: Sequence[Passage[Item]]) -> list[Future[Passage[Item]]]:
            loaded = [
                loader.submit(_attempt, passage, "load", phases.load, passage.item)
                for passage in chunk
            ]
            computed = device.submit(
                lambda: _compute(chunk, phases, [future.result() for future in loaded])
            )
            return [
                finisher.submit(_finish, passage, phases, index, computed)
                for index, passage in enumerate(chunk)
            ]

        waiting = batched((Passage(item) for item in items), together)
        under_way: deque[Future[Passage[Item]]] = deque()
        most = max(_MOST_UNDER_WAY, 2 * together)
        chunk = next(waiting, None)
        while chunk or under_way:
            while chunk and len(under_way) + len(chunk) <= most:
                under_way += enter(chunk)
                chunk = next(waiting, None)
            yield under_way.popleft().result()


def _compute[Item, Loaded, Computed](
    chunk: Sequence[Passage[Item]],
    phases: Phases[Item, Loaded, Computed],
    loaded: Sequence[Loaded | None],
) -> list[Computed | None]:
    """What the device makes of those that could be loaded."""
    pairs = zip(chunk, loaded, strict=True)
    ready = [(passage, value) for passage, value in pairs if passage.failure is None]
    alive = [passage for passage, _ in ready]
    if phases.compute_together is None or len(alive) < 2:
        return [
            _attempt(passage, "compute", phases.compute, passage.item, value)
            for passage, value in zip(chunk, loaded, strict=True)
        ]
    start = time.monotonic()
    computed: Sequence[Computed] = ()
    with Guard(f"compute {', '.join(str(passage.item) for passage in alive)}") as guard:
        computed = phases.compute_together(
            [passage.item for passage in alive],
            [cast(Loaded, value) for _, value in ready],
        )
    share = (time.monotonic() - start) / len(alive)
    for index, passage in enumerate(alive):
        passage.failure, passage.together = guard.failure, len(alive)
        passage.spans["compute"] = (start + index * share, start + (index + 1) * share)
    results = iter(computed)
    return [None if passage.failure else next(results) for passage in chunk]


class _Lane(ThreadPoolExecutor):
    """One thread that takes tasks in order; what waits is dropped when it closes."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)

    def __exit__(self, *_: object) -> None:
        self.shutdown(cancel_futures=True)


def _finish[Item, Loaded, Computed](
    passage: Passage[Item],
    phases: Phases[Item, Loaded, Computed],
    index: int,
    computed: Future[list[Computed | None]],
) -> Passage[Item]:
    _attempt(passage, "finish", phases.finish, passage.item, computed.result()[index])
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
