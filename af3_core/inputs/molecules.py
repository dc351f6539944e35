"""The molecules of a screen: chains, double strands, ligands, and what they are called.

A `Molecule` is what one name stands for. Its size is known from its letters, so that
complexes can be counted and priced before any is written out.
"""

import hashlib
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from af3_core.chemistry.molecules import smiles_component
from af3_core.chemistry.residues import query_sequence
from af3_core.inputs.a3m import crop_a3m
from af3_core.inputs.chemistry import standard_components
from af3_core.inputs.entry import Entry
from af3_core.job import (
    BondAtom,
    Job,
    Ligand,
    Modification,
    Polymer,
    content_digest,
    sanitise_name,
)

Residue = tuple[int, int, str]
"""An atom of a molecule: 0-based entity, 1-based residue or component, atom name."""

_REGION = re.compile(r"([0-9]{1,6})-([0-9]{1,6})")
_COMPLEMENT = str.maketrans("ACGTRYSWKMBDHVNX", "TGCAYRSWMKVHDBNX")


@dataclass(frozen=True)
class Molecule:
    """What one name of a screen stands for."""

    label: str
    """Short and safe as part of a file name."""
    entities: tuple[Polymer | Ligand, ...]
    """Without ids. Two for double-stranded DNA, one for each region of a chain cut into
    several, otherwise one."""
    bonds: tuple[tuple[Residue, Residue], ...] = ()
    """Within the molecule, as between the sugars of a glycan."""

    @cached_property
    def digest(self) -> str:
        """Names what it is made of, whatever it is called (16 hex digits)."""
        job = Job("", (), tuple(replace(e, description=None) for e in self.entities))
        key = json.dumps([content_digest(job), self.bonds])
        return hashlib.sha256(key.encode()).hexdigest()[:16]

    @cached_property
    def num_tokens(self) -> int:
        """Its tokens: residues, and heavy atoms of whatever is no standard residue.

        Atoms that leave when a bond is made are counted, so it may be a few too many.
        """
        return sum(map(_count_tokens, self.entities))

    @property
    def is_ligand(self) -> bool:
        """Whether it has no chain of a polymer."""
        return all(isinstance(entity, Ligand) for entity in self.entities)


def _count_tokens(entity: Polymer | Ligand) -> int:
    components = standard_components()
    if isinstance(entity, Polymer):
        atoms = (len(components[m.code].heavy_atoms) for m in entity.modifications)
        return len(entity.sequence) - len(entity.modifications) + sum(atoms)
    if entity.smiles is not None:
        return len(smiles_component(entity.smiles, "LIG").heavy_atoms)
    return sum(len(components[code].heavy_atoms) for code in entity.codes)


def label_of(name: str) -> str:
    """A name as part of a job's: sanitised, with no two underscores together.

    Two underscores part the names of a complex.
    """
    parts = sanitise_name(name.translate(str.maketrans("|/\\:+,", "______"))).split("_")
    return "_".join(filter(None, parts))


def reverse_complement(sequence: str) -> str:
    """The other strand of DNA, from its 5' end."""
    return sequence.translate(_COMPLEMENT)[::-1]


def cut(molecule: Molecule, regions: Sequence[tuple[int, int]]) -> Molecule:
    """Regions of a chain, each a chain of its own; ends are 1-based and inclusive.

    Modifications, given alignments and templates are cut alike.
    """
    [chain] = molecule.entities
    assert isinstance(chain, Polymer)
    parts = tuple(cut_chain(chain, start, end) for start, end in regions)
    ends = "_".join(f"{start}-{end}" for start, end in regions)
    return Molecule(f"{molecule.label}_{ends}", parts)


def read_region(entry: Entry, length: int) -> tuple[int, int]:
    """First and last residue of a region such as `1-300`.

    Raises:
        InputError: it is none of a chain of that length.
    """
    match = _REGION.fullmatch(str(entry.value))
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= length:
        raise entry.refuse()
    return int(match[1]), int(match[2])


def cut_chain(chain: Polymer, start: int, end: int) -> Polymer:
    """Residues `start` to `end` of a chain, 1-based, with all that comes with them."""
    if (start, end) == (1, len(chain.sequence)):
        return chain
    modifications = tuple(
        Modification(m.code, m.position - start + 1)
        for m in chain.modifications
        if start <= m.position <= end
    )
    unpaired, paired = (
        crop_a3m(msa, start, end) if msa else msa
        for msa in (chain.unpaired_msa, chain.paired_msa)
    )
    templates = chain.templates
    if templates:
        templates = tuple(
            replace(
                template,
                query_indices=tuple(q - start + 1 for q, _ in kept),
                template_indices=tuple(t for _, t in kept),
            )
            for template in templates
            if (
                kept := [
                    (query, target)
                    for query, target in zip(
                        template.query_indices, template.template_indices, strict=True
                    )
                    if start <= query + 1 <= end
                ]
            )
        )
    return replace(
        chain,
        sequence=chain.sequence[start - 1 : end],
        modifications=modifications,
        unpaired_msa=unpaired,
        paired_msa=paired,
        templates=templates,
    )


def shuffle(molecule: Molecule, number: int) -> Molecule:
    """A chain of the same letters in random order, which nothing is related to.

    It is neither searched nor modified. Equal chains and numbers give equal letters.
    """
    chains = tuple(
        _shuffle_chain(entity, f"{molecule.digest} {number}")
        for entity in molecule.entities
        if isinstance(entity, Polymer)
    )
    return Molecule(f"{molecule.label}-shuffled{number}", chains)


def _shuffle_chain(chain: Polymer, key: str) -> Polymer:
    letters = sorted(query_sequence(chain))
    # Seeded by a text, whose digest the generator starts from on every machine.
    random.Random(key).shuffle(letters)
    no_search = {"protein": "", "rna": "", "dna": None}[chain.kind]
    return Polymer(
        kind=chain.kind,
        ids=(),
        sequence="".join(letters),
        unpaired_msa=no_search,
        paired_msa="" if chain.kind == "protein" else None,
        templates=() if chain.kind == "protein" else None,
    )


def bonds_between(
    molecule: Molecule, ids: Sequence[str]
) -> tuple[tuple[BondAtom, BondAtom], ...]:
    """The molecule's own bonds, given the chain id of each of its entities."""
    return tuple(
        (BondAtom(ids[a[0]], *a[1:]), BondAtom(ids[b[0]], *b[1:]))
        for a, b in molecule.bonds
    )
