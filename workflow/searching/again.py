"""Searches again what a store should have and has not.

Entries are removed by `workflow.store prune`, by a scratch file system that is purged,
or because they were damaged. Whoever needs one then has it searched on the spot.
"""

from collections.abc import Callable, Iterable

from af3_core.job import InputError
from workflow.engine.guard import log
from workflow.needs import ChainNeeds
from workflow.searching.evidence import (
    max_template_date,
    searched_databases,
    template_databases,
    template_query,
)
from workflow.searching.sequences import search_batch, staging_folder
from workflow.searching.template_search import search_templates
from workflow.settings import Search
from workflow.store.entries import MissingEntry, Store


def with_searches[Found](
    find: Callable[[], Found],
    needs: Iterable[ChainNeeds],
    search: Search,
    *,
    threads: int = 1,
) -> Found:
    """What is found in the store, once what the store lacks of it has been searched.

    Args:
        find: may raise `MissingEntry`; then it is called once more.
        needs: chains whose alignments and templates it reads.
        search: the campaign's settings.
        threads: how many search at once.

    Raises:
        MissingEntry: it cannot be searched.
    """
    try:
        return find()
    except MissingEntry as missing:
        log(f"searched again: {missing}")
        try:
            for need in needs:
                search_again(need, search, threads=threads)
        except InputError as error:
            # Not the job's input: a database is not what it was.
            raise MissingEntry(f"{missing}: {error}") from error
    return find()


def search_again(need: ChainNeeds, search: Search, *, threads: int = 1) -> None:
    """Sees to it that the store has all that a chain needs.

    Raises:
        InputError: a database file is missing or not the one of the manifest.
        OSError: neither the store nor the campaign's own can be written.
    """
    store = Store(search.store)
    for database in searched_databases(need, search):
        search_batch(
            [need.query],
            database,
            store,
            profile=search.profile,
            threads=threads,
            stage_to=staging_folder(search.stage_to),
        )
    databases = template_databases(search)
    if not need.search_templates or databases is None:
        return
    search_templates(
        {"": template_query(need, search)},
        databases,
        store,
        max_date=max_template_date(search),
        threads=threads,
    )
