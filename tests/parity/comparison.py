"""One compared quantity, one line."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from af3_core.job import InputError


@dataclass(frozen=True)
class Comparison:
    """How far one of our arrays is from the recorded one."""

    name: str
    shape: tuple[int, ...]
    error: float
    tolerance: float
    measure: str
    """What `error` is: "relative", "Å RMSD", "Å mean" or "unequal" (a count)."""

    @property
    def is_ok(self) -> bool:
        """Whether the error is within the tolerance; never for NaN."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        shape = "×".join(map(str, self.shape)) or "scalar"
        verdict = "ok" if self.is_ok else "FAILED"
        return (
            f"{self.name:<46} {shape:<14} {self.error:>9.2e}"
            f"  ≤ {self.tolerance:<6g} {self.measure:<9} {verdict}"
        )


def report(comparisons: Iterable[Comparison | str]) -> int:
    """Prints comparisons, and notes between them, as they are made.

    Returns:
        What a program exits with: 0 if all hold, 1 if not, 2 if the input is at fault.
    """
    num_compared, failed = 0, []
    try:
        for comparison in comparisons:
            print(comparison, flush=True)
            if isinstance(comparison, str):
                continue
            num_compared += 1
            if not comparison.is_ok:
                failed.append(comparison.name)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{num_compared - len(failed)} of {num_compared} hold", flush=True)
    return 1 if failed or not num_compared else 0


def compare_relative(
    name: str,
    ours: np.ndarray,
    recorded: np.ndarray,
    mask: np.ndarray | None,
    tolerance: float,
) -> Comparison:
    """‖ours − recorded‖ / ‖recorded‖ over `mask`, which may have fewer axes."""
    if ours.shape != recorded.shape:
        return _misfit(name, ours, recorded)
    a, b = (x.astype(np.float64) for x in (ours, recorded))
    if mask is not None:
        a, b = a[mask], b[mask]
    norm = np.linalg.norm(b)
    error = np.linalg.norm(a - b) / (norm if norm > 0 else 1.0)
    return Comparison(name, recorded.shape, float(error), tolerance, "relative")


def compare_positions(
    name: str,
    ours: np.ndarray,
    recorded: np.ndarray,
    mask: np.ndarray,
    tolerance: float,
) -> Comparison:
    """Root mean square deviation of atoms, Å, without superposition; worst sample."""
    if ours.shape != recorded.shape:
        return _misfit(name, ours, recorded)
    squared = np.sum(np.square(ours.astype(np.float64) - recorded), axis=-1)
    error = np.sqrt(squared[..., mask].mean(axis=-1)).max()
    return Comparison(name, recorded.shape, float(error), tolerance, "Å RMSD")


def compare_mean(
    name: str,
    ours: np.ndarray,
    recorded: np.ndarray,
    mask: np.ndarray,
    tolerance: float,
) -> Comparison:
    """Mean absolute difference over `mask`, which the last axes share."""
    if ours.shape != recorded.shape:
        return _misfit(name, ours, recorded)
    error = np.abs(ours.astype(np.float64) - recorded)[..., mask].mean()
    return Comparison(name, recorded.shape, float(error), tolerance, "Å mean")


def compare_exactly(name: str, ours: np.ndarray, recorded: np.ndarray) -> Comparison:
    """The number of unequal entries, for integers and flags."""
    if ours.shape != recorded.shape:
        return _misfit(name, ours, recorded)
    count = float(np.count_nonzero(ours != recorded))
    return Comparison(name, recorded.shape, count, 0.0, "unequal")


def _misfit(name: str, ours: np.ndarray, recorded: np.ndarray) -> Comparison:
    label = f"{name} (ours: {'×'.join(map(str, ours.shape))})"
    return Comparison(label, recorded.shape, float("inf"), 0.0, "shape")
