"""One protein chain of a template's mmCIF: its residues and where their atoms are.

What is read follows AF3's published code where files leave room; see `templates.entry`.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from af3_core.chemistry.residue_letters import residue_letters
from af3_core.templates.chain import parent_component, read_atoms, release_date
from af3_core.templates.entry import (
    NUCLEIC_ACIDS,
    POLYMERS,
    Entry,
    PolymerChain,
    read_entry,
    read_polymer,
)

Position = tuple[float, float, float]


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
    residues: tuple[TemplateResidue, ...]

    @property
    def letters(self) -> str:
        """One-letter sequence, unresolved residues included."""
        return residue_letters([r.name for r in self.residues], unknown="X")


def read_template_chain(mmcif: str) -> TemplateChain:
    """Reads the single polymer chain of a template.

    Raises:
        ValueError: if the text is no mmCIF, has no release date, or does not hold
            exactly one polymer chain that is a protein.
    """
    entry = read_entry(mmcif)
    chain = read_polymer(entry, _single_polymer(entry))
    return TemplateChain(
        name=entry.name,
        release_date=_release_date(entry),
        residues=_read_residues(entry, chain),
    )


def _single_polymer(entry: Entry) -> str:
    polymers = [c for c in entry.residues if entry.kind(c) in POLYMERS]
    if len(polymers) != 1:
        raise ValueError(f"it must hold one polymer chain, it holds {polymers}")
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


def _read_residues(entry: Entry, chain: PolymerChain) -> tuple[TemplateResidue, ...]:
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
