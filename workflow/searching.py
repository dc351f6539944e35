"""Searches sequences against a database, each once for everybody who shares a store.

What the store holds is not searched again. What another campaign is searching just now
is waited for. The rest goes through the database together, shard after shard; a
finished shard is kept, so a search that is killed goes on with the next one.
"""

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyhmmer

from af3_core.contracts import MSA_HITS, SHARD_HITS
from af3_core.msa import Msa, deduplicate, merge
from af3_core.search.alignment import protein_alignment, rna_alignment
from af3_core.search.hits import BestHits, Hit, Region, Row, select_rows
from af3_core.search.hmmer import ALPHABETS, search_stream
from workflow.database_files import read_blocks
from workflow.databases import Database, Shard, with_role
from workflow.mmseqs import mmseqs_version, search_mmseqs
from workflow.needs import sequence_id
from workflow.store import Key, Store, make_key
from workflow.tables import replacing

HMMER = f"HMMER 3.4, pyhmmer {pyhmmer.__version__}"
_POLL_SECONDS = 2.0
_RENEW_SECONDS = 60.0


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


def _shard_key(sequence: str, database: Database, profile: str, shard: Shard) -> Key:
    whole = hits_key(sequence, database, profile)
    return make_key(SHARD_HITS, whole=whole.digest, shard=shard.digest)


def search_batch(
    sequences: Sequence[str],
    database: Database,
    store: Store,
    *,
    profile: str = "paper",
    threads: int = 1,
    stage_to: Path | None = None,
    on_result: Callable[[str], None] = lambda sequence: None,
) -> None:
    """Sees to it that the store has the hits of every sequence in a database.

    Args:
        sequences: distinct sequences of the database's molecule type.
        database: what is searched.
        store: where results are and go.
        profile: E-value convention, paper or server.
        threads: how many run at once.
        stage_to: a fast local folder to which shards are copied before use.
        on_result: called with each sequence when its entry is there.

    Raises:
        InputError: a database file is missing or not the one of the manifest.
        OSError: the store cannot be written. Entries made before that stay.
    """
    keys = {sequence: hits_key(sequence, database, profile) for sequence in sequences}
    open_keys = dict(keys)
    while open_keys:
        for sequence in [
            s for s, key in open_keys.items() if store.get(key) is not None
        ]:
            del open_keys[sequence]
            on_result(sequence)
        mine = {s: key for s, key in open_keys.items() if store.claim(key)}
        try:
            # Between the look and the claim another process may have finished.
            todo = {s: key for s, key in mine.items() if store.get(key) is None}
            if todo:
                _search_claimed(
                    todo, database, store, profile, threads, stage_to or None
                )
        finally:
            for key in mine.values():
                store.release(key)
        if open_keys and not mine:
            time.sleep(_POLL_SECONDS)


def _search_claimed(
    keys: Mapping[str, Key],
    database: Database,
    store: Store,
    profile: str,
    threads: int,
    stage_to: Path | None,
) -> None:
    for shard in database.shards:
        _search_shard(keys, database, shard, store, profile, threads, stage_to)
    settings = database.settings(profile)
    for sequence, key in keys.items():
        best = BestHits(settings.max_sequences)
        parts = [_shard_key(sequence, database, profile, s) for s in database.shards]
        for part in parts:
            best.merge(_read_hits(store.get(part), settings.max_sequences))
        rows = select_rows(best, settings)
        store.put(key, _hits_table(rows, sequence, database, profile))
        for part in parts:
            store.path(part).unlink(missing_ok=True)


def _search_shard(
    keys: Mapping[str, Key],
    database: Database,
    shard: Shard,
    store: Store,
    profile: str,
    threads: int,
    stage_to: Path | None,
) -> None:
    """Searches what has no hits of this shard in the store yet."""
    parts = {s: _shard_key(s, database, profile, shard) for s in keys}
    todo = {s: part for s, part in parts.items() if store.get(part) is None}
    if not todo:
        return
    local = stage(shard, stage_to) if stage_to else shard
    blocks = _renewing(
        read_blocks(local, ALPHABETS[database.kind]), store, keys.values()
    )
    settings = database.settings(profile)
    if database.tool == "mmseqs":
        for _ in blocks:  # makes sure that the file is the manifest's
            pass
        found = search_mmseqs(
            list(todo), database, local, settings, threads=threads, scratch=stage_to
        )
    else:
        found = search_stream(
            {sequence: sequence for sequence in todo},
            blocks,
            settings,
            kind=database.kind,
            z=database.z,
            threads=threads,
        )
    for sequence, part in todo.items():
        store.put(part, _shard_table(found[sequence]))


def _renewing(
    blocks: Iterable[pyhmmer.easel.DigitalSequenceBlock],
    store: Store,
    keys: Iterable[Key],
) -> Iterator[pyhmmer.easel.DigitalSequenceBlock]:
    """Passes blocks on and keeps the claims alive."""
    keys, renewed = tuple(keys), time.monotonic()
    for block in blocks:
        if time.monotonic() - renewed > _RENEW_SECONDS:
            for key in keys:
                store.renew(key)
            renewed = time.monotonic()
        yield block


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


def _shard_table(best: BestHits) -> pa.Table:
    return SHARD_HITS.table(
        [
            {
                "name": hit.name,
                "description": hit.description,
                "score": hit.score,
                "e_value": hit.e_value,
                "regions": [_region_fields(region) for region in hit.regions],
                "num_hits": best.num_hits,
            }
            for hit in best.hits
        ]
    )


def _region_fields(region: Region) -> dict[str, object]:
    return {name: getattr(region, name) for name in Region.__slots__}


def _read_hits(table: pa.Table, limit: int) -> BestHits:
    rows = table.to_pylist()
    hits = [
        Hit(
            name=row["name"],
            description=row["description"],
            score=row["score"],
            e_value=row["e_value"],
            regions=tuple(Region(**region) for region in row["regions"]),
        )
        for row in rows
    ]
    return BestHits(limit, rows[0]["num_hits"] if rows else 0, hits)


def _hits_table(
    rows: Sequence[Row], sequence: str, database: Database, profile: str
) -> pa.Table:
    return MSA_HITS.table(
        [
            {
                "sequence_id": sequence_id(database.kind, sequence),
                "database_digest": database.digest[:16],
                "rank": rank,
                "target": row.target,
                "description": row.description,
                "start": row.region.start,
                "end": row.region.end,
                "row": row.region.row,
                "score": row.score,
                "e_value": row.e_value,
                "region_score": row.region.score,
                "region_e_value": row.region_e_value,
                "engine": f"{database.tool} ({engine_name(database)})",
                "profile": profile,
            }
            for rank, row in enumerate(rows, start=1)
        ]
    )


def read_alignment(
    sequence: str, database: Database, store: Store, profile: str
) -> Msa:
    """The alignment of a searched sequence with one database, the query first.

    Raises:
        LookupError: the store has no such result.
    """
    table = store.get(hits_key(sequence, database, profile))
    if table is None:
        raise LookupError(
            f"the store {store.folder} has no result of "
            f"{sequence_id(database.kind, sequence)} in {database.name} ({profile}); "
            "run the search again"
        )
    rows = [
        Row(
            target=row["target"],
            description=row["description"],
            region=Region(
                row["start"], row["end"], row["row"], row["region_score"], 0.0
            ),
            score=row["score"],
            e_value=row["e_value"],
            region_e_value=row["region_e_value"],
        )
        for row in table.to_pylist()
    ]
    align = rna_alignment if database.kind == "rna" else protein_alignment
    return align(sequence, rows)


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
