"""Searches sequences against a database, each once for everybody who shares a store.

A search by HMMER looks only at what its first filter may let through. It finds that for
itself, or takes up what `filter_batch` has left in the store. Where an entry is missing
or damaged it does without, and the hits are the same.

What the store holds is not searched again. What another campaign is searching just now
is waited for. The rest goes through the database together, shard after shard; a
finished shard is kept, so a search that is killed goes on with the next one.
"""

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from af3_core.contracts import SHARD_HITS, SURVIVORS
from af3_core.job import InputError
from af3_core.msa import Msa, deduplicate, merge
from af3_core.search.alignment import protein_alignment, rna_alignment
from af3_core.search.hits import BestHits, select_rows
from af3_core.search.hmmer import (
    ALPHABETS,
    Survivors,
    filter_stream,
    search_stream,
)
from af3_core.search.settings import SearchSettings
from workflow.databases.files import VERIFIED, read_targets, require_unchanged
from workflow.databases.manifest import Database, Shard, with_role
from workflow.needs import sequence_id
from workflow.searching.hit_tables import (
    filters_of,
    hits_table,
    read_hits_table,
    read_shard_table,
    read_survivors_table,
    shard_table,
    survivors_table,
    with_filters,
)
from workflow.searching.mmseqs import search_mmseqs
from workflow.searching.search_keys import HMMER, engine_name, hits_key
from workflow.store.entries import (
    Guards,
    Key,
    MissingEntry,
    Store,
    fill_store,
    make_key,
    unguarded,
)
from workflow.tables import replacing

if TYPE_CHECKING:
    from kernels import SegmentsBackend

_OF_THE_SEARCH = "cpu"
"""What the search itself filters by."""


def search_batch(
    sequences: Sequence[str],
    database: Database,
    store: Store,
    *,
    profile: str = "paper",
    threads: int = 1,
    stage_to: Path | None = None,
    on_result: Callable[[str], None] = lambda sequence: None,
    guard: Guards = unguarded,
) -> int:
    """Sees to it that the store has the hits of every sequence in a database.

    Args:
        sequences: distinct sequences of the database's molecule type.
        database: what is searched.
        store: where results are and go.
        profile: E-value convention, paper or server.
        threads: how many run at once.
        stage_to: a fast local folder to which shards are copied before use.
        on_result: called with each sequence when its entry is there.
        guard: of what is done for one sequence.

    Returns:
        How many were searched here; the others were there or came from elsewhere.

    Raises:
        InputError: a database file is missing or not the one of the manifest.
        OSError: the store cannot be written. Entries made before that stay.
    """
    run = _Run(database, store, profile, threads, stage_to, guard)
    keys = {sequence: hits_key(sequence, database, profile) for sequence in sequences}
    return fill_store(store, keys, run.make_tables, on_result, guard)


class Filter(NamedTuple):
    """What computes the first filter of all sequences of a batch together."""

    backend: "SegmentsBackend"
    name: str
    """As results note it, without a comma: the backend and its device."""


def survivors_key(sequence: str, shard: Shard, settings: SearchSettings) -> Key:
    """The store's key of what the first filter leaves of a shard for a sequence."""
    return make_key(
        SURVIVORS,
        sequence=sequence,
        engine=HMMER,
        max_p_value=settings.filters[0],
        shard=shard.digest,
    )


def filter_batch(
    sequences: Sequence[str],
    database: Database,
    store: Store,
    filter_by: Filter,
    *,
    profile: str = "paper",
    threads: int = 1,
    stage_to: Path | None = None,
    on_result: Callable[[str], None] = lambda sequence: None,
    guard: Guards = unguarded,
) -> int:
    """Sees to it that the store has what a search of each sequence has to look at.

    A sequence whose hits are there needs none of it. Arguments are those of
    `search_batch`, of a database for which `Database.has_filter` is true.

    Returns:
        How many entries were made here, one for each sequence and shard.

    Raises:
        InputError: a database file is missing or not the one of the manifest.
        OSError: the store cannot be written. Entries made before that stay.
    """
    require_unchanged(database, store.folder / VERIFIED)
    settings, num_made = database.settings(profile), 0
    wanted = []
    for sequence in sequences:
        if hits_key(sequence, database, profile) in store:
            on_result(sequence)
        else:
            wanted.append(sequence)
    for shard in database.shards:

        def make(todo: Sequence[str], shard: Shard = shard) -> Iterator[Named]:
            staged = stage(shard, stage_to) if stage_to else shard
            found = filter_stream(
                {sequence: sequence for sequence in todo},
                read_targets(staged, ALPHABETS[database.kind]),
                settings,
                backend=filter_by.backend,
                threads=threads,
            )
            for sequence, places in found.items():
                yield sequence, with_filters(survivors_table(places), [filter_by.name])

        keys = {
            sequence: survivors_key(sequence, shard, settings) for sequence in wanted
        }
        wanted = []
        num_made += fill_store(store, keys, make, wanted.append, guard)
    for sequence in wanted:
        on_result(sequence)
    return num_made


def is_filtered(
    sequence: str, database: Database, store: Store, profile: str = "paper"
) -> bool:
    """Whether a search of a sequence would find all shards filtered."""
    settings = database.settings(profile)
    return all(
        survivors_key(sequence, shard, settings) in store for shard in database.shards
    )


type Named = tuple[str, pa.Table]
"""A sequence, and the entry of it."""


class _Found(NamedTuple):
    """Hits of one sequence in one shard, and what filtered for them."""

    best: BestHits
    filters: set[str]


@dataclass(frozen=True)
class _Run:
    """One pass over a database."""

    database: Database
    store: Store
    profile: str
    threads: int
    stage_to: Path | None
    guard: Guards

    @property
    def settings(self) -> SearchSettings:
        return self.database.settings(self.profile)

    def make_tables(self, sequences: Sequence[str]) -> Iterator[Named]:
        """The rows of each sequence's alignment with the whole database."""
        require_unchanged(self.database, self.store.folder / VERIFIED)
        limit = self.settings.max_sequences
        found = {s: _Found(BestHits(limit), set()) for s in sequences}
        for shard in self.database.shards:
            for sequence, of_shard in self._search_shard(sequences, shard).items():
                found[sequence].best.merge(of_shard.best)
                found[sequence].filters.update(of_shard.filters)
        for sequence, of_all in found.items():
            table = None
            with self.guard(sequence):
                table = self._final_table(sequence, of_all)
            if table is None:
                continue
            yield sequence, table
            # The store has the table now, and needs what led to it no more.
            for shard in self.database.shards:
                self.store.remove(self.part_key(sequence, shard))
                self.store.remove(survivors_key(sequence, shard, self.settings))

    def _final_table(self, sequence: str, found: _Found) -> pa.Table:
        table = hits_table(
            select_rows(found.best, self.settings),
            sequence_id=sequence_id(self.database.kind, sequence),
            database=self.database.digest,
            engine=f"{self.database.tool} ({engine_name(self.database)})",
            profile=self.profile,
        )
        return with_filters(table, found.filters)

    def _search_shard(
        self, sequences: Sequence[str], shard: Shard
    ) -> dict[str, _Found]:
        """Searches what the store has no hits of yet in this shard.

        The hits of a shard are kept until those of all shards are there.
        """
        if len(self.database.shards) == 1:
            return self._search_file(sequences, shard)
        limit, found = self.settings.max_sequences, {}
        for sequence in sequences:
            table = self.store.get(self.part_key(sequence, shard))
            if table is not None:
                best = read_shard_table(table, limit)
                found[sequence] = _Found(best, filters_of(table))
        todo = [sequence for sequence in sequences if sequence not in found]
        searched = self._search_file(todo, shard) if todo else {}
        for sequence, (best, filters) in searched.items():
            table = with_filters(shard_table(best), filters)
            self.store.put(self.part_key(sequence, shard), table)
        return found | searched

    def part_key(self, sequence: str, shard: Shard) -> Key:
        """The store's key of one sequence searched in one shard."""
        whole = hits_key(sequence, self.database, self.profile)
        return make_key(SHARD_HITS, whole=whole.digest, shard=shard.digest)

    def _search_file(self, sequences: Sequence[str], shard: Shard) -> dict[str, _Found]:
        survivors, filters = self._filtered(sequences, shard)
        shard = stage(shard, self.stage_to) if self.stage_to else shard
        blocks = read_targets(shard, ALPHABETS[self.database.kind])
        if self.database.tool != "mmseqs":
            found = search_stream(
                {sequence: sequence for sequence in sequences},
                blocks,
                self.settings,
                kind=self.database.kind,
                z=self.database.z,
                threads=self.threads,
                survivors=survivors,
            )
        else:
            for _ in blocks:  # to be sure that the file is the manifest's
                pass
            found = search_mmseqs(
                sequences,
                self.database,
                shard,
                self.settings,
                threads=self.threads,
                scratch=self.stage_to,
            )
        return {name: _Found(best, filters[name]) for name, best in found.items()}

    def _filtered(
        self, sequences: Sequence[str], shard: Shard
    ) -> tuple[Mapping[str, Survivors], Mapping[str, set[str]]]:
        """What was filtered before, and for all what filters or has filtered."""
        if not self.database.has_filter:
            return {}, {sequence: set() for sequence in sequences}
        survivors, filters = {}, {s: {_OF_THE_SEARCH} for s in sequences}
        for sequence in sequences:
            table = self.store.get(survivors_key(sequence, shard, self.settings))
            if table is not None:
                survivors[sequence] = read_survivors_table(table)
                filters[sequence] = filters_of(table)
        return survivors, filters


def staging_folder(setting: str | None) -> Path | None:
    """The folder that the setting `search.stage_to` names, its variables filled in.

    Raises:
        InputError: a variable is not set here.
    """
    if setting is None:
        return None
    folder = os.path.expandvars(setting)
    if "$" in folder:
        allowed = "a folder, or a variable that is set on the node"
        raise InputError("config.yaml", "search.stage_to", setting, allowed)
    return Path(folder)


def stage(shard: Shard, folder: Path) -> Shard:
    """The shard as a copy in a fast local folder, made unless it is there.

    Raises:
        OSError: the folder has no room or cannot be written.
    """
    copy = folder / f"{shard.digest[:16]}-{shard.path.name}"
    if not (copy.is_file() and copy.stat().st_size == shard.bytes):
        with replacing(copy) as temporary:
            shutil.copyfile(shard.path, temporary)
    return dataclasses.replace(shard, path=copy)


def read_alignment(
    sequence: str, database: Database, store: Store, profile: str
) -> Msa:
    """The alignment of a searched sequence with one database, the query first.

    Raises:
        MissingEntry: the store has no such result.
    """
    table = store.get(hits_key(sequence, database, profile))
    if table is None:
        raise MissingEntry(
            f"the store {store.folder} has no result of "
            f"{sequence_id(database.kind, sequence)} in {database.name} ({profile}); "
            "run the search again"
        )
    align = rna_alignment if database.kind == "rna" else protein_alignment
    return align(sequence, read_hits_table(table))


def unpaired_msa(
    sequence: str,
    kind: str,
    databases: Sequence[Database],
    store: Store,
    profile: str = "paper",
) -> Msa:
    """The unpaired MSA as AlphaFold 3 makes it: all databases of the molecule type, in
    the manifest's order, without repeats."""
    used = with_role(databases, "rna" if kind == "rna" else "unpaired")
    parts = [read_alignment(sequence, database, store, profile) for database in used]
    return deduplicate(merge(parts)) if parts else Msa(("query",), (sequence,))


def paired_msa(
    sequence: str,
    databases: Sequence[Database],
    store: Store,
    profile: str = "paper",
) -> Msa:
    """The MSA from which rows are paired by species; repeats stay."""
    used = with_role(databases, "paired")
    parts = [read_alignment(sequence, database, store, profile) for database in used]
    return merge(parts) if parts else Msa(("query",), (sequence,))
