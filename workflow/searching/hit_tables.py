"""Hits as tables, and tables as hits: what the search store keeps of a search."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from af3_core.contracts import (
    MSA_HITS,
    SHARD_HITS,
    SURVIVORS,
    MsaHitRow,
    ShardHitRow,
)
from af3_core.search.hits import BestHits, Hit, Region, Row
from af3_core.search.hmmer import Survivors

_FILTERED_BY = "filtered_by"


def with_filters(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """The table, with what computed the first filter noted beside its rows."""
    noted = {_FILTERED_BY: ", ".join(sorted(filter(None, set(names))))}
    return table.replace_schema_metadata({**table.schema.metadata, **noted})


def filters_of(table: pa.Table) -> set[str]:
    """What computed the first filter, as the table notes it."""
    noted = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    return filters_in(noted)


def filters_in(notes: Mapping[str, str]) -> set[str]:
    """Likewise, of a table of which only the metadata were read."""
    return set(filter(None, notes.get(_FILTERED_BY, "").split(", ")))


def survivors_table(places: Survivors) -> pa.Table:
    """What the first filter leaves of a shard for one query."""
    return pa.table([pa.array(places, pa.int32())], schema=SURVIVORS.schema)


def read_survivors_table(table: pa.Table) -> Survivors:
    """The places of a table made by `survivors_table`."""
    return table["place"].to_numpy()


def shard_table(best: BestHits) -> pa.Table:
    """The hits of one query in one shard, not yet judged region by region."""
    return SHARD_HITS.table(
        [
            ShardHitRow(
                name=hit.name,
                description=hit.description,
                score=hit.score,
                e_value=hit.e_value,
                regions=[_region_fields(region) for region in hit.regions],
                num_hits=best.num_hits,
            )
            for hit in best.hits
        ]
    )


def _region_fields(region: Region) -> dict[str, Any]:
    return {name: getattr(region, name) for name in Region.__slots__}


def read_shard_table(table: pa.Table, limit: int) -> BestHits:
    """The hits of a table made by `shard_table`."""
    rows = SHARD_HITS.rows(table)
    hits = [
        Hit(
            name=row.name,
            description=row.description,
            score=row.score,
            e_value=row.e_value,
            regions=tuple(Region(**region) for region in row.regions),
        )
        for row in rows
    ]
    return BestHits(limit, rows[0].num_hits if rows else 0, hits)


def hits_table(
    rows: Sequence[Row], *, sequence_id: str, database: str, engine: str, profile: str
) -> pa.Table:
    """The rows of one query's alignment with one database.

    Args:
        rows: best first.
        sequence_id: the query's.
        database: digest of the database.
        engine: tool and version.
        profile: E-value convention.
    """
    return MSA_HITS.table(
        [
            MsaHitRow(
                sequence_id=sequence_id,
                database_digest=database[:16],
                rank=rank,
                target=row.target,
                description=row.description,
                start=row.region.start,
                end=row.region.end,
                row=row.region.row,
                score=row.score,
                e_value=row.e_value,
                region_score=row.region.score,
                region_e_value=row.region_e_value,
                engine=engine,
                profile=profile,
            )
            for rank, row in enumerate(rows, start=1)
        ]
    )


def read_hits_table(table: pa.Table) -> list[Row]:
    """The rows of a table made by `hits_table`."""
    return [
        Row(
            target=row.target,
            description=row.description,
            region=Region(
                start=row.start,
                end=row.end,
                row=row.row,
                score=row.region_score,
                p_value=0.0,  # judged already
            ),
            score=row.score,
            e_value=row.e_value,
            region_e_value=row.region_e_value,
        )
        for row in MSA_HITS.rows(table)
    ]
