"""Searches sequences against a database, each once for everybody who shares a store.

What the store holds is not searched again. What another campaign is searching just now
is waited for. The rest goes through the database together, shard after shard; a
finished shard is kept, so a search that is killed goes on with the next one.
"""

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from af3_core.contracts import MSA_HITS, SHARD_HITS
from af3_core.job import InputError
from af3_core.msa import Msa, deduplicate, merge
from af3_core.search.alignment import protein_alignment, rna_alignment
from af3_core.search.hits import BestHits, select_rows
from af3_core.search.hmmer import ALPHABETS, search_stream
from af3_core.search.settings import SearchSettings
from workflow.databases.catalogue import Database, Shard, with_role
from workflow.databases.files import VERIFIED, read_targets, require_unchanged
from workflow.needs import sequence_id
from workflow.searching.hit_tables import (
    hits_table,
    read_hits_table,
    read_shard_table,
    shard_table,
)
from workflow.searching.mmseqs import mmseqs_version, search_mmseqs
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

HMMER = f"HMMER 3.4, pyhmmer {version('pyhmmer')}"


def engine_name(database: Database) -> str:
    """The program that searches a database, with its version."""
    return mmseqs_version() if database.tool == "mmseqs" else HMMER


def hits_key(sequence: str, database: Database, profile: str) -> Key:
    """The store's key of one sequence searched against one database."""
    return make_key(
        MSA_HITS,
        kind=database.kind,
        sequence=sequence,
        tool=database.tool,
        engine=engine_name(database),
        flags=database.settings(profile).flags,
        profile=profile,
        database=database.digest,
        z=database.z,
    )


def search_batch(
    sequences: Sequence[str],
    database: Database,
    store: Store,
    *,
    profile: str = "paper",
    threads: int = 1,
    stage_to: Path | None = None,
    filter_by: "SegmentsBackend | None" = None,
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
        filter_by: see `search_stream`.
        on_result: called with each sequence when its entry is there.
        guard: of what is done for one sequence.

    Returns:
        How many were searched here; the others were there or came from elsewhere.

    Raises:
        InputError: a database file is missing or not the one of the manifest.
        OSError: the store cannot be written. Entries made before that stay.
    """
    run = _Run(database, store, profile, threads, stage_to, filter_by, guard)
    keys = {sequence: hits_key(sequence, database, profile) for sequence in sequences}
    return fill_store(store, keys, run.make_tables, on_result, guard)


@dataclass(frozen=True)
class _Run:
    """One pass over a database."""

    database: Database
    store: Store
    profile: str
    threads: int
    stage_to: Path | None
    filter_by: "SegmentsBackend | None"
    guard: Guards

    @property
    def settings(self) -> SearchSettings:
        return self.database.settings(self.profile)

    def make_tables(self, sequences: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
        """The rows of each sequence's alignment with the whole database."""
        require_unchanged(self.database, self.store.folder / VERIFIED)
        found = {s: BestHits(self.settings.max_sequences) for s in sequences}
        for shard in self.database.shards:
            for sequence, best in self._search_shard(sequences, shard).items():
                found[sequence].merge(best)
        for sequence, best in found.items():
            table = None
            with self.guard(sequence):
                table = self._final_table(sequence, best)
            if table is None:
                continue
            yield sequence, table
            # The store has the table now, and needs the hits of single shards no more.
            for shard in self.database.shards if len(self.database.shards) > 1 else ():
                self.store.remove(self.part_key(sequence, shard))

    def _final_table(self, sequence: str, best: BestHits) -> pa.Table:
        return hits_table(
            select_rows(best, self.settings),
            sequence_id=sequence_id(self.database.kind, sequence),
            database=self.database.digest,
            engine=f"{self.database.tool} ({engine_name(self.database)})",
            profile=self.profile,
        )

    def _search_shard(
        self, sequences: Sequence[str], shard: Shard
    ) -> dict[str, BestHits]:
        """Searches what the store has no hits of yet in this shard.

        The hits of a shard are kept until those of all shards are there.
        """
        if len(self.database.shards) == 1:
            return self._search_file(sequences, shard)
        limit, found = self.settings.max_sequences, {}
        for sequence in sequences:
            table = self.store.get(self.part_key(sequence, shard))
            if table is not None:
                found[sequence] = read_shard_table(table, limit)
        todo = [sequence for sequence in sequences if sequence not in found]
        searched = self._search_file(todo, shard) if todo else {}
        for sequence, best in searched.items():
            self.store.put(self.part_key(sequence, shard), shard_table(best))
        return found | searched

    def part_key(self, sequence: str, shard: Shard) -> Key:
        """The store's key of one sequence searched in one shard."""
        whole = hits_key(sequence, self.database, self.profile)
        return make_key(SHARD_HITS, whole=whole.digest, shard=shard.digest)

    def _search_file(
        self, sequences: Sequence[str], shard: Shard
    ) -> dict[str, BestHits]:
        shard = stage(shard, self.stage_to) if self.stage_to else shard
        blocks = read_targets(shard, ALPHABETS[self.database.kind])
        if self.database.tool != "mmseqs":
            return search_stream(
                {sequence: sequence for sequence in sequences},
                blocks,
                self.settings,
                kind=self.database.kind,
                z=self.database.z,
                threads=self.threads,
                filter_by=self.filter_by,
            )
        for _ in blocks:  # to be sure that the file is the manifest's
            pass
        return search_mmseqs(
            sequences,
            self.database,
            shard,
            self.settings,
            threads=self.threads,
            scratch=self.stage_to,
        )


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
