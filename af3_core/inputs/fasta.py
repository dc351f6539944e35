"""FASTA: one job per record, a single chain or, as ColabFold writes them, a complex."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import get_args

from af3_core.inputs.chemistry import (
    check_component,
    check_smiles,
    standard_components,
)
from af3_core.inputs.entry import Entry
from af3_core.inputs.rules import (
    CODE,
    SEQUENCE,
    check_sequence,
    check_size,
    read_name,
)
from af3_core.job import InputError, Job, Ligand, Polymer, PolymerKind, chain_id_at

_KIND_TAG = "kind="
_SEPARATORS = str.maketrans("|/\\:", "____")
_CHAIN, _PART = ":", "|"
_LIGANDS = ("ccd", "smiles")


@dataclass(frozen=True)
class _Record:
    number: int
    line: int
    header: str
    sequence: str

    @property
    def label(self) -> str:
        """The first word of its header, as a name."""
        return (self.header.split() or [""])[0].translate(_SEPARATORS)

    @property
    def where(self) -> str:
        """What errors call it."""
        label = f" ({self.label})" if self.label else ""
        return f"record {self.number}{label}, line {self.line}"


def read_fasta(
    text: str,
    file: str,
    default_seeds: tuple[int, ...],
    default_kind: PolymerKind | None = "protein",
) -> Iterator[Job | InputError]:
    """One job, or what is wrong with it, per record.

    The first word of the header names the job; `|`, `/`, `\\` and `:` in it become
    underscores. A record is a protein unless a word of its header says `kind=rna` or
    `kind=dna`. Letters may be in lower case; one final `*` (stop codon) is dropped. A
    colon parts the chains of a complex, each of which may say what it is as ColabFold
    has it: `rna|`, `dna|`, `ccd|` or `smiles|` in front.

    Args:
        text: the file's.
        file: what errors call it.
        default_seeds: of all jobs.
        default_kind: of records that do not say; None if they have to.
    """
    records = _split_records(text)
    if isinstance(records, str):
        allowed = "FASTA records, each beginning with '>' and a name"
        yield InputError(file, "(file)", records, allowed)
        return
    for record in records:
        try:
            yield _read_record(record, file, default_seeds, default_kind)
        except InputError as error:
            yield error.of(record.where)


def _split_records(text: str) -> list[_Record] | str:
    """Records with the lines they begin on, or the first line if it belongs to none."""
    headers: list[tuple[int, str]] = []
    sequences: list[list[str]] = []
    # Not splitlines: a header may hold what Unicode calls the end of a line.
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for number, raw in enumerate(lines.split("\n"), 1):
        line = raw.strip()
        if line.startswith(">"):
            headers.append((number, line[1:].strip()))
            sequences.append([])
        elif sequences:
            sequences[-1].append(line)
        elif line and not line.startswith(";"):
            return line
    return [
        _Record(number, line, header, "".join(parts))
        for number, ((line, header), parts) in enumerate(
            zip(headers, sequences, strict=True), 1
        )
    ] or ""


def _read_record(
    record: _Record,
    file: str,
    seeds: tuple[int, ...],
    default_kind: PolymerKind | None,
) -> Job:
    where = record.where
    header = Entry(file, where, f">{record.header}", "a header with a name: >insulin")
    if not record.label:
        raise header.refuse()
    name = read_name(Entry(file, f"{where}, name", record.label, "a name"))
    kind = _read_kind(header) or default_kind
    if kind is None:
        allowed = "kind=rna or kind=dna in the header; files of this ending hold either"
        raise header.refuse(allowed)
    letters = Entry(file, f"{where}, sequence", record.sequence, "")
    chains = record.sequence.split(_CHAIN)
    places = [f"chain {number}" for number in range(1, len(chains) + 1)]
    if len(chains) == 1:
        places = ["sequence"]
    entities = _merge(
        [
            _read_chain(Entry(file, f"{where}, {place}", chain.strip(), ""), kind)
            for place, chain in zip(places, chains, strict=True)
        ]
    )
    check_size(letters, entities)
    return Job(name=name, seeds=seeds, entities=entities, record=where)


def _read_kind(header: Entry) -> PolymerKind | None:
    words = str(header.value).split()
    tags = [word for word in words[1:] if word.lower().startswith(_KIND_TAG)]
    kinds: set[str] = {tag[len(_KIND_TAG) :].lower() for tag in tags}
    if not kinds:
        return None
    known = {name: name for name in get_args(PolymerKind)}
    if len(kinds) > 1 or not kinds <= known.keys():
        allowed = "kind=protein, kind=rna or kind=dna, once"
        path = f"{header.path}, header"
        raise replace(header, path=path, value=" ".join(tags)).refuse(allowed)
    return known[kinds.pop()]


def _read_chain(entry: Entry, kind: PolymerKind) -> Polymer | Ligand:
    """A chain without ids."""
    text = str(entry.value)
    tag, bar, rest = text.partition(_PART)
    tag = tag.strip().lower()
    if bar and tag in _LIGANDS:
        if tag == "ccd":
            stated = entry.holding(rest.strip().upper(), CODE)
            return Ligand((), (check_component(stated, standard_components()),))
        # A colon of SMILES would part chains, so ColabFold has a semicolon for it.
        return Ligand((), smiles=check_smiles(entry, rest.strip().replace(";", ":")))
    kinds = {name: name for name in get_args(PolymerKind)}
    if bar and tag in kinds:
        kind, text = kinds[tag], rest
    letters = text.strip().upper().removesuffix("*")
    return Polymer(
        kind, (), check_sequence(entry.holding(letters, SEQUENCE[kind]), kind)
    )


def _merge(chains: list[Polymer | Ligand]) -> tuple[Polymer | Ligand, ...]:
    """Chains with ids in their order, equal ones as copies of one entity."""
    ids: dict[Polymer | Ligand, list[str]] = {}
    for index, chain in enumerate(chains):
        ids.setdefault(chain, []).append(chain_id_at(index))
    return tuple(replace(chain, ids=tuple(of_chain)) for chain, of_chain in ids.items())
