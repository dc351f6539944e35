"""CSV sample sheets: one job per row, for people who do not write JSON."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import get_args

from af3_core.inputs.chemistry import (
    check_component,
    check_smiles,
    standard_components,
)
from af3_core.inputs.entities import Links
from af3_core.inputs.entry import (
    Entry,
    flatten_errors,
    note_errors,
    raise_errors,
    suggest,
)
from af3_core.inputs.rules import (
    CODE,
    MAX_RESIDUES,
    NAME,
    SEED,
    SEQUENCE,
    check_distinct,
    check_sequence,
    check_size,
    read_name,
)
from af3_core.inputs.sheet_details import (
    DETAIL_COLUMNS,
    SEPARATOR,
    add_details,
    read_bonds_cell,
)
from af3_core.job import (
    MAX_SEED,
    InputError,
    Job,
    Ligand,
    Polymer,
    PolymerKind,
    chain_id_at,
)

_DELIMITERS = ",;\t"
_SEPARATOR_LINE = re.compile(r'"?sep=[,;\t]"?\r?\n', re.IGNORECASE)
COLUMNS = {
    "name": NAME,
    "chains": "sequences separated by ';', RNA and DNA marked as rna:GGCU or dna:GATC",
    "copies": "copies of each chain, separated by ';'; empty for one of each",
    "ligands": "component codes such as ATP, or smiles:CCO, separated by ';'; copies in"
    " front, as in 2*MG",
    "seeds": f"seeds separated by ';', each once: {SEED}; empty for the default",
    **DETAIL_COLUMNS,
}
_REQUIRED = ("name", "chains")
_COPIES = re.compile(r"(?:(?P<copies>[0-9]{1,6})\s*\*)?\s*(?P<ligand>.*)", re.DOTALL)
_SMILES = "smiles:"


def read_sample_sheet(
    text: str, file: str, default_seeds: tuple[int, ...], links: Links
) -> Iterator[Job | InputError]:
    """One job, or what is wrong with it, per row below the header.

    Cells are separated by commas, semicolons or tabs, whichever the header has. `links`
    says where the files lie that it names.
    """
    text = text.removeprefix("\ufeff")
    lines, delimiter = io.StringIO(text, newline=""), _find_delimiter(text)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        if _SEPARATOR_LINE.match(text):
            next(rows)  # which spreadsheets write for one another
        header = [name.strip() for name in next(rows, [])]
        _check_header(header, file)
        num_jobs = 0
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            num_jobs += 1
            line = rows.line_num
            yield from _read_row(row, header, file, line, default_seeds, links)
        if not num_jobs:
            allowed = "at least one row below the header"
            raise InputError(file, "(file)", "no rows", allowed)
    except csv.Error as error:
        where = f"line {rows.line_num}"
        allowed = f"cells as spreadsheets write them; the parser says: {error}"
        yield InputError(file, where, "this line", allowed).of(where)


def _find_delimiter(text: str) -> str:
    """What separates the names of the header: the one that makes most of them known."""
    header = next(iter(_SEPARATOR_LINE.sub("", text).splitlines()), "")

    def count_known(delimiter: str) -> int:
        return sum(name.strip(' "') in COLUMNS for name in header.split(delimiter))

    return max(_DELIMITERS, key=count_known)


def _check_header(header: Sequence[str], file: str) -> None:
    for name in header:
        if name not in COLUMNS:
            raise InputError(file, f"line 1, {name}", name, suggest(name, COLUMNS))
        if header.count(name) > 1:
            raise InputError(file, f"line 1, {name}", name, "each column once")
    for name in _REQUIRED:
        if name not in header:
            raise InputError(file, f"line 1, {name}", "(missing)", COLUMNS[name])


def _read_row(
    row: Sequence[str],
    header: Sequence[str],
    file: str,
    line: int,
    default_seeds: tuple[int, ...],
    links: Links,
) -> Iterator[Job | InputError]:
    where, name = f"line {line}", ""
    if "name" in header[: len(row)]:
        name = row[header.index("name")].strip()
    record = f"{where} ({name})" if name else where
    if len(row) != len(header):
        allowed = (
            f"{len(header)} cells, as the header has (quote cells with separators)"
        )
        yield InputError(file, where, f"{len(row)} cells", allowed).of(record)
        return
    cells = {
        name: Entry(file, f"{where}, {name}", cell.strip(), COLUMNS[name])
        for name, cell in zip(header, row, strict=True)
    }
    try:
        yield replace(_read_cells(cells, default_seeds, links), record=record)
    except InputError as error:
        yield error.of(record)
    except ExceptionGroup as group:
        refused, other = group.split(InputError)
        if other or refused is None:
            raise
        yield from (error.of(record) for error in flatten_errors(refused))


def _read_cells(
    cells: Mapping[str, Entry], default_seeds: tuple[int, ...], links: Links
) -> Job:
    errors: list[InputError] = []
    name, seeds = "", default_seeds
    polymers: tuple[Polymer, ...] = ()
    ligands: tuple[Ligand, ...] = ()
    with note_errors(errors):
        name = read_name(cells["name"])
    with note_errors(errors):
        seeds = _read_seeds(cells.get("seeds")) or default_seeds
    with note_errors(errors):
        typed = _read_chains(cells["chains"], cells.get("copies"))
        polymers = add_details(typed, cells, links)
    with note_errors(errors):
        num_chains = sum(len(polymer.ids) for polymer in polymers)
        ligands = _read_ligands(cells.get("ligands"), num_chains)
    raise_errors(errors)
    if not polymers and not ligands:
        raise cells["chains"].refuse("at least one chain or ligand")
    entities = (*polymers, *ligands)
    check_size(cells["chains"], entities)
    bonds = read_bonds_cell(cells.get("bonds"), entities)
    return Job(name=name, seeds=seeds, entities=entities, bonds=bonds)


def _split(entry: Entry | None) -> list[Entry]:
    """The parts of a cell; none of an empty one."""
    if entry is None or not entry.value:
        return []
    return [
        entry.holding(part.strip(), entry.allowed)
        for part in str(entry.value).split(SEPARATOR)
    ]


def _read_number(entry: Entry, low: int, high: int, allowed: str) -> int:
    text = str(entry.value)
    if not re.fullmatch(r"[0-9]{1,10}", text) or not low <= int(text) <= high:
        raise entry.refuse(allowed)
    return int(text)


def _read_seeds(entry: Entry | None) -> tuple[int, ...]:
    parts = _split(entry)
    seeds = tuple(_read_number(part, 0, MAX_SEED, SEED) for part in parts)
    check_distinct(parts, seeds, "each seed once")
    return seeds


def _read_chains(entry: Entry, copies: Entry | None) -> tuple[Polymer, ...]:
    parts, counts = _split(entry), _split(copies)
    if counts and copies is not None and len(counts) != len(parts):
        raise copies.refuse(f"one number per chain, {len(parts)}; or an empty cell")
    allowed = f"a number of copies from 1 to {MAX_RESIDUES}"
    numbers = [_read_number(count, 1, MAX_RESIDUES, allowed) for count in counts]
    polymers: list[Polymer] = []
    num_chains = 0
    for part, number in zip(parts, numbers or [1] * len(parts), strict=True):
        polymers.append(_read_chain(part, num_chains, number))
        num_chains += number
    return tuple(polymers)


def _read_chain(entry: Entry, num_chains: int, copies: int) -> Polymer:
    tag, colon, rest = str(entry.value).partition(":")
    kind: PolymerKind = "protein"
    letters = rest if colon else tag
    if colon:
        kinds = {name: name for name in get_args(PolymerKind)}
        if tag.strip().lower() not in kinds:
            raise entry.refuse("protein:, rna: or dna: in front of a sequence")
        kind = kinds[tag.strip().lower()]
    letters = letters.strip().upper()
    sequence = entry.holding(letters, SEQUENCE[kind])
    return Polymer(
        kind=kind,
        ids=_chain_ids(num_chains, copies),
        sequence=check_sequence(sequence, kind),
    )


def _read_ligands(entry: Entry | None, num_chains: int) -> tuple[Ligand, ...]:
    ligands: list[Ligand] = []
    for part in _split(entry):
        match = _COPIES.fullmatch(str(part.value))
        if match is None or not match["ligand"]:
            raise part.refuse()
        copies = int(match["copies"] or 1)
        if not 1 <= copies <= MAX_RESIDUES:
            raise part.refuse(f"a number of copies from 1 to {MAX_RESIDUES}")
        ids = _chain_ids(num_chains, copies)
        num_chains += copies
        text = match["ligand"]
        if text.lower().startswith(_SMILES):
            smiles = check_smiles(part, text[len(_SMILES) :].strip())
            ligands.append(Ligand(ids=ids, smiles=smiles))
        else:
            stated = part.holding(text, CODE)
            code = check_component(stated, standard_components())
            ligands.append(Ligand(ids=ids, codes=(code,)))
    return tuple(ligands)


def _chain_ids(num_chains: int, copies: int) -> tuple[str, ...]:
    return tuple(chain_id_at(num_chains + copy) for copy in range(copies))
