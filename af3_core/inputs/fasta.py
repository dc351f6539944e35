"""FASTA: one job per record, a single chain each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from af3_core.inputs.entry import Entry
from af3_core.inputs.rules import SEQUENCE, check_sequence, check_size, read_name
from af3_core.job import InputError, Job, Polymer, PolymerKind

_KIND_TAG = "kind="
_SEPARATORS = str.maketrans("|/\\:", "____")


@dataclass(frozen=True)
class _Record:
    number: int
    header: str
    sequence: str


def read_fasta(
    text: str, file: str, default_seeds: tuple[int, ...]
) -> Iterator[Job | InputError]:
    """One job, or what is wrong with it, per record.

    The first word of the header names the job; `|`, `/`, `\\` and `:` in it become
    underscores. A record is a protein unless a word of its header says `kind=rna` or
    `kind=dna`. Letters may be in lower case; one final `*` (stop codon) is dropped.
    """
    records = _split_records(text)
    if isinstance(records, str):
        allowed = "FASTA records, each beginning with '>' and a name"
        yield InputError(file, "(file)", records, allowed)
        return
    for record in records:
        try:
            yield _read_record(record, file, default_seeds)
        except InputError as error:
            yield error


def _split_records(text: str) -> list[_Record] | str:
    headers: list[str] = []
    sequences: list[list[str]] = []
    for raw in text.removeprefix("\ufeff").splitlines():
        line = raw.strip()
        if line.startswith(">"):
            headers.append(line[1:].strip())
            sequences.append([])
        elif sequences:
            sequences[-1].append(line)
        elif line and not line.startswith(";"):
            return line
    joined = ["".join(parts) for parts in sequences]
    pairs = zip(headers, joined, strict=True)
    return [_Record(number, *pair) for number, pair in enumerate(pairs, 1)] or ""


def _read_record(record: _Record, file: str, seeds: tuple[int, ...]) -> Job:
    words = record.header.split()
    where = f"record {record.number}"
    if not words:
        allowed = "a header with a name, such as >insulin"
        raise InputError(file, where, ">" + record.header, allowed)
    label = words[0].translate(_SEPARATORS)
    name = read_name(Entry(file, f"{where}, name", label, "a name"))
    where = f"{where} ({label})"
    kind = _read_kind(words[1:], file, where)
    letters = record.sequence.upper().removesuffix("*")
    entry = Entry(file, f"{where}, sequence", letters, SEQUENCE[kind])
    polymer = Polymer(kind=kind, ids=("A",), sequence=check_sequence(entry, kind))
    check_size(entry, [polymer])
    return Job(name=name, seeds=seeds, entities=(polymer,))


def _read_kind(words: list[str], file: str, where: str) -> PolymerKind:
    tags = [word for word in words if word.lower().startswith(_KIND_TAG)]
    kinds = {tag[len(_KIND_TAG) :].lower() for tag in tags}
    if not kinds:
        return "protein"
    if len(kinds) > 1 or not kinds <= set(get_args(PolymerKind)):
        allowed = "kind=protein, kind=rna or kind=dna, once"
        raise InputError(file, f"{where}, header", " ".join(tags), allowed)
    [kind] = kinds
    return kind
