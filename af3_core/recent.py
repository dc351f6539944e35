"""What was made last: jobs of a screen share their chains, and need not make them anew.

The same key has to stand for the same value: nothing that is made may depend on what
is not in its key. What is kept is handed out again as it is, so nobody may change it.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock


class Recent:
    """Values by what they were made from; those not used for longest go first."""

    def __init__(self, room: int = 0) -> None:
        """`room`: bytes that all values may take together."""
        self._room, self._taken = room, 0
        self._values: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()
        self._lock = Lock()

    def get[Made](
        self, key: Hashable, make: Callable[[], Made], size: Callable[[Made], int]
    ) -> Made:
        """The value of a key, made if it is not kept; `size` tells its bytes."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                # The key says what it is: `make` is the same function of it each time.
                return self._values[key][0]  # pyright: ignore[reportReturnType]
        made = make()
        self._keep(key, made, size(made))
        return made

    def _keep(self, key: Hashable, made: object, size: int) -> None:
        with self._lock:
            if size > self._room or key in self._values:
                return
            self._values[key] = made, size
            self._taken += size
            while self._taken > self._room:
                _, (_, freed) = self._values.popitem(last=False)
                self._taken -= freed
