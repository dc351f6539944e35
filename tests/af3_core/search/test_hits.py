import random

import pytest

from af3_core.search.hits import BestHits, Hit, Region, select_rows
from af3_core.search.settings import SearchSettings


def make_hit(score: float, name: str = "a", *regions: Region) -> Hit:
    default = Region(start=1, end=9, row="A" * 9, score=score, p_value=1e-20)
    return Hit(name, "", score, e_value=2.0**-score, regions=regions or (default,))


def test_the_best_are_kept_whatever_the_order() -> None:
    hits = [make_hit(float(i % 997), f"t{i:05d}") for i in range(5_000)]
    expected = sorted(hits, key=lambda hit: hit.order)[:500]
    random.Random(1).shuffle(hits)
    best = BestHits(500)
    best.add(hits)
    most_held = len(best.hits)
    best.prune()
    assert best.hits == expected
    assert best.num_hits == 5_000
    assert most_held <= 625


def test_shards_merge_to_what_the_whole_gives() -> None:
    hits = [make_hit(float(i % 97), f"t{i:05d}") for i in range(3_000)]
    whole, merged = BestHits(100), BestHits(100)
    whole.add(hits)
    whole.prune()
    for shard in range(5):
        part = BestHits(100)
        part.add(hits[shard::5])
        merged.merge(part)
    assert (merged.hits, merged.num_hits) == (whole.hits, whole.num_hits)


def test_equal_scores_are_ordered_by_name_then_position() -> None:
    near = Region(start=3, end=9, row="A", score=1.0, p_value=0.0)
    far = Region(start=30, end=90, row="A", score=1.0, p_value=0.0)
    reverse = Region(start=9, end=3, row="A", score=1.0, p_value=0.0)
    best = BestHits(10)
    best.add(
        [
            make_hit(1.0, "b"),
            make_hit(1.0, "a", reverse),
            make_hit(1.0, "a", far),
            make_hit(1.0, "a", near),
        ]
    )
    best.prune()
    starts = [(hit.name, hit.regions[0].start) for hit in best.hits]
    assert starts == [("a", 3), ("a", 30), ("a", 9), ("b", 1)]


@pytest.mark.parametrize(("profile", "num_rows"), [("paper", 1), ("server", 2)])
def test_a_weak_region_is_judged_by_the_number_of_hits(
    profile: str, num_rows: int
) -> None:
    strong = Region(start=1, end=9, row="A", score=50.0, p_value=1e-15)
    weak = Region(start=20, end=29, row="A", score=5.0, p_value=1e-4)
    best = BestHits(1_000)
    best.add([make_hit(50.0, "t", strong, weak)])
    best.num_hits = 100  # as if 99 more had been found and forgotten
    rows = select_rows(best, SearchSettings(profile=profile))
    assert len(rows) == num_rows
    assert rows[0].region_e_value == pytest.approx(1e-13)


def test_of_regions_aligned_to_the_same_residues_the_better_stays() -> None:
    twins = [
        Region(start=1, end=9, row="worse", score=10.0, p_value=1e-9),
        Region(start=1, end=9, row="better", score=20.0, p_value=1e-9),
    ]
    best = BestHits(10)
    best.add([make_hit(30.0, "t", *twins)])
    rows = select_rows(best, SearchSettings())
    assert [row.region.row for row in rows] == ["better"]


def test_the_query_counts_as_one_of_the_rows() -> None:
    best = BestHits(3)
    best.add([make_hit(float(i), f"t{i}") for i in range(9)])
    rows = select_rows(best, SearchSettings(max_sequences=3))
    assert [row.target for row in rows] == ["t8", "t7"]
