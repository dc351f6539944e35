"""What a job still has to have searched: which sequences, for which alignments."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from af3_core.chemistry.residues import query_sequence
from af3_core.job import Job, Ligand, Polymer


@dataclass(frozen=True)
class ChainNeeds:
    """One polymer entity of a job and what its input leaves to be found."""

    entity_index: int
    polymer: Polymer
    query: str
    """The letters that are searched; see `query_sequence`."""
    sequence_id: str
    """Names kind and query."""
    search_unpaired: bool
    search_paired: bool
    search_templates: bool
    template_id: str | None
    """Names the template search: the sequence, and the alignment if one was given."""


SHALLOW_ROWS, DEEP_ROWS = 16, 16_384
"""Depths that alignments are padded to: without one to speak of, and AlphaFold 3's."""


def padded_rows(job: Job, needs: Iterable[ChainNeeds]) -> int:
    """The depth for a job: shallow only if its own input says so.

    What a search will find is not known when batches are planned.
    """
    polymers = [e for e in job.entities if isinstance(e, Polymer)]
    if any(need.search_unpaired or need.search_paired for need in needs):
        return DEEP_ROWS
    paired = sum(max(1, (p.paired_msa or "").count(">")) for p in polymers)
    unpaired = [max(1, (p.unpaired_msa or "").count(">")) for p in polymers]
    depth = paired + max(unpaired, default=1) + 1
    return SHALLOW_ROWS if depth <= SHALLOW_ROWS else DEEP_ROWS


def sequence_id(kind: str, sequence: str) -> str:
    """Names a sequence of one molecule type: 16 hex digits of a SHA-256."""
    return hashlib.sha256(f"{kind}:{sequence}".encode()).hexdigest()[:16]


def chain_needs(job: Job) -> list[ChainNeeds]:
    """The polymers of a job with what must be searched for each.

    DNA has no alignment; only proteins have paired alignments and templates.
    """
    needs = []
    for index, entity in enumerate(job.entities):
        if isinstance(entity, Ligand):
            continue
        is_protein = entity.kind == "protein"
        query = query_sequence(entity)
        name = sequence_id(entity.kind, query)
        search_templates = is_protein and entity.templates is None
        template_id = None
        if search_templates:
            given = entity.unpaired_msa
            template_id = name if given is None else sequence_id(name, given)
        needs.append(
            ChainNeeds(
                entity_index=index,
                polymer=entity,
                query=query,
                sequence_id=name,
                search_unpaired=entity.kind != "dna" and entity.unpaired_msa is None,
                search_paired=is_protein and entity.paired_msa is None,
                search_templates=search_templates,
                template_id=template_id,
            )
        )
    return needs
