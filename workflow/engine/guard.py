"""The one place where whatever an item raises becomes its failure.

Everything that is done for one item, from its key to its commit, is done inside a
`Guard`, in every stage. What is raised there stops this item and no other; a defect of
our own is told from the user's errors, and its traceback goes to the step's log.
"""

import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from workflow.engine.failures import Failure, classify
from workflow.tables import DamagedFile

_ENDS_THE_STEP = (SystemExit, KeyboardInterrupt, GeneratorExit)


class Guard(AbstractContextManager["Guard"]):
    """Keeps what its block raises as a failure, unless it is to end the step."""

    failure: Failure | None = None
    """Why the block did not come to its end; None if it did."""
    error: BaseException | None = None
    """What it raised."""

    def __init__(self, name: str, *lets_through: type[BaseException]) -> None:
        self.name = name
        self._lets_through = (*_ENDS_THE_STEP, *lets_through)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is None or isinstance(error, self._lets_through):
            return False
        self.failure, self.error = classify(error), error
        if isinstance(error, DamagedFile):
            # Absent is what it counts as, and the next start makes it again.
            error.path.unlink(missing_ok=True)
        log(f"{self.name} failed: {self.failure.cause}: {self.failure.evidence}")
        if self.failure.cause in ("defect", "unknown"):
            traceback.print_exception(error)
        return True

    def raise_unless(self, is_mended: Callable[[Failure, BaseException], bool]) -> None:
        """Raises what was kept after all, unless its cause has been removed."""
        if self.failure is None or self.error is None:
            return
        if not is_mended(self.failure, self.error):
            raise self.error


def log(message: str) -> None:
    """One line with the time, to the step's log."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)
