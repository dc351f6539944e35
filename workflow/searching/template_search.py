"""Templates of proteins, found once for everybody who shares a store.

A query's alignment becomes a profile; all profiles of a batch go through the PDB's
sequences together; the hits of each are filtered against the template structures.
"""

import datetime
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from af3_core.contracts import TEMPLATES, TemplateRow
from af3_core.job import Template
from af3_core.search.hits import select_rows
from af3_core.search.hmmer import ALPHABETS, search_stream
from af3_core.search.profile import build_profile
from af3_core.search.settings import TEMPLATE_SEARCH
from af3_core.search.templates import (
    ChosenTemplate,
    TemplateFilter,
    choose_templates,
    read_hit,
)
from workflow.databases.files import VERIFIED, read_targets, require_unchanged
from workflow.databases.template_store import Structures, chain_text, open_structures
from workflow.needs import sequence_id
from workflow.searching.search_keys import (
    HMMER,
    TemplateDatabases,
    TemplateQuery,
    templates_key,
)
from workflow.store.entries import (
    Guards,
    MissingEntry,
    Store,
    fill_store,
    unguarded,
)


def search_templates(
    queries: Mapping[str, TemplateQuery],
    databases: TemplateDatabases,
    store: Store,
    *,
    max_date: datetime.date,
    threads: int = 1,
    on_result: Callable[[str], None] = lambda name: None,
    guard: Guards = unguarded,
) -> None:
    """Sees to it that the store has the templates of every query.

    Args:
        queries: by the names `on_result` is called with.
        databases: where hits and structures come from.
        store: where results are and go.
        max_date: the latest release date of a template.
        threads: how many run at once.
        on_result: called with each name when its entry is there.
        guard: of what is done for one query.

    Raises:
        InputError: a database file is missing or not the one of the manifest.
        ValueError: an alignment has rows of different length.
    """
    keys = {name: templates_key(q, databases, max_date) for name, q in queries.items()}
    limits = TemplateFilter(max_date=max_date)

    def make(names: list[str]) -> Iterator[tuple[str, pa.Table]]:
        require_unchanged(databases.sequences, store.folder / VERIFIED)
        wanted = {name: queries[name] for name in names}
        return _search(wanted, databases, limits, threads, guard)

    fill_store(store, keys, make, on_result, guard)


def _search(
    queries: Mapping[str, TemplateQuery],
    databases: TemplateDatabases,
    limits: TemplateFilter,
    threads: int,
    guard: Guards,
) -> Iterator[tuple[str, pa.Table]]:
    structures = open_structures(databases.structures.path)
    shards = databases.sequences.shards
    profiles = {}
    for name, query in queries.items():
        with guard(name):
            profiles[name] = build_profile(query.msa)
    if not profiles:
        return
    found = search_stream(
        profiles,
        (t for shard in shards for t in read_targets(shard, ALPHABETS["profile"])),
        TEMPLATE_SEARCH,
        kind="profile",
        z=databases.sequences.z,
        threads=threads,
    )
    for name in profiles:
        query, table = queries[name].sequence, None
        with guard(name):
            hits = (read_hit(row) for row in select_rows(found[name], TEMPLATE_SEARCH))
            chosen = choose_templates(query, hits, structures.chain, limits)
            table = _templates_table(query, chosen, structures)
        if table is not None:
            yield name, table


def _templates_table(
    query: str, chosen: tuple[ChosenTemplate, ...], structures: Structures
) -> pa.Table:
    return TEMPLATES.table(
        [
            TemplateRow(
                sequence_id=sequence_id("protein", query),
                rank=rank,
                pdb_id=template.hit.pdb_id,
                chain_id=template.hit.author_id,
                release_date=template.release_date.isoformat(),
                mmcif=chain_text(
                    structures, template.hit.pdb_id, template.hit.author_id
                ),
                query_indices=np.array(template.query_indices, np.int32),
                template_indices=np.array(template.template_indices, np.int32),
                engine=f"hmmsearch ({HMMER})",
            )
            for rank, template in enumerate(chosen, start=1)
        ]
    )


def read_templates(
    query: TemplateQuery,
    databases: TemplateDatabases,
    store: Store,
    *,
    max_date: datetime.date,
) -> tuple[Template, ...]:
    """The templates of a query that was searched, best first.

    Raises:
        MissingEntry: the store has no such result.
    """
    table = store.get(templates_key(query, databases, max_date))
    if table is None:
        raise MissingEntry(
            f"the store {store.folder} has no templates of "
            f"{sequence_id('protein', query.sequence)}; run the search again"
        )
    return tuple(
        Template(
            mmcif=row.mmcif,
            query_indices=tuple(row.query_indices.tolist()),
            template_indices=tuple(row.template_indices.tolist()),
        )
        for row in TEMPLATES.rows(table)
    )
