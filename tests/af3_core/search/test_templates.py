import datetime

import pytest

from af3_core.search.hits import Region, Row
from af3_core.search.templates import (
    TemplateChain,
    TemplateFilter,
    TemplateHit,
    align_with_structure,
    choose_templates,
    read_hit,
)

QUERY = "ACDEFGHIKLMNPQRSTVWY"
OLD, NEW = datetime.date(2000, 1, 1), datetime.date(2022, 1, 1)


def make_hit(
    row: str, *, name: str = "1abc", start: int = 0, full: int = 0
) -> TemplateHit:
    length = len(row.replace("-", ""))
    full_length = full or start + length
    return TemplateHit(name, "A", row, start, start + length, full_length)


def make_chain(
    letters: str, *, released: datetime.date = OLD, unresolved: range = range(0)
) -> TemplateChain:
    return TemplateChain(released, letters, frozenset(unresolved))


def choose(*found: tuple[TemplateHit, TemplateChain]) -> list[str]:
    """Entries of the templates chosen among hits in order."""
    chains = {hit.pdb_id: chain for hit, chain in found}
    chosen = choose_templates(
        QUERY, [hit for hit, _ in found], lambda name, _: chains.get(name)
    )
    return [template.hit.pdb_id for template in chosen]


def test_insertions_and_gaps_shift_the_alignment() -> None:
    hit = make_hit("--DEFwwG-IK", start=5)
    pairs = align_with_structure(hit, "XXXXXDEFWWGIK")
    assert pairs == {2: 5, 3: 6, 4: 7, 5: 10, 7: 11, 8: 12}


def test_a_structure_lacking_residues_is_aligned_again() -> None:
    """The published example: two residues are missing inside, one is there before."""
    hit = make_hit("---DEFGHIJK-", start=1, full=10)
    assert align_with_structure(hit, "XDEFGHKL") == {
        3: 1,
        4: 2,
        5: 3,
        6: 4,
        7: 5,
        10: 6,
    }


def test_a_structure_of_the_listed_length_keeps_the_alignment() -> None:
    hit = make_hit("DEFG", start=1, full=6)
    assert align_with_structure(hit, "XDXXGX") == {0: 1, 1: 2, 2: 3, 3: 4}


def test_a_structure_longer_than_the_listed_sequence_has_no_alignment() -> None:
    assert align_with_structure(make_hit("DEFG", full=4), "XXDXFGXX") is None


@pytest.mark.parametrize(
    ("hit", "chain"),
    [
        (make_hit("DDDDEEEEFFFF"), make_chain("DDDDEEEEFFFF", released=NEW)),
        (make_hit(QUERY), make_chain(QUERY)),
        (make_hit("DDDDEEEEF"), make_chain("DDDDEEEEF")),
        (make_hit("DDddeeeeffff"), make_chain("DDDDEEEEFFFF")),
        (
            make_hit("DDDDEEEEFFFF"),
            make_chain("DDDDEEEEFFFF", unresolved=range(12)),
        ),
    ],
    ids=["too new", "is the query", "too short", "too little aligned", "unresolved"],
)
def test_a_hit_that_may_not_serve_is_dropped(
    hit: TemplateHit, chain: TemplateChain
) -> None:
    assert choose((hit, chain)) == []


def test_the_first_four_different_hits_are_chosen() -> None:
    rows = ["CDEFGHIKLM", "CDEFGHIKLM", *(f"{a}DEFGHIKLM" for a in "NPQRS")]
    found = [
        (make_hit(row, name=f"{i}abc"), make_chain(row)) for i, row in enumerate(rows)
    ]
    assert choose(*found) == ["0abc", "2abc", "3abc", "4abc"]


def test_a_hit_without_a_structure_is_passed_over() -> None:
    assert choose_templates(QUERY, [make_hit(QUERY[:12])], lambda *_: None) == ()


def test_a_template_of_the_last_day_allowed_is_chosen() -> None:
    limits = TemplateFilter(max_date=NEW)
    chain = make_chain("DDDDEEEEFFFF", released=NEW)
    hit = make_hit("DDDDEEEEFFFF")
    assert choose_templates(QUERY, [hit], lambda *_: chain, limits)


def make_row(target: str, description: str) -> Row:
    region = Region(start=2, end=75, row="A" * 74, score=1.0, p_value=0.0)
    return Row(target, description, region, 1.0, 0.0, 0.0)


def test_a_header_of_the_pdb_is_read() -> None:
    hit = read_hit(make_row("4pqx_A", "mol:protein length:217  Free text length:3"))
    assert (hit.pdb_id, hit.author_id, hit.start, hit.end) == ("4pqx", "A", 1, 75)
    assert hit.full_length == 3


@pytest.mark.parametrize(
    ("target", "description"), [("1UBI_A", "length:76"), ("1ubi_A", "ubiquitin")]
)
def test_another_header_is_refused_by_name(target: str, description: str) -> None:
    with pytest.raises(ValueError, match=f"{target}.*is not headed like"):
        read_hit(make_row(target, description))
