"""Pools: few jobs in which every wanted pair meets.

Many proteins are folded together and each pair is read out of the jobs that hold both
(Todor et al. 2026, doi:10.1038/s44320-026-00189-7). Finding the fewest pools is a
covering design with sizes, for which there is no fast exact method. Two ways are tried:

- *greedily*: a pool grows by whatever meets most of it for the first time;
- *by lines*: proteins are sorted by length into classes of p (a prime), and pool (a, b)
  takes number a·c + b modulo p of class c. Any two proteins of different classes meet
  exactly once, and pools are of even size because each has one of every class. What is
  left, pairs within a class, fills the room that pools have, and then pools of its own.

The smaller design wins. Nothing depends on the order of the input.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64
from numpy import ndarray

MAX_PARTNERS = 5000
"""More cannot be pooled: their pairs are kept in a square."""
_DENSE = 0.5
"""Share of all pairs from which on lines are tried: they make every pair meet."""
_TRIED_PRIMES = 3
_ROUNDS = 4
"""Different assignments of proteins to lines that are tried."""


@dataclass(frozen=True)
class Design:
    """Which partners share a pool."""

    pools: tuple[tuple[int, ...], ...]
    """Partners of each, in increasing order."""
    lower_bound: int
    """No design has fewer pools."""
    too_large: tuple[tuple[int, int], ...]
    """Wanted pairs that exceed a pool by themselves; they are in none."""


@dataclass(frozen=True)
class _Problem:
    tokens: Float[ndarray, "n"]
    need: Float[ndarray, "n n"]
    """How often each pair is to meet."""
    most: int
    """Tokens of a pool."""


def design_pools(
    tokens: Int[ndarray, "n"],
    wanted: Bool[ndarray, "n n"],
    *,
    most_tokens: int,
    times: int = 1,
    keys: UInt64[ndarray, "n"] | None = None,
) -> Design:
    """Pools of at most `most_tokens` in which every wanted pair meets `times` times.

    Args:
        wanted: symmetric, nothing on the diagonal.
        keys: what decides between equals; by default the order of the partners.

    Raises:
        ValueError: there are more than `MAX_PARTNERS`.
    """
    if len(tokens) > MAX_PARTNERS:
        raise ValueError(f"{len(tokens):,} partners; at most {MAX_PARTNERS:,} pool")
    order = np.arange(len(tokens)) if keys is None else np.lexsort((keys, tokens))
    sizes = np.asarray(tokens, float)[order]
    asked = wanted[np.ix_(order, order)]
    fits = sizes[:, None] + sizes[None, :] <= most_tokens
    excess = np.argwhere(np.triu(asked & ~fits))
    need = times * (asked & fits).astype(np.float32)
    problem = _Problem(sizes, need, most_tokens)
    pools = min(_candidates(problem, times), key=len)
    return Design(
        pools=tuple(
            sorted(tuple(sorted(int(order[i]) for i in pool)) for pool in pools)
        ),
        lower_bound=lower_bound(problem.tokens, need, most_tokens),
        too_large=tuple((int(order[i]), int(order[j])) for i, j in excess),
    )


def lower_bound(
    tokens: Float[ndarray, "n"], need: Float[ndarray, "n n"], most: int
) -> int:
    """Fewer pools cannot do (after Schönheim).

    A partner meets at most `most` less its own tokens in each pool, so it must be in
    several; together they fill so many pools.
    """
    to_meet = need @ tokens
    room = np.maximum(most - tokens, 1)
    memberships = np.ceil(to_meet / room - 1e-9)
    # Met so often, it needs as many pools however small the others are.
    memberships = np.maximum(memberships, need.max(axis=1, initial=0))
    return math.ceil(float(memberships @ tokens) / most - 1e-9)


def _candidates(problem: _Problem, times: int) -> Iterator[list[Int[ndarray, "_"]]]:
    yield _cover(problem, problem.need.copy(), [])
    number = len(problem.tokens)
    share = np.count_nonzero(problem.need) / max(1, number * (number - 1))
    if share < _DENSE or number < 3:
        return
    least = max(2, math.ceil(problem.tokens.sum() / problem.most))
    for prime in _primes_from(least, _TRIED_PRIMES):
        for round_ in range(_ROUNDS):
            need = problem.need.copy()
            pools = []
            for time in range(times):
                for pool in _lines(problem, prime, round_ + _ROUNDS * time):
                    _meet(need, pool)
                    pools.append(pool)
            _fill(problem, need, pools)
            yield _cover(problem, need, pools)


def _primes_from(least: int, number: int) -> list[int]:
    found: list[int] = []
    while len(found) < number:
        if all(least % divisor for divisor in range(2, math.isqrt(least) + 1)):
            found.append(least)
        least += 1
    return found


def _lines(problem: _Problem, prime: int, round_: int) -> Iterator[Int[ndarray, "m"]]:
    """Pools along the lines of a plane; of too large ones the least is taken out."""
    number = len(problem.tokens)
    num_classes = -(-number // prime)
    if num_classes > prime:
        return
    random = np.random.default_rng([prime, round_])
    table = np.full((num_classes, prime), -1)
    by_size = np.argsort(-problem.tokens, kind="stable")
    for row in range(num_classes):
        members = random.permutation(by_size[row * prime : (row + 1) * prime])
        table[row, : len(members)] = members
    rows = np.arange(num_classes)
    for slope in range(prime):
        for offset in range(prime):
            pool = table[rows, (slope * rows + offset) % prime]
            pool = pool[pool >= 0]
            while (excess := problem.tokens[pool].sum() - problem.most) > 0:
                sizes = problem.tokens[pool]
                enough = np.flatnonzero(sizes >= excess)
                drop = np.argmax(sizes)
                if len(enough):
                    drop = enough[np.argmin(sizes[enough])]
                pool = np.delete(pool, drop)
            if len(pool) > 1:
                yield pool


def _meet(need: Float[ndarray, "n n"], pool: Int[ndarray, "m"]) -> None:
    """Takes one meeting off every pair of a pool."""
    square = np.ix_(pool, pool)
    need[square] = np.maximum(need[square] - 1, 0)


def _grow(
    problem: _Problem, need: Float[ndarray, "n n"], pool: list[int], left: ndarray
) -> Int[ndarray, "m"]:
    """Adds whatever still has to meet most of the pool, while there is room."""
    tokens = problem.tokens
    size = tokens[pool].sum()
    unmet = need > 0
    gain = tokens[pool] @ unmet[pool]
    is_free = np.ones(len(tokens), bool)
    is_free[pool] = False
    tie = left / max(1.0, left.max(initial=0.0))
    while True:
        is_open = is_free & (tokens <= problem.most - size) & (gain > 0)
        if not is_open.any():
            return np.array(pool)
        chosen = int(np.argmax(np.where(is_open, gain / size + 1e-6 * tie, -1.0)))
        pool.append(chosen)
        is_free[chosen] = False
        size += tokens[chosen]
        gain = gain + tokens[chosen] * unmet[chosen]


def _fill(
    problem: _Problem, need: Float[ndarray, "n n"], pools: list[Int[ndarray, "_"]]
) -> None:
    """Lets pairs meet in the room that pools have, the emptiest first."""
    sizes = [problem.tokens[pool].sum() for pool in pools]
    left = need @ problem.tokens
    for index in np.argsort(sizes, kind="stable"):
        before = pools[index]
        after = _grow(problem, need, before.tolist(), left)
        if len(after) > len(before):
            _meet_new(need, before, after)
            pools[index] = after


def _meet_new(
    need: Float[ndarray, "n n"], before: Int[ndarray, "m"], after: Int[ndarray, "k"]
) -> None:
    """Takes meetings off the pairs that a pool gained by growing."""
    kept = need[np.ix_(before, before)].copy()
    _meet(need, after)
    need[np.ix_(before, before)] = kept


def _cover(
    problem: _Problem, need: Float[ndarray, "n n"], pools: list[Int[ndarray, "_"]]
) -> list[Int[ndarray, "_"]]:
    """Adds pools until no pair is left."""
    tokens = problem.tokens
    left = need @ tokens
    while True:
        start = int(np.argmax(left))
        if left[start] <= 0:
            return pools
        pool = _grow(problem, need, [start], left)
        square = np.ix_(pool, pool)
        met = need[square] > 0
        left[pool] -= met @ tokens[pool]
        _meet(need, pool)
        pools.append(pool)
