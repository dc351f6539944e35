"""Hits of a search: regions of database sequences, and the best of them kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from af3_core.search.settings import SearchSettings


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a database sequence aligned with the query (HMMER's "domain")."""

    start: int
    """1-based first residue in the database sequence; on the reverse strand of a
    nucleotide sequence it is greater than `end`."""
    end: int
    row: str
    """A3M: a letter or `-` per query residue, insertions in lower case. For
    nucleotides, which are aligned again later, the bare subsequence."""
    score: float
    """Bits."""
    p_value: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A database sequence found by a query."""

    name: str
    description: str
    score: float
    """Bits, of the whole sequence."""
    e_value: float
    """Expected number of such hits by chance in the whole database."""
    regions: tuple[Region, ...]

    @property
    def order(self) -> tuple[float, bytes, bool, int]:
        """HMMER's order of hits: best first, then by name, strand and position."""
        first = self.regions[0]
        return -self.score, self.name.encode(), first.start >= first.end, first.start


_ORDER = attrgetter("order")


@dataclass
class BestHits:
    """The best hits of one query so far, and how many there were in all.

    Holds a quarter more than `limit` hits at most, whatever the size of the database.
    """

    limit: int
    num_hits: int = 0
    hits: list[Hit] = field(default_factory=list)

    def add(self, hits: Iterable[Hit]) -> None:
        """Takes hits of a further part of the database."""
        for hit in hits:
            self.hits.append(hit)
            self.num_hits += 1
            if len(self.hits) > self.limit + self.limit // 4:
                self.prune()

    def merge(self, other: "BestHits") -> None:
        """Takes the hits of another shard of the same database."""
        self.hits.extend(other.hits)
        self.num_hits += other.num_hits
        self.prune()

    def prune(self) -> None:
        """Sorts, and forgets what can no longer be among the best."""
        self.hits.sort(key=_ORDER)
        del self.hits[self.limit :]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a query's alignment with one database."""

    target: str
    """Name of the database sequence."""
    description: str
    region: Region
    score: float
    """Bits, of the whole database sequence."""
    e_value: float
    region_e_value: float


def select_rows(best: BestHits, settings: SearchSettings) -> tuple[Row, ...]:
    """The regions that enter the alignment, in HMMER's order, at most
    `max_sequences` less one for the query.

    A region's E-value counts as many trials as there were hits in the whole database;
    so all shards have to be merged first.

    Args:
        best: hits of all shards.
        settings: thresholds.
    """
    best.prune()
    rows = [
        Row(
            target=hit.name,
            description=hit.description,
            region=region,
            score=hit.score,
            e_value=hit.e_value,
            region_e_value=region.p_value * best.num_hits,
        )
        for hit in best.hits
        for region in _distinct_regions(hit.regions)
        if region.p_value * best.num_hits <= settings.region_threshold
    ]
    return tuple(rows[: settings.max_sequences - 1])


def _distinct_regions(regions: Sequence[Region]) -> list[Region]:
    """Regions without those aligned to the same residues as a better one.

    HMMER reports such twins on rare occasions and drops the worse of them when it
    applies the thresholds (its bug h74).
    """
    dropped = set()
    for i, one in enumerate(regions):
        for j in range(i + 1, len(regions)):
            other = regions[j]
            if (one.start, one.end) == (other.start, other.end):
                dropped.add(j if one.score >= other.score else i)
    return [region for i, region in enumerate(regions) if i not in dropped]
