"""Chooses padded sizes: as little wasted work as possible, compilations included.

A compiled model serves one padded size. Few sizes waste work on padding, many waste
time on compiling and starting; `choose_buckets` finds the optimum exactly.
"""

import bisect
import functools
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from numpy import ndarray


@dataclass(frozen=True)
class CostModel:
    """Seconds of device time. `planning/costs.toml` has them by kind of device."""

    constant: float
    """Of one item, whatever its size."""
    quadratic: float
    """Of one item, by the square of its padded tokens."""
    cubic: float
    """Of one item, by their cube."""
    compile: float
    """Of the first batch of a bucket: the network is compiled."""
    start: float
    """Of every batch: a process starts and reads the weights."""

    def seconds(self, num_tokens: int) -> float:
        """Device time of one (job, seed) padded to this many tokens."""
        return (
            self.constant + self.quadratic * num_tokens**2 + self.cubic * num_tokens**3
        )

    def seconds_of_all(self, tokens: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
        """`seconds` of many."""
        return self.constant + self.quadratic * tokens**2 + self.cubic * tokens**3

    def batch_size(self, bucket: int, batch_seconds: float) -> int:
        """Items of a bucket that a batch of about this length takes; at least one."""
        left = batch_seconds - self.compile - self.start
        return int(max(1, min(left / self.seconds(bucket), sys.maxsize)))

    def batch_seconds(self, bucket: int, num_items: int) -> float:
        """Device time of a batch whose network is not compiled yet."""
        return self.compile + self.start + num_items * self.seconds(bucket)

    def bucket_seconds(
        self,
        bucket: int,
        num_items: int,
        batch_seconds: float,
        *,
        is_compiled: bool = False,
    ) -> float:
        """Device time of all batches of a bucket."""
        num_batches = math.ceil(num_items / self.batch_size(bucket, batch_seconds))
        once = 0.0 if is_compiled else self.compile
        return once + num_batches * self.start + num_items * self.seconds(bucket)


def candidate_sizes(max_tokens: int) -> list[int]:
    """Padded sizes worth considering: steps of about 4 %, friendly to tensor cores."""
    sizes, size = [], 16
    while size < max_tokens:
        sizes.append(size)
        step = 16 if size < 512 else 32 if size < 1024 else 64
        size += step
    return [*sizes, -(-max_tokens // 8) * 8]


def bucket_for(num_tokens: int, buckets: Sequence[int]) -> int:
    """The smallest bucket that holds this many tokens.

    Raises:
        ValueError: none does.
    """
    index = bisect.bisect_left(buckets, num_tokens)
    if index == len(buckets):
        raise ValueError(f"{num_tokens} tokens exceed the largest bucket {buckets[-1]}")
    return buckets[index]


def choose_buckets(
    token_counts: Sequence[int],
    costs: CostModel,
    *,
    existing: Sequence[int] = (),
    batch_seconds: float = math.inf,
) -> tuple[int, ...]:
    """The set of padded sizes with the least total device time.

    An exact dynamic programme over `candidate_sizes`: best[j] is the least time for
    all items of at most size j when j is a bucket, over the next smaller bucket i.

    Args:
        token_counts: tokens of every item.
        costs: what an item, a compilation and the start of a batch cost.
        existing: sizes compiled anyway; using one costs no compilation.
        batch_seconds: length of a batch, which says how many each bucket needs.
    """
    if not token_counts:
        return tuple(existing)
    counts = sorted(token_counts)
    sizes = sorted({*candidate_sizes(counts[-1]), *existing})
    below = [bisect.bisect_right(counts, size) for size in sizes]
    best: list[tuple[float, tuple[int, ...]]] = []
    for j, size in enumerate(sizes):
        cost_of = functools.partial(
            costs.bucket_seconds,
            size,
            batch_seconds=batch_seconds,
            is_compiled=size in existing,
        )
        options: list[tuple[float, tuple[int, ...]]] = [(cost_of(below[j]), (size,))]
        for i in range(j):
            smaller, chosen = best[i]
            if below[j] > below[i]:
                total = smaller + cost_of(below[j] - below[i])
                options.append((total, (*chosen, size)))
        best.append(min(options))
    complete = (
        option for option, n in zip(best, below, strict=True) if n == len(counts)
    )
    return min(complete)[1]


def padding_waste(
    token_counts: Sequence[int],
    buckets: Sequence[int],
    costs: CostModel,
    *,
    batch_seconds: float = math.inf,
) -> float:
    """Share of the device time that goes to padding, compilations and starts."""
    sizes = sorted(buckets)
    items = Counter(bucket_for(count, sizes) for count in token_counts)
    spent = sum(costs.bucket_seconds(b, n, batch_seconds) for b, n in items.items())
    return 1 - sum(costs.seconds(count) for count in token_counts) / spent
