"""One chain as MSA and template features see it: its tokens and what was found for it.

Alignments and templates have one column per residue of a polymer and one per token of
a ligand. The tokens of one residue share a column, in ligands the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Int
from numpy import ndarray

from af3_core.features.tokens import ChainTokens, TokenTable
from af3_core.job import ChainKind, Job, Ligand, Polymer, Template


@dataclass(frozen=True, eq=False)
class ChainInput:
    """A chain of the job. Alignments are A3M text; "" means the query alone."""

    chain_id: str
    kind: ChainKind
    letters: str
    """One letter per residue of a polymer, modified ones by their parent's."""
    token_columns: Int[ndarray, "n"]
    """Column of each token within the chain, not descending, from 0."""
    token_residue_names: tuple[str, ...]
    """Component code of each token's residue."""
    unpaired_msa: str = ""
    paired_msa: str = ""
    templates: tuple[Template, ...] = ()

    @property
    def num_tokens(self) -> int:
        """How many tokens the chain has."""
        return len(self.token_columns)

    @property
    def num_columns(self) -> int:
        """Residues of a polymer, tokens of a ligand."""
        return self.num_tokens if self.kind == "ligand" else len(self.letters)


def chain_inputs(job: Job, table: TokenTable) -> tuple[ChainInput, ...]:
    """The chains of a job, in the order of its tokens, with MSAs and templates.

    Raises:
        ValueError: if a protein or RNA has no alignment yet, or a protein no templates
            ("" and () say that none are wanted).
    """
    return tuple(
        _chain_input(job.entities[c.chain.entity_index], c, table) for c in table.chains
    )


def _chain_input(
    entity: Polymer | Ligand, chain: ChainTokens, table: TokenTable
) -> ChainInput:
    columns = table.column[chain.tokens] - chain.columns.start
    names = table.residue_name[chain.tokens]
    chain_id, kind = chain.chain.chain_id, chain.chain.kind
    letters = chain.chain.sequence
    if isinstance(entity, Ligand) or entity.kind == "dna":
        return ChainInput(chain_id, kind, letters, columns, names)
    _require_found(entity, chain_id)
    return ChainInput(
        chain_id,
        kind,
        letters,
        columns,
        names,
        entity.unpaired_msa or "",
        entity.paired_msa or "",
        entity.templates or (),
    )


def _require_found(polymer: Polymer, chain_id: str) -> None:
    wanted = {"unpaired MSA": polymer.unpaired_msa}
    if polymer.kind == "protein":
        wanted |= {"paired MSA": polymer.paired_msa, "templates": polymer.templates}
    missing: Sequence[str] = [name for name, value in wanted.items() if value is None]
    if missing:
        raise ValueError(
            f"chain {chain_id} has no {' and no '.join(missing)} yet: search first, or "
            "give empty ones"
        )
