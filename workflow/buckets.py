"""Chooses padded sizes: as little wasted work as possible, compilations included.

A compiled model serves one padded size. Few sizes waste work on padding, many waste
time on compiling; `choose_buckets` finds the optimum exactly.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CostModel:
    """Seconds one item takes in a bucket of n tokens, and what a compilation costs.

    The defaults fit, to 1 %, the compile-free A100 times that AlphaFold 3 publishes
    for 1,024 to 5,120 tokens (docs/performance.md there); `compile` is what users
    report.
    """

    constant: float = 7.06
    quadratic: float = 4.147e-5
    cubic: float = 1.071e-8
    compile: float = 90.0

    def seconds(self, bucket: int) -> float:
        """Device time of one (job, seed) padded to this many tokens."""
        return self.constant + self.quadratic * bucket**2 + self.cubic * bucket**3


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
    token_counts: Sequence[int], costs: CostModel, *, existing: Sequence[int] = ()
) -> tuple[int, ...]:
    """The set of padded sizes with the least total device time.

    An exact dynamic programme over `candidate_sizes`: best[j] is the least time for
    all items of at most size j when j is a bucket, over the next smaller bucket i.

    Args:
        token_counts: tokens of every item.
        costs: what an item and a compilation cost.
        existing: sizes compiled anyway; using one costs no compilation.
    """
    if not token_counts:
        return tuple(existing)
    counts = sorted(token_counts)
    sizes = sorted({*candidate_sizes(counts[-1]), *existing})
    below = [bisect.bisect_right(counts, size) for size in sizes]
    best: list[tuple[float, tuple[int, ...]]] = []
    for j, size in enumerate(sizes):
        compile_cost = 0.0 if size in existing else costs.compile
        item_cost = costs.seconds(size)
        options = [(compile_cost + below[j] * item_cost, (size,))]
        for i in range(j):
            smaller, chosen = best[i]
            new_items = below[j] - below[i]
            if new_items:
                total = smaller + compile_cost + new_items * item_cost
                options.append((total, (*chosen, size)))
        best.append(min(options))
    complete = (
        option for option, n in zip(best, below, strict=True) if n == len(counts)
    )
    return min(complete)[1]
