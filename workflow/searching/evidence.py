"""Puts what the searches found into a job: alignments and templates of every chain."""

import datetime
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from af3_core.job import Job, Ligand, Polymer
from af3_core.msa import Msa, format_a3m, parse_a3m
from af3_core.recent import Recent
from workflow.databases.manifest import Database, Role, read_manifest, with_role
from workflow.needs import ChainNeeds, chain_needs
from workflow.searching.hit_tables import filters_in
from workflow.searching.search_keys import (
    HMMER,
    TemplateDatabases,
    TemplateQuery,
    engine_name,
    hits_key,
)
from workflow.searching.sequences import paired_msa, unpaired_msa
from workflow.searching.template_search import read_templates
from workflow.settings import Search, Settings
from workflow.store.entries import Store


def databases_of(search: Search) -> tuple[Database, ...]:
    """The campaign's databases."""
    return _databases_in(search.databases)


@cache
def _databases_in(table: Path) -> tuple[Database, ...]:
    return read_manifest(table)


def template_databases(search: Search) -> TemplateDatabases | None:
    """Where templates come from; None if the campaign has no such databases."""
    sequences = with_role(databases_of(search), "templates")
    structures = with_role(databases_of(search), "structures")
    if not (sequences and structures):
        return None
    return TemplateDatabases(sequences[0], structures[0])


def max_template_date(search: Search) -> datetime.date:
    """The latest release date of a template."""
    return datetime.date.fromisoformat(search.max_template_date)


def template_query(need: ChainNeeds, search: Search) -> TemplateQuery:
    """A chain and the alignment its templates are searched with.

    Raises:
        LookupError: the alignment is not in the store.
    """
    is_searched = need.polymer.unpaired_msa is None
    return _query(need, _unpaired(need, search) if is_searched else None)


def _query(need: ChainNeeds, searched: Msa | None) -> TemplateQuery:
    """A chain with its alignment: the one that was searched, or the input's."""
    given = need.polymer.unpaired_msa
    if searched is None:
        alone = Msa(("query",), (need.query,))
        searched = parse_a3m(given) if given else alone
    return TemplateQuery(need.query, searched)


def searched_databases(need: ChainNeeds, search: Search) -> Iterator[Database]:
    """The databases that a chain's alignments come from."""
    for role in _roles(need):
        yield from with_role(databases_of(search), role)


def _roles(need: ChainNeeds) -> Iterator[Role]:
    """Roles of the databases that a chain is searched against."""
    if need.search_unpaired:
        yield "rna" if need.polymer.kind == "rna" else "unpaired"
    if need.search_paired:
        yield "paired"


def search_facts(job: Job, settings: Settings) -> dict[str, object]:
    """What a job's alignments and templates come from, for its provenance.

    `engines` says by role what program searched, or that the input brought alignments
    along; `databases` maps names to digests. Roles that no chain needs are absent.
    `filter` says by database what computed HMMER's first filter, which changes no row.
    """
    search, used = settings.search, {}
    store = Store(search.store)
    engines: dict[str, str] = {}
    filters: dict[str, set[str]] = {}
    for need in chain_needs(job):
        for role in _roles(need):
            for database in with_role(databases_of(search), role):
                used[database.name] = database.digest
                engines[role] = f"{database.tool} ({engine_name(database)})"
                notes = store.notes(hits_key(need.query, database, search.profile))
                filters.setdefault(database.name, set()).update(filters_in(notes or {}))
        if need.polymer.unpaired_msa:
            engines.setdefault("unpaired", "input")
        databases = template_databases(search)
        if need.search_templates and databases is not None:
            for database in (databases.sequences, databases.structures):
                used[database.name] = database.digest
            engines["templates"] = f"hmmsearch ({HMMER})"
    return {
        "profile": search.profile,
        "filter": {name: ", ".join(sorted(by)) for name, by in filters.items() if by},
        "engines": engines,
        "databases": used,
        "max_template_date": search.max_template_date,
    }


def add_evidence(job: Job, settings: Settings, recent: Recent | None = None) -> Job:
    """The job with nothing left to be found.

    `recent` knows what was found for the chains of other jobs, with the same settings.

    Raises:
        LookupError: a result is not in the store.
    """
    needs = {need.entity_index: need for need in chain_needs(job)}
    entities = tuple(
        entity
        if isinstance(entity, Ligand)
        else _complete(needs[index], settings.search, recent or Recent())
        for index, entity in enumerate(job.entities)
    )
    return replace(job, entities=entities)


def _complete(need: ChainNeeds, search: Search, recent: Recent) -> Polymer:
    asked = need.search_unpaired, need.search_paired, need.search_templates
    found = recent.get(
        ("evidence", need.sequence_id, need.template_id, asked),
        lambda: _find(need, search),
        _num_letters,
    )
    polymer = need.polymer
    if need.search_unpaired:
        polymer = replace(polymer, unpaired_msa=found.unpaired_msa)
    if need.search_paired:
        polymer = replace(polymer, paired_msa=found.paired_msa)
    if need.search_templates:
        polymer = replace(polymer, templates=found.templates)
    return polymer


def _num_letters(polymer: Polymer) -> int:
    templates = sum(len(template.mmcif) for template in polymer.templates or ())
    return len(polymer.unpaired_msa or "") + len(polymer.paired_msa or "") + templates


def _find(need: ChainNeeds, search: Search) -> Polymer:
    """The chain with what is found in the store."""
    polymer, store = need.polymer, Store(search.store)
    # Once, for it may be megabytes: it is the query of templates as well.
    unpaired = _unpaired(need, search) if need.search_unpaired else None
    if need.search_unpaired and unpaired is not None:
        polymer = replace(polymer, unpaired_msa=format_a3m(unpaired))
    if need.search_paired:
        paired = paired_msa(need.query, databases_of(search), store, search.profile)
        polymer = replace(polymer, paired_msa=format_a3m(paired))
    if need.search_templates:
        databases = template_databases(search)
        query, max_date = _query(need, unpaired), max_template_date(search)
        templates = (
            read_templates(query, databases, store, max_date=max_date)
            if databases is not None
            else ()
        )
        polymer = replace(polymer, templates=templates)
    return polymer


def _unpaired(need: ChainNeeds, search: Search) -> Msa:
    databases, store = databases_of(search), Store(search.store)
    kind = need.polymer.kind
    return unpaired_msa(need.query, kind, databases, store, search.profile)
