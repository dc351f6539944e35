"""Which letters a chain is searched with; the cases are the official pipeline's."""

import pytest

from af3_core.chemistry.residue_letters import residue_letters
from af3_core.chemistry.residues import CODES_BY_KIND, query_sequence, residue_codes
from af3_core.job import Modification, Polymer, PolymerKind


@pytest.mark.parametrize(
    ("kind", "sequence", "modifications", "query"),
    [
        ("protein", "MKUBZJOX", {}, "MKXXXXXX"),
        ("protein", "QAYGK", {"PCA": 1}, "EAYGK"),
        ("protein", "QAYGK", {"2OP": 5}, "QAYGX"),
        ("protein", "GAYGK", {"ACE": 1}, "XAYGK"),
        ("protein", "QAXGK", {"SEP": 3}, "QASGK"),
        ("protein", "QAYGK", {"MYOWN": 2}, "QXYGK"),
        ("rna", "GCAGR", {"6MZ": 3, "PSU": 1}, "UCNGN"),
        ("rna", "GCAGU", {"I": 3, "PHE": 4}, "GCINU"),
        ("dna", "GCATN", {"5CM": 2}, "GCATN"),
    ],
)
def test_a_chain_is_searched_with_the_letters_of_its_residues(
    kind: PolymerKind, sequence: str, modifications: dict[str, int], query: str
) -> None:
    changes = tuple(Modification(*pair) for pair in modifications.items())
    assert query_sequence(Polymer(kind, ("A",), sequence, changes)) == query


@pytest.mark.parametrize("kind", ["protein", "rna", "dna"])
def test_standard_letters_stand_for_themselves(kind: PolymerKind) -> None:
    sequence = "".join(CODES_BY_KIND[kind])
    polymer = Polymer(kind, ("A",), sequence)
    assert query_sequence(polymer) == sequence
    assert residue_codes(polymer) == tuple(CODES_BY_KIND[kind].values())
    assert residue_letters(residue_codes(polymer), unknown="?") == sequence
