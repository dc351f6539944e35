"""Pools: every wanted pair meets, in few jobs of bounded size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Bool, Int
from numpy import ndarray

from af3_core.inputs.pools import Design, design_pools


def meetings(design: Design, number: int) -> Int[ndarray, "n n"]:
    """In how many pools each pair meets."""
    counts = np.zeros((number, number), int)
    for pool in design.pools:
        counts[np.ix_(pool, pool)] += 1
    np.fill_diagonal(counts, 0)
    return counts


def all_pairs(number: int) -> Bool[ndarray, "n n"]:
    """Every pair of different partners."""
    return ~np.eye(number, dtype=bool)


def proteome() -> Int[ndarray, "n"]:
    """Lengths as those of the 480 proteins of Mycoplasma genitalium: 174,000 residues,
    half of the proteins shorter than 310, the longest 1,805."""
    lengths = np.random.default_rng(0).lognormal(np.log(310), 0.58, 480)
    return np.clip(lengths * 174_000 / lengths.sum(), 37, 1805).astype(int)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(10, 100), min_size=2, max_size=25),
    st.integers(200, 600),
    st.integers(1, 3),
    st.integers(0, 2**32),
)
def test_every_wanted_pair_meets_and_no_pool_is_too_large(
    lengths: list[int], most: int, times: int, seed: int
) -> None:
    tokens = np.array(lengths)
    wanted = np.random.default_rng(seed).random((len(tokens),) * 2) < 0.5
    wanted = (wanted | wanted.T) & all_pairs(len(tokens))
    design = design_pools(tokens, wanted, most_tokens=most, times=times)
    assert (meetings(design, len(tokens))[wanted] >= times).all()
    assert all(tokens[list(pool)].sum() <= most for pool in design.pools)
    assert design.lower_bound <= len(design.pools)
    assert design.too_large == ()


def test_a_pair_larger_than_a_pool_is_named() -> None:
    design = design_pools(np.array([60, 50, 30]), all_pairs(3), most_tokens=100)
    assert design.too_large == ((0, 1),)
    counts = meetings(design, 3)
    assert counts[0, 2] and counts[1, 2] and not counts[0, 1]


def test_a_plane_is_found_where_there_is_one() -> None:
    """25 equal proteins, five to a pool: the affine plane of order 5 has 30 lines."""
    design = design_pools(np.full(25, 10), all_pairs(25), most_tokens=50)
    assert design.lower_bound == len(design.pools) == 30
    assert (meetings(design, 25)[all_pairs(25)] == 1).all()


@pytest.mark.slow
def test_a_small_proteome_takes_fewer_pools_than_published() -> None:
    """Todor et al. (doi:10.1038/s44320-026-00189-7) needed 2,027 for 476 proteins."""
    tokens = proteome()
    design = design_pools(tokens, all_pairs(480), most_tokens=5000)
    counts = meetings(design, 480)[all_pairs(480)]
    assert counts.min() >= 1 and counts.mean() < 1.5
    assert 1300 < design.lower_bound <= len(design.pools) < 1.25 * design.lower_bound
    assert len(design.pools) < 2027
    sizes = [tokens[list(pool)].sum() for pool in design.pools]
    assert np.median(sizes) > 0.95 * 5000


def test_the_order_of_the_input_decides_nothing() -> None:
    tokens = proteome()[:60]
    keys = np.random.default_rng(1).integers(0, 2**63, 60).astype(np.uint64)
    order = np.random.default_rng(2).permutation(60)
    one = design_pools(tokens, all_pairs(60), most_tokens=3700, keys=keys)
    other = design_pools(
        tokens[order], all_pairs(60), most_tokens=3700, keys=keys[order]
    )
    back = {frozenset(order[list(pool)].tolist()) for pool in other.pools}
    assert back == {frozenset(pool) for pool in one.pools}


def test_a_bait_meets_its_preys_in_full_pools() -> None:
    tokens = np.full(101, 10)
    wanted = np.zeros((101, 101), bool)
    wanted[0, 1:] = wanted[1:, 0] = True
    design = design_pools(tokens, wanted, most_tokens=110)
    assert len(design.pools) == design.lower_bound == 10
