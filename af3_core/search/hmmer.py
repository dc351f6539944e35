"""HMMER's library over a stream of database sequences, many queries at a time.

Each block of the database is parsed and digitised once and shown to every query, by
several threads, before the next one is read. Results are those of one jackhmmer or
nhmmer process per query, hit for hit.
"""

import io
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Int32
from numpy import ndarray
from pyhmmer.easel import Alphabet, TextSequence
from pyhmmer.plan7 import (
    HMM,
    Alignment,
    Background,
    Builder,
    HMMFile,
    LongTargetsPipeline,
    OptimizedProfile,
    Pipeline,
)
from pyhmmer.plan7 import Hit as HmmerHit

from af3_core.search.denormals import flush_denormals
from af3_core.search.hits import BestHits, Hit, Region
from af3_core.search.prefilter import (
    FilterGroup,
    SegmentFilter,
    group_filters,
    make_filter,
    select_together,
)
from af3_core.search.settings import SearchSettings, rna_filters
from af3_core.search.targets import AMINO, Indices, Targets
from kernels.segments_cpu import group_profiles

if TYPE_CHECKING:
    from kernels import SegmentsBackend

Kind = Literal["protein", "rna", "profile"]
"""What a query is: a protein sequence, an RNA sequence, or a protein profile."""
Survivors = Int32[ndarray, "_"]
"""Places, from 0 and in order, of the sequences of a database's file that HMMER has to
look at for one query."""
_TASKS_PER_THREAD = 2
_LENGTH_HINT = 100  # of a target; the model is set to each one's own length anyway
ALPHABETS = {
    "protein": AMINO,
    "rna": Alphabet.rna(),
    "profile": AMINO,
}


@dataclass
class _Search:
    """One query's model, pipeline and findings; used by one thread at a time."""

    model: HMM | OptimizedProfile
    pipeline: Pipeline
    read: Callable[[HmmerHit], Hit]
    best: BestHits
    first_filter: SegmentFilter | None = None

    def scan(self, targets: Targets, chosen: Indices | None = None) -> None:
        """Searches those that are chosen, or all."""
        sequences = targets.take(chosen)
        self.pipeline.clear()
        found = self.pipeline.search_hmm(self.model, sequences)
        self.best.add(self.read(hit) for hit in found if hit.reported)


@dataclass(frozen=True)
class _Group:
    """Queries that are filtered together, or one that is filtered before or never."""

    query_ids: Sequence[str]
    copies: Sequence[Sequence[_Search]]
    """Of each query, as often as several threads are to share a part of a database."""
    filters: FilterGroup | None
    survivors: Survivors | None = None

    def scans(
        self, targets: Targets, pieces: Sequence[Targets], first: int
    ) -> Iterator[Callable[[], None]]:
        """What there is to do of targets, which begin at this place: one thing for
        each copy, which is done when it is for the targets before."""
        if self.survivors is not None:
            chosen = targets.find(_within(self.survivors, first, len(targets)))
            for part, (search,) in enumerate(self.copies):
                yield partial(search.scan, targets, chosen[part :: len(self.copies)])
            return
        for searches, piece in zip(self.copies, pieces, strict=True):
            yield partial(self._scan, searches, piece)

    def _scan(self, searches: Sequence[_Search], targets: Targets) -> None:
        chosen: Sequence[Indices | None] = [None] * len(searches)
        if self.filters is not None:
            chosen = self.filters.select(targets.packed)
        for search, indices in zip(searches, chosen, strict=True):
            search.scan(targets, indices)

    def found(self) -> Iterator[tuple[str, BestHits]]:
        """The best hits of each query."""
        for query_id, searches in zip(
            self.query_ids, zip(*self.copies, strict=True), strict=True
        ):
            yield query_id, _join(searches)


def search_stream(
    queries: Mapping[str, str],
    blocks: Iterable[Targets],
    settings: SearchSettings,
    *,
    kind: Kind,
    z: float,
    threads: int = 1,
    survivors: Mapping[str, Survivors] | None = None,
) -> dict[str, BestHits]:
    """Searches all queries in one pass over a database or one shard of it.

    Args:
        queries: sequences, or profiles in HMMER's text format, by their ids.
        blocks: the database, digitised in the alphabet of `kind`.
        settings: thresholds and how many hits to keep.
        kind: protein (as jackhmmer, one iteration), rna (as nhmmer) or profile (as
            hmmsearch).
        z: size of the whole database: sequences, or for RNA megabases.
        threads: how many run at once.
        survivors: of the queries that were filtered before, by `filter_stream`. The
            others filter for themselves. The hits are the same.

    Returns:
        The best hits of each query; see `hits.select_rows`.
    """
    # The longest first, so that no thread is left with one of them at the end.
    order = sorted(queries, key=lambda query_id: -len(queries[query_id]))
    make = partial(_MAKERS[kind], settings=settings, z=z)
    with ThreadPoolExecutor(threads, initializer=flush_denormals) as pool:
        makers = list(pool.map(make, (queries[query_id] for query_id in order)))
        groups = _group(dict(zip(order, makers, strict=True)), survivors or {}, threads)
        copies = len(groups[0].copies) if groups else 1
        earlier: list[Future[None]] = []
        running: list[Future[None]] = []
        first = 0
        for targets in blocks:  # is read while the ones before are searched
            pieces = targets.split(copies)
            scans = [s for g in groups for s in g.scans(targets, pieces, first)]
            first += len(targets)
            _wait(earlier)
            earlier = running
            running = [
                pool.submit(_after, task, scan)
                for scan, task in zip_longest(scans, earlier)
            ]
        _wait(earlier)
        _wait(running)
    found = {query_id: best for group in groups for query_id, best in group.found()}
    return {query_id: found[query_id] for query_id in queries}


def _group(
    makers: Mapping[str, "_Maker"], known: Mapping[str, Survivors], threads: int
) -> list[_Group]:
    """Puts queries together whose filters the processor computes together."""
    first = {query_id: make() for query_id, make in makers.items()}
    filters = {
        query_id: search.first_filter
        for query_id, search in first.items()
        if search.first_filter is not None and query_id not in known
    }
    names, each = list(filters), list(filters.values())
    rows = group_profiles([one.costs.shape[1] for one in each])
    members = [[query_id] for query_id in first if query_id not in filters]
    members += [[names[row] for row in group] for group in rows]
    copies = 1
    if threads > 1:
        copies = math.ceil(_TASKS_PER_THREAD * threads / max(1, len(members)))
    return [
        _Group(
            query_ids,
            [
                [first[q] if not copy else makers[q]() for q in query_ids]
                for copy in range(copies)
            ],
            group_filters([filters[q] for q in query_ids])
            if query_ids[0] in filters
            else None,
            known.get(query_ids[0]),
        )
        for query_ids in members
    ]


def _within(places: Survivors, first: int, count: int) -> Survivors:
    """Those of a block that begins at `first`, counted from there."""
    # Of their own type, or all of them would be converted for every block.
    bounds = np.array((first, first + count), places.dtype)
    start, stop = np.searchsorted(places, bounds)
    return places[start:stop] - bounds[0]


def _after(previous: Future[None] | None, scan: Callable[[], None]) -> None:
    """Scans when the same search is done with the block before, which began earlier."""
    if previous is not None:
        previous.result()
    scan()


def filter_stream(
    queries: Mapping[str, str],
    blocks: Iterable[Targets],
    settings: SearchSettings,
    *,
    backend: "SegmentsBackend",
    threads: int = 1,
) -> dict[str, Survivors]:
    """What HMMER's first filter may let through, for all proteins in one pass.

    Args:
        queries: protein sequences by their ids.
        blocks: a database or one shard of it.
        settings: thresholds.
        backend: of `kernels.best_segments`.
        threads: how many blocks are on their way at once; a GPU has the next one
            made ready by another thread than the one that waits for it.
    """
    found: dict[str, list[Survivors]] = {query_id: [] for query_id in queries}
    with ThreadPoolExecutor(threads, initializer=flush_denormals) as pool:
        filters = list(
            pool.map(partial(_filter_of, settings=settings), queries.values())
        )
        running: deque[Future[list[Survivors]]] = deque()

        def collect() -> None:
            for kept, places in zip(
                found.values(), running.popleft().result(), strict=True
            ):
                kept.append(places)

        first = 0
        for targets in blocks:
            running.append(pool.submit(_filter, filters, targets, first, backend))
            first += len(targets)
            if len(running) > threads:
                collect()
        while running:
            collect()
    nothing = np.zeros(0, np.int32)
    return {name: np.concatenate([nothing, *kept]) for name, kept in found.items()}


def _filter_of(sequence: str, settings: SearchSettings) -> SegmentFilter:
    return make_filter(_protein_model(sequence), settings.filters[0])


def _filter(
    filters: Sequence[SegmentFilter],
    targets: Targets,
    first: int,
    backend: "SegmentsBackend",
) -> list[Survivors]:
    """Places in the stream of what each filter leaves of a block."""
    kept = select_together(filters, targets.packed, backend)
    places = targets.places.astype(np.int32)
    return [np.int32(first) + np.sort(places[indices]) for indices in kept]


def _wait(tasks: Iterable[Future[None]]) -> None:
    for task in tasks:
        task.result()


def _join(searches: Sequence[_Search]) -> BestHits:
    first, *others = (search.best for search in searches)
    for other in others:
        first.merge(other)
    first.prune()
    return first


_Maker = Callable[[], _Search]
"""Makes one more for the same query, so that another thread can search with it."""


def _protein_searches(sequence: str, settings: SearchSettings, z: float) -> _Maker:
    model = _protein_model(sequence)
    return lambda: _search_proteins(model.copy(), settings, z)


def _protein_model(sequence: str) -> OptimizedProfile:
    alphabet = ALPHABETS["protein"]
    digital = TextSequence(name="query", sequence=sequence).digitize(alphabet)
    _, _, model = Builder(alphabet).build(digital, Background(alphabet))
    return model


def read_profile(text: io.BytesIO, alphabet: Alphabet) -> HMM:
    """The one profile of a text in HMMER's format.

    Raises:
        ValueError: it holds none.
    """
    file = HMMFile(text, alphabet=alphabet)
    try:
        profile = file.read()
    finally:
        file.close()
    if profile is None:
        raise ValueError("no profile in HMMER's format")
    return profile


def _profile_searches(text: str, settings: SearchSettings, z: float) -> _Maker:
    alphabet = ALPHABETS["profile"]
    read = read_profile(io.BytesIO(text.encode()), alphabet)
    model = read.to_profile(Background(alphabet), L=_LENGTH_HINT).to_optimized()
    return lambda: _search_proteins(model.copy(), settings, z)


def _search_proteins(
    model: OptimizedProfile, settings: SearchSettings, z: float
) -> _Search:
    alphabet = ALPHABETS["protein"]
    f1, f2, f3 = settings.filters
    pipeline = Pipeline(
        alphabet,
        Background(alphabet),
        Z=z,
        domZ=1,  # regions are judged when the number of hits is known
        E=settings.e_value,
        incE=settings.e_value,
        F1=f1,
        F2=f2,
        F3=f3,
    )

    best = BestHits(settings.max_sequences)
    first_filter = make_filter(model, f1)
    return _Search(model, pipeline, _read_protein_hit, best, first_filter)


def _read_protein_hit(hit: HmmerHit) -> Hit:
    return Hit(
        name=hit.name,
        description=hit.description or "",
        score=hit.score,
        e_value=hit.evalue,
        regions=tuple(
            Region(
                start=domain.alignment.target_from,
                end=domain.alignment.target_to,
                row=_aligned_row(domain.alignment),
                score=domain.score,
                p_value=domain.pvalue,
            )
            for domain in hit.domains
        ),
    )


def _aligned_row(alignment: Alignment) -> str:
    before = "-" * (alignment.hmm_from - 1)
    after = "-" * (alignment.hmm_length - alignment.hmm_to)
    return f"{before}{alignment.target_sequence}{after}"


def _rna_searches(sequence: str, settings: SearchSettings, z: float) -> _Maker:
    alphabet = ALPHABETS["rna"]
    digital = TextSequence(name="query", sequence=sequence).digitize(alphabet)
    model, _, _ = Builder(alphabet).build(digital, Background(alphabet))
    filters = rna_filters(settings, len(sequence))
    return lambda: _search_rna(model.copy(), settings, z, filters)


def _search_rna(
    model: HMM, settings: SearchSettings, z: float, filters: tuple[float, float, float]
) -> _Search:
    alphabet = ALPHABETS["rna"]
    f1, f2, f3 = filters
    pipeline = LongTargetsPipeline(
        alphabet,
        Background(alphabet),
        # HMMER truncates the residues it works out of Z; half a residue more
        # makes it the exact count.
        Z=z + 0.5e-6,
        E=settings.e_value,
        F1=f1,
        F2=f2,
        F3=f3,
    )
    best = BestHits(settings.max_sequences)
    return _Search(model, pipeline, _read_rna_hit, best)


def _read_rna_hit(hit: HmmerHit) -> Hit:
    (domain,) = hit.domains
    alignment = domain.alignment
    return Hit(
        name=hit.name,
        description=hit.description or "",
        score=hit.score,
        e_value=hit.evalue,
        regions=(
            Region(
                start=alignment.target_from,
                end=alignment.target_to,
                row=alignment.target_sequence.replace("-", "").upper(),
                score=domain.score,
                p_value=0.0,  # an RNA hit is one region; its E-value decides
            ),
        ),
    )


_MAKERS = {
    "protein": _protein_searches,
    "rna": _rna_searches,
    "profile": _profile_searches,
}
