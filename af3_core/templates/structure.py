"""One protein chain of a template's mmCIF: its residues and where their atoms are.

Where files leave room, AF3's published code is followed; see `templates.entry`. It
finds the atoms of residue i of the polymer at residue i of the whole file: another one
if a ligand, an ion or a cap stands before the polymer in the atom table.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from af3_core.chemistry.residue_letters import residue_letters
from af3_core.templates.chain import parent_component, read_atoms, release_date
from af3_core.templates.entry import (
    NUCLEIC_ACIDS,
    PEPTIDES,
    POLYMERS,
    Entry,
    ReadChain,
    chains_with_atoms,
    read_entry,
    read_ligand,
    read_polymer,
)

Position = tuple[float, float, float]
Positions = Literal["alphafold3", "own"]
"""Where a template's atoms are looked up: counted through the file, or its polymer."""


@dataclass(frozen=True)
class TemplateResidue:
    """A residue of the template's sequence; without atoms if it is unresolved."""

    name: str
    atoms: Mapping[str, Position]
    """Positions by atom name, Å."""


@dataclass(frozen=True)
class TemplateChain:
    """The one polymer chain of a template."""

    name: str
    release_date: datetime.date
    kind: str
    """Its polymer type, `_entity_poly.type`."""
    residues: tuple[TemplateResidue, ...]
    before: tuple[TemplateResidue, ...]
    """Residues of other chains that stand before it in the atom table, but water."""

    @property
    def letters(self) -> str:
        """One-letter sequence, unresolved residues included."""
        if self.kind not in PEPTIDES:
            return "X" * len(self.residues)
        return residue_letters([r.name for r in self.residues], unknown="X")

    def atoms(self, index: int, positions: Positions) -> Mapping[str, Position]:
        """Atoms of the 0-based residue of the polymer, by either way to count."""
        if positions == "own":
            return self.residues[index].atoms
        return (*self.before, *self.residues)[index].atoms


def read_template_chain(mmcif: str) -> TemplateChain:
    """Reads the single polymer chain of a template.

    Raises:
        ValueError: if the text is no mmCIF, has no release date, or does not hold
            exactly one polymer chain that is a protein.
    """
    entry = read_entry(mmcif)
    order = chains_with_atoms(entry)
    polymer = _single_polymer(entry, order)
    residues = {
        chain_id: _read_residues(
            entry,
            (read_polymer if chain_id == polymer else read_ligand)(entry, chain_id),
        )
        for chain_id in order
    }
    before = order[: order.index(polymer)]
    return TemplateChain(
        name=entry.name,
        release_date=_release_date(entry),
        kind=entry.kind(polymer),
        residues=residues[polymer],
        before=tuple(r for chain_id in before for r in residues[chain_id]),
    )


def _single_polymer(entry: Entry, chain_ids: Sequence[str]) -> str:
    polymers = [c for c in chain_ids if entry.kind(c) in POLYMERS]
    if len(polymers) != 1:
        found = ", ".join(polymers) or "none"
        raise ValueError(f"it must hold one polymer chain with atoms, it holds {found}")
    if entry.kind(polymers[0]) in NUCLEIC_ACIDS:
        raise ValueError(f"its chain is {entry.kind(polymers[0])}, not a protein")
    return polymers[0]


def _release_date(entry: Entry) -> datetime.date:
    date = release_date(entry)
    if date is None:
        raise ValueError(
            "it has no release date; set _pdbx_audit_revision_history.revision_date "
            "to a date such as 1989-11-17"
        )
    try:
        return datetime.date.fromisoformat(date)
    except ValueError as error:
        raise ValueError(f"its release date is not a date: {date}") from error


def _read_residues(entry: Entry, chain: ReadChain) -> tuple[TemplateResidue, ...]:
    read = read_atoms(entry, chain)
    positions = read.positions.tolist()
    atoms: list[dict[str, Position]] = [{} for _ in chain.residues]
    for i, residue in enumerate(chain.residue_of_atom):
        x, y, z = positions[i]
        atoms[residue][read.name[i]] = (x, y, z)
    return tuple(
        TemplateResidue(parent_component(residue.component), found)
        for residue, found in zip(chain.residues, atoms, strict=True)
    )
