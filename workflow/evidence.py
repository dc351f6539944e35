"""Puts what the searches found into a job: alignments and templates of every chain."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from af3_core.job import Job, Ligand, Polymer
from workflow.databases import Database, read_manifest, with_role
from workflow.needs import ChainNeeds, chain_needs
from workflow.searching import hits_key, paired_msa, unpaired_msa
from workflow.settings import Search, Settings
from workflow.store import Key, Store
from workflow.template_searching import read_templates, templates_key


@cache
def databases_of(search: Search) -> tuple[Database, ...]:
    """The campaign's databases."""
    return read_manifest(search.databases)


def evidence_keys(job: Job, settings: Settings) -> list[Key]:
    """The store's key of everything that was searched for a job."""
    return [key for need in chain_needs(job) for key in _keys(need, settings.search)]


def _keys(need: ChainNeeds, search: Search) -> Iterator[Key]:
    sequence, databases = need.polymer.sequence, databases_of(search)
    roles = []
    if need.search_unpaired:
        roles.append("rna" if need.polymer.kind == "rna" else "unpaired")
    if need.search_paired:
        roles.append("paired")
    for role in roles:
        for database in with_role(databases, role):
            yield hits_key(sequence, database, search.profile)
    if need.search_templates:
        yield templates_key(need.polymer, databases, search)


def add_evidence(job: Job, settings: Settings) -> Job:
    """The job with nothing left to be found.

    Raises:
        LookupError: a result is not in the store.
    """
    needs = {need.entity_index: need for need in chain_needs(job)}
    entities = tuple(
        entity
        if isinstance(entity, Ligand)
        else _complete(needs[index], settings.search)
        for index, entity in enumerate(job.entities)
    )
    return replace(job, entities=entities)


def _complete(need: ChainNeeds, search: Search) -> Polymer:
    polymer, databases, store = need.polymer, databases_of(search), Store(search.store)
    found: dict[str, object] = {}
    if need.search_unpaired:
        found["unpaired_msa"] = unpaired_msa(
            polymer.sequence, polymer.kind, databases, store, search.profile
        ).to_a3m()
    if need.search_paired:
        found["paired_msa"] = paired_msa(
            polymer.sequence, databases, store, search.profile
        ).to_a3m()
    if need.search_templates:
        found["templates"] = read_templates(polymer, databases, search, store)
    return replace(polymer, **found)
