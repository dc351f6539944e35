"""The rules that every way of writing a job shares: names, seeds, ids, sequences."""

import re
import string
from collections.abc import Mapping, Sequence

from af3_core.inputs.entry import Entry, read_integer, read_items, read_text
from af3_core.job import MAX_SEED, Ligand, Polymer, PolymerKind, sanitise_name

MAX_NAME_LENGTH = 200
"""Longest sanitised name: with AlphaFold 3's suffixes a file name has 255 bytes."""
MAX_RESIDUES = 20_000
"""Residues and ligand components of one job, all copies: the pair tensor of a larger
one (128 channels, float32) would need more than 205 GB."""

ALPHABETS: Mapping[PolymerKind, str] = {
    "protein": string.ascii_uppercase,
    "rna": "ACGURYSWKMBDHVNX",
    "dna": "ACGTRYSWKMBDHVNX",
}
"""Letters of a sequence. Those without a residue of their own are unknown residues, as
in AlphaFold 3: B, J, O, U, X and Z in proteins, all but the first four in RNA and DNA.
AlphaFold 3 also takes lower case, T in RNA, U in DNA and letters of no nucleotide for
unknown residues; those are mistakes and refused here."""

NAME = f"a text with at least one letter or digit, at most {MAX_NAME_LENGTH} long"
SEED = f"a whole number from 0 to {MAX_SEED}"
SEEDS = f"a list of seeds, at least one and each once: {SEED}"
CHAIN_ID = "upper-case letters, such as A or AB"
CODE = "a component code such as ATP, without the prefix CCD_"
SEQUENCE: Mapping[PolymerKind, str] = {
    "protein": "upper-case one-letter codes of amino acids, no gaps or spaces",
    "rna": "upper-case A, C, G, U, or N and other IUPAC codes for unknown bases (no T)",
    "dna": "upper-case A, C, G, T, or N and other IUPAC codes for unknown bases (no U)",
}

SHORTEST_ALIGNED_CHAIN = 5
"""Alignments of shorter chains are not read."""

_UPPER = frozenset(string.ascii_uppercase)
_CODE_PATTERN = re.compile(r"[!-~]+")
_CODE_FORBIDDEN = frozenset("()'\"#;,")


def read_name(entry: Entry) -> str:
    """A job's name, of which enough is left for a file name."""
    name = read_text(entry)
    if not name.isprintable():
        raise entry.refuse("a text without line breaks or control characters")
    sanitised = sanitise_name(name)
    if not name.strip() or not sanitised.strip("."):
        raise entry.refuse("a name with a letter, digit, dash or underscore (ASCII)")
    if len(sanitised) > MAX_NAME_LENGTH:
        raise entry.refuse(f"a name of at most {MAX_NAME_LENGTH} characters")
    return name


def read_seeds(entry: Entry) -> tuple[int, ...]:
    """The seeds of a job: at least one, each different."""
    items = read_items(entry, SEED)
    if not items:
        raise entry.refuse()
    seeds = tuple(read_integer(item, 0, MAX_SEED) for item in items)
    check_distinct(items, seeds, "each seed once")
    return seeds


def check_distinct(
    entries: Sequence[Entry], values: Sequence[object], allowed: str
) -> None:
    """Refuse the first entry whose value stands in an earlier one."""
    seen: set[object] = set()
    for entry, value in zip(entries, values, strict=True):
        if value in seen:
            raise entry.refuse(allowed)
        seen.add(value)


def check_chain_id(entry: Entry) -> str:
    """A chain id: upper-case ASCII letters, as AlphaFold 3 wants."""
    name = entry.value
    if not isinstance(name, str) or not name or not _UPPER.issuperset(name):
        raise entry.refuse(CHAIN_ID)
    return name


def check_sequence(entry: Entry, kind: PolymerKind) -> str:
    """A sequence of that kind; the error names the first wrong letter."""
    sequence = read_text(entry)
    known = frozenset(ALPHABETS[kind])
    if known.issuperset(sequence):
        return sequence
    index = next(i for i, letter in enumerate(sequence) if letter not in known)
    found = f"{sequence[index]!r} at position {index + 1}"
    raise entry.holding(found, SEQUENCE[kind]).refuse()


def check_code(entry: Entry) -> str:
    """A component code that is at least well-formed."""
    code = entry.value
    if not isinstance(code, str) or not _CODE_PATTERN.fullmatch(code):
        raise entry.refuse()
    if code.startswith("CCD_") or not _CODE_FORBIDDEN.isdisjoint(code):
        raise entry.refuse()
    return code


def count_residues(entities: Sequence[Polymer | Ligand]) -> int:
    """Residues and ligand components of a job, all copies."""
    return sum(
        len(entity.ids)
        * (
            max(len(entity.codes), 1)
            if isinstance(entity, Ligand)
            else len(entity.sequence)
        )
        for entity in entities
    )


def check_size(entry: Entry, entities: Sequence[Polymer | Ligand]) -> None:
    """Refuse what no machine can hold."""
    num_residues = count_residues(entities)
    if num_residues > MAX_RESIDUES:
        found = f"{num_residues:,} residues"
        allowed = f"at most {MAX_RESIDUES:,} residues and components, all copies"
        raise entry.holding(found, allowed).refuse()
