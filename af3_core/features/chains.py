"""Chains of a job in model order: what each is made of, residue by residue."""

from dataclasses import dataclass

from af3_core.chemistry.residues import (
    CHAIN_TYPES,
    ChainKind,
    one_letter_sequence,
    residue_codes,
)
from af3_core.job import Job, Ligand, Polymer


@dataclass(frozen=True)
class Chain:
    """One copy of an entity. Its residues are numbered from 1 (`residue_id`)."""

    chain_id: str
    kind: ChainKind
    codes: tuple[str, ...]
    """Component code per residue; `LIG_<chain_id>` for a SMILES ligand."""
    entity_index: int
    """0-based position among the job's entities."""
    smiles: str | None = None

    @property
    def is_polymer(self) -> bool:
        """Protein, RNA or DNA."""
        return self.kind != "ligand"

    @property
    def mmcif_type(self) -> str:
        """`_entity_poly.type` or, for ligands, `_entity.type`."""
        if self.kind != "ligand":
            return CHAIN_TYPES[self.kind]
        return "non-polymer" if len(self.codes) == 1 else "branched"

    @property
    def sequence(self) -> str:
        """One letter per residue of a polymer; empty for ligands."""
        if self.kind == "ligand":
            return ""
        return one_letter_sequence(self.codes, self.kind)


def chains_of(job: Job) -> tuple[Chain, ...]:
    """Returns every chain of the job in the order of the model's tokens.

    That order is mmCIF's for chain ids, whatever the order in the input: A to Z, then
    AA, BA, … ZA, AB and so on.
    """
    chains = [
        _chain(entity, chain_id, index)
        for index, entity in enumerate(job.entities)
        for chain_id in entity.ids
    ]
    return tuple(sorted(chains, key=lambda c: (len(c.chain_id), c.chain_id[::-1])))


def _chain(entity: Polymer | Ligand, chain_id: str, entity_index: int) -> Chain:
    if isinstance(entity, Polymer):
        return Chain(chain_id, entity.kind, residue_codes(entity), entity_index)
    if entity.smiles is None:
        return Chain(chain_id, "ligand", entity.codes, entity_index)
    code = f"LIG_{chain_id}"
    return Chain(chain_id, "ligand", (code,), entity_index, entity.smiles)
