"""What searching proteins costs: by processors alone, and with a GPU for the filter.

    python -m workflow.planning.search_costs [--proteins 20000] [--length 400]
        [--cores 256] [--cards 1] [--cores-beside 32] [--at-once 1000]

prints the hours of a proteome at the published sizes of AlphaFold 3's databases, in
both ways. All of it is computed: from CPU seconds that were measured, and from a speed
of the card that follows from its disassembly and was measured on none; see
benchmarks/results/segments.md.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CARD = "NVIDIA H100 80GB HBM3"
CARD_CELLS = 1.13e13
"""Query residues × database residues that one card filters in a second, with the
padding of a query of 400 residues; computed."""
CORE_CELLS = 1.6e11
"""Likewise one core, on a digitised database. This and the next three: CPU seconds on a
shared machine, 16 queries and 200,070 sequences."""
SURVIVORS = 0.0022
"""Share of the sequences that the filter leaves to HMMER …"""
SURVIVOR_SECONDS = 6e-5
"""… and what HMMER needs to drop one, for a query of 400 residues."""
HIT_SECONDS = 4e-3
"""What HMMER needs to align a hit with a query of 400 residues."""
HITS = 2e-5
"""Share of the sequences that are hits: 20,000 of a protein in the published databases,
which is an assumption."""
BYTES_PER_SECOND = 3e9
"""That a file system gives, which is an assumption."""
PUBLISHED_RESIDUES, PUBLISHED_SEQUENCES = 2.7e11, 1.07e9
"""Of UniRef90, UniProt, MGnify and small BFD in the releases that AlphaFold 3 names."""
_LENGTH = 400


@dataclass(frozen=True)
class SearchCost:
    """What is computed and read to search proteins."""

    cells: float = 0.0
    """Query residues × database residues."""
    aligning: float = 0.0
    """Core hours of HMMER, for what the filter leaves."""
    bytes_read: float = 0.0
    """By all passes over the databases; where they are filtered ahead, twice that."""

    def __add__(self, other: "SearchCost") -> "SearchCost":
        """Of both."""
        return SearchCost(
            self.cells + other.cells,
            self.aligning + other.aligning,
            self.bytes_read + other.bytes_read,
        )

    @property
    def filtering(self) -> float:
        """Core hours of the filter, where no card does it."""
        return self.cells / CORE_CELLS / 3600

    @property
    def card_hours(self) -> float:
        """Of the filter, where cards do it."""
        return self.cells / CARD_CELLS / 3600

    @property
    def reading(self) -> float:
        """Hours in which a file system gives all passes once."""
        return self.bytes_read / BYTES_PER_SECOND / 3600

    def hours_by_cores(self, cores: int) -> float:
        """Wall time of so many cores."""
        return max((self.filtering + self.aligning) / cores, self.reading)

    def hours_with_cards(self, cards: int, cores: int) -> float:
        """Wall time of so many cards and cores, which work at the same time."""
        by_cards, by_cores = self.card_hours / cards, self.aligning / cores
        return max(by_cards, by_cores, 2 * self.reading)


def search_cost(
    query_residues: float, residues: float, sequences: float, passes: float
) -> SearchCost:
    """What it takes to search proteins in a database.

    Args:
        query_residues: of all proteins together.
        residues: of the database.
        sequences: of the database.
        passes: how often it is read.
    """
    each = SURVIVORS * SURVIVOR_SECONDS + HITS * HIT_SECONDS
    return SearchCost(
        cells=query_residues * residues,
        aligning=query_residues / _LENGTH * sequences * each / 3600,
        bytes_read=passes * residues,
    )


def describe_ways(
    cost: SearchCost, cores: int, cards: int, cores_beside: int
) -> Iterator[str]:
    """Both ways as the rows of a table in Markdown."""
    yield "| | filter, core hours | HMMER, core hours | card hours | read, TB | hours |"
    yield "| --- | --: | --: | --: | --: | --: |"
    yield (
        f"| (a) {cores} cores | {cost.filtering:,.0f} | {cost.aligning:,.0f} | – |"
        f" {cost.bytes_read / 1e12:,.1f} | {cost.hours_by_cores(cores):,.0f} |"
    )
    yield (
        f"| (b) {cards} × H100 and {cores_beside} cores | – | {cost.aligning:,.0f} |"
        f" {cost.card_hours:,.0f} | {2 * cost.bytes_read / 1e12:,.1f} |"
        f" {cost.hours_with_cards(cards, cores_beside):,.0f} |"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what a proteome costs in both ways."""
    parser = argparse.ArgumentParser(
        prog="workflow.planning.search_costs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--proteins", type=int, default=20_000)
    parser.add_argument("--length", type=int, default=_LENGTH)
    parser.add_argument("--cores", type=int, default=256)
    parser.add_argument("--cards", type=int, default=1)
    parser.add_argument("--cores-beside", type=int, default=32)
    parser.add_argument("--at-once", type=int, default=1000, help="in one pass")
    chosen = parser.parse_args(argv)
    cost = search_cost(
        chosen.proteins * chosen.length,
        PUBLISHED_RESIDUES,
        PUBLISHED_SEQUENCES,
        -(-chosen.proteins // chosen.at_once),
    )
    print(
        f"{chosen.proteins:,} proteins of {chosen.length} residues in"
        f" {PUBLISHED_RESIDUES:.1e} residues: {cost.cells:.2e} cells. Computed.\n"
    )
    print(
        *describe_ways(cost, chosen.cores, chosen.cards, chosen.cores_beside), sep="\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
