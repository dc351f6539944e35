"""Residues of polymers: component codes, residue classes, names of chain types."""

from functools import lru_cache
from itertools import repeat

from af3_core.chemistry.residue_letters import LETTER_OF_COMPONENT, residue_letters
from af3_core.job import ChainKind, Polymer, PolymerKind

PROTEIN_CODES = {
    "A": "ALA",
    "R": "ARG",
    "N": "ASN",
    "D": "ASP",
    "C": "CYS",
    "Q": "GLN",
    "E": "GLU",
    "G": "GLY",
    "H": "HIS",
    "I": "ILE",
    "L": "LEU",
    "K": "LYS",
    "M": "MET",
    "F": "PHE",
    "P": "PRO",
    "S": "SER",
    "T": "THR",
    "W": "TRP",
    "Y": "TYR",
    "V": "VAL",
}
RNA_CODES = {letter: letter for letter in "AGCU"}
DNA_CODES = {letter: "D" + letter for letter in "AGCT"}

_NUCLEOTIDES_OF_HMMER = "ABCDGHIKMNRSTUVWXY"
"""Letters of its RNA alphabet."""

CODES_BY_KIND: dict[PolymerKind, dict[str, str]] = {
    "protein": PROTEIN_CODES,
    "rna": RNA_CODES,
    "dna": DNA_CODES,
}
"""One-letter code to component code of the standard residues."""

UNKNOWN_CODE: dict[PolymerKind, str] = {"protein": "UNK", "rna": "N", "dna": "DN"}
UNKNOWN_LETTER: dict[PolymerKind, str] = {"protein": "X", "rna": "N", "dna": "N"}

UNKNOWN_CODES = frozenset({"UNK", "N", "DN", "UNL"})
"""Components that say nothing: a chain of one of them alone is left out."""

RESIDUE_CLASSES = (
    *PROTEIN_CODES.values(),
    "UNK",
    "-",
    *RNA_CODES.values(),
    *DNA_CODES.values(),
    "N",
)
"""The 31 classes of `residue_type`, MSA rows and profiles (AF3 SI table 13)."""

RESIDUE_CLASS_INDEX = {code: index for index, code in enumerate(RESIDUE_CLASSES)}

STANDARD_PROTEIN_CODES = frozenset({*PROTEIN_CODES.values(), "UNK"})
STANDARD_NUCLEIC_CODES = frozenset(
    {*RNA_CODES.values(), *DNA_CODES.values(), "N", "DN"}
)
STANDARD_CODES = STANDARD_PROTEIN_CODES | STANDARD_NUCLEIC_CODES

CHAIN_TYPES: dict[ChainKind, str] = {
    "protein": "polypeptide(L)",
    "rna": "polyribonucleotide",
    "dna": "polydeoxyribonucleotide",
}
"""mmCIF `_entity_poly.type` of the polymers."""


def residue_codes(polymer: Polymer) -> tuple[str, ...]:
    """Returns the component code of every residue, modifications applied."""
    if not polymer.modifications:
        return _standard_codes(polymer.kind, polymer.sequence)
    codes = list(_standard_codes(polymer.kind, polymer.sequence))
    for modification in polymer.modifications:
        codes[modification.position - 1] = modification.code
    return tuple(codes)


@lru_cache(maxsize=8192)
def _standard_codes(kind: PolymerKind, sequence: str) -> tuple[str, ...]:
    """Remembered, for the chains of a screen come back in thousands of jobs."""
    return tuple(map(CODES_BY_KIND[kind].get, sequence, repeat(UNKNOWN_CODE[kind])))


def query_sequence(polymer: Polymer) -> str:
    """What a chain is called wherever letters count, which may differ from its input.

    Databases and templates are searched with these letters, results are stored under
    them, alignments must begin with them and features are made of them. Letters without
    a residue of their own are unknown, modified residues have their parent's letter.

    Inosine is searched as I, as in AlphaFold 3, and is N among the features; so are
    letters that HMMER has no nucleotide for, which stop AlphaFold 3's search.
    """
    if polymer.modifications:
        return _letters(residue_codes(polymer), polymer.kind, _NUCLEOTIDES_OF_HMMER)
    return _plain_query(polymer.kind, polymer.sequence)


@lru_cache(maxsize=8192)
def _plain_query(kind: PolymerKind, sequence: str) -> str:
    if CODES_BY_KIND[kind].keys() >= set(sequence):
        return sequence
    return _letters(_standard_codes(kind, sequence), kind, _NUCLEOTIDES_OF_HMMER)


def one_letter_sequence(codes: tuple[str, ...], kind: PolymerKind) -> str:
    """The letters of `query_sequence` as features are made of them.

    Those of the other kind of polymer that sneak into nucleic acids become N.
    """
    return _letters(codes, kind, "AGCUTN")


def _letters(codes: tuple[str, ...], kind: PolymerKind, nucleotides: str) -> str:
    unknown = UNKNOWN_LETTER[kind]
    letters = residue_letters(codes, unknown=unknown)
    if kind == "protein":
        return letters
    return "".join(x if x in nucleotides else unknown for x in letters)


def residue_class(code: str, kind: ChainKind) -> int:
    """Returns the index in `RESIDUE_CLASSES` of a component in a chain."""
    if kind == "ligand":
        return RESIDUE_CLASS_INDEX["UNK"]
    letter = LETTER_OF_COMPONENT.get(code, "X")
    unknown = "UNK" if kind == "protein" else "N"
    return RESIDUE_CLASS_INDEX[CODES_BY_KIND[kind].get(letter, unknown)]


def is_one_token(code: str, kind: ChainKind) -> bool:
    """Says whether the residue is one token; others are one token per heavy atom."""
    if kind == "protein":
        return code in STANDARD_PROTEIN_CODES or code == "MSE"
    return kind != "ligand" and code in STANDARD_NUCLEIC_CODES
