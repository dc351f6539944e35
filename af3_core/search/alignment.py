"""Hits to alignments: a query and its hits in one database, row by row."""

import io
from collections.abc import Sequence

from pyhmmer.easel import DigitalSequenceBlock, TextMSA, TextSequence
from pyhmmer.hmmer import hmmalign
from pyhmmer.plan7 import HMM, Background, Builder

from af3_core.msa import Msa, parse_a3m
from af3_core.search.hits import Row
from af3_core.search.hmmer import ALPHABETS, read_profile

_QUERY_NAME = "query"


def protein_alignment(query: str, rows: Sequence[Row]) -> Msa:
    """A query's alignment with one protein database, the query first."""
    named = _name_rows([_QUERY_NAME], rows)
    return Msa(tuple(named), (query, *(row.region.row for row in rows)))


def rna_alignment(query: str, rows: Sequence[Row]) -> Msa:
    """A query's alignment with one RNA database, the query first.

    nhmmer's own alignments are dropped: like AlphaFold 3, each hit's subsequence is
    aligned afresh with a profile of the query, end to end.
    """
    if not rows:
        return Msa((_QUERY_NAME,), (query,))
    names = _name_rows([], rows)
    alphabet = ALPHABETS["rna"]
    block = DigitalSequenceBlock(
        alphabet,
        (
            TextSequence(name=str(index), sequence=row.region.row).digitize(alphabet)
            for index, row in enumerate(rows)
        ),
    )
    aligned = hmmalign(_query_profile(query), block, digitize=True)
    text = io.BytesIO()
    aligned.write(text, format="a2m")
    sequences = parse_a3m(text.getvalue().decode()).sequences
    return Msa((_QUERY_NAME, *names), (query, *sequences))


def _query_profile(query: str) -> HMM:
    """The profile `hmmbuild --rna` makes of one sequence, as a file would hold it.

    The text format keeps five decimals, and the alignment is made with those.
    """
    alphabet = ALPHABETS["rna"]
    sequence = TextSequence(name=_QUERY_NAME, sequence=query)
    msa = TextMSA(name=_QUERY_NAME, sequences=[sequence]).digitize(alphabet)
    profile, _, _ = Builder(alphabet).build_msa(msa, Background(alphabet))
    text = io.BytesIO()
    profile.write(text)
    text.seek(0)
    return read_profile(text, alphabet)


def _name_rows(first: list[str], rows: Sequence[Row]) -> list[str]:
    """Names as HMMER's Stockholm has them: numbered if any two are the same."""
    spans = [f"{row.target}/{row.region.start}-{row.region.end}" for row in rows]
    names = [*first, *spans]
    if len(set(names)) < len(names):
        width = len(str(len(names)))
        names = [f"{index:0{width}d}|{name}" for index, name in enumerate(names)]
    found_in = [f"[subseq from] {row.description or row.target}" for row in rows]
    described = zip(names[len(first) :], found_in, strict=True)
    rest = (f"{name} {text}".strip() for name, text in described)
    return [*names[: len(first)], *rest]
