"""The input language: what a user asks for, checked, in one frozen value.

`read_jobs` understands AlphaFold 3 JSON (dialects `alphafold3` 1–4 and
`alphafoldserver`), FASTA and CSV sample sheets; `write_job` turns any job back into
AlphaFold 3 JSON. Whatever cannot be accepted raises `InputError`.
"""

from dataclasses import dataclass
from typing import Literal

PolymerKind = Literal["protein", "rna", "dna"]


class InputError(ValueError):
    """The user's input is at fault; the message lets the user mend it.

    Attributes:
        file: the input as the user named it.
        field: path inside it, such as `sequences[2].protein.sequence`.
        value: what was found there, shortened.
        allowed: what would have been accepted, as a sentence.
    """

    def __init__(self, file: str, field: str, value: object, allowed: str) -> None:
        shown = value if isinstance(value, str) else repr(value)
        self.file, self.field, self.allowed = file, field, allowed
        self.value = shown if len(shown) <= 80 else shown[:77] + "..."
        super().__init__(f"{file}: {field}: got {self.value!r}; allowed: {allowed}")


@dataclass(frozen=True)
class Modification:
    """A residue replaced by a component of the chemical component dictionary."""

    code: str
    position: int
    """1-based residue number."""


@dataclass(frozen=True)
class Template:
    """A structure of one chain, aligned to the query residue by residue."""

    mmcif: str
    """Text of the mmCIF file, one chain."""
    query_indices: tuple[int, ...]
    """0-based residues of the query …"""
    template_indices: tuple[int, ...]
    """… and the 0-based residues of the template they align with."""


@dataclass(frozen=True)
class Polymer:
    """A protein, RNA or DNA sequence and its copies.

    MSAs are A3M text. None means "search for it"; "" means "none wanted". Templates
    likewise: None or a possibly empty tuple. RNA has no paired MSA and no templates,
    DNA has no MSA at all; both then stay None.
    """

    kind: PolymerKind
    ids: tuple[str, ...]
    """One chain id per copy."""
    sequence: str
    """One-letter codes, upper case, before modification."""
    modifications: tuple[Modification, ...] = ()
    unpaired_msa: str | None = None
    paired_msa: str | None = None
    templates: tuple[Template, ...] | None = None
    description: str | None = None


@dataclass(frozen=True)
class Ligand:
    """A ligand or ion and its copies: component codes or a SMILES string."""

    ids: tuple[str, ...]
    codes: tuple[str, ...] = ()
    """One code per component, in order; several for glycans and the like."""
    smiles: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class BondAtom:
    """One end of a covalent bond that the user states."""

    chain_id: str
    residue_id: int
    """1-based."""
    atom_name: str


@dataclass(frozen=True)
class Job:
    """One complex to predict, with any number of seeds."""

    name: str
    seeds: tuple[int, ...]
    entities: tuple[Polymer | Ligand, ...]
    bonds: tuple[tuple[BondAtom, BondAtom], ...] = ()
    user_ccd: str | None = None
    """Text of an mmCIF file with the user's own components."""
