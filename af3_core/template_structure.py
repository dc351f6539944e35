"""One protein chain of a template's mmCIF: its residues and where their atoms are.

What is read follows AF3's published code where files leave room: the first model;
of alternative locations the most occupied; residues in the order of the polymer scheme,
unresolved ones included, found in the atom table by author number; selenomethionine
as methionine; arginine with NH1 on the side of CD.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice, takewhile

import gemmi
import numpy as np

from af3_core.residue_letters import residue_letters

_PEPTIDES = (
    "polypeptide(L)",
    "polypeptide(D)",
    "cyclic-pseudo-peptide",
    "peptide nucleic acid",
)
_NUCLEIC_ACIDS = (
    "polyribonucleotide",
    "polydeoxyribonucleotide",
    "polydeoxyribonucleotide/polyribonucleotide hybrid",
)
_POLYMERS = (*_PEPTIDES, *_NUCLEIC_ACIDS, "other")
_RNA, _DNA = ("A", "G", "C", "U"), ("DA", "DG", "DC", "DT")
_PROTEIN = frozenset(
    "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL "
    "UNK MSE".split()
)
_NULLS = ("?", ".")
_REQUIRED_ATOM_ITEMS = (
    "pdbx_PDB_model_num",
    "label_asym_id",
    "label_seq_id",
    "label_comp_id",
    "label_atom_id",
    "Cartn_x",
    "Cartn_y",
    "Cartn_z",
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


@dataclass(frozen=True)
class _AtomSite:
    """One row of the atom table."""

    chain: str
    residue: tuple[str, str]
    """Author number and insertion code."""
    label_seq_id: str
    component: str
    name: str
    alternative: str
    occupancy: float
    position: Position


@dataclass(frozen=True)
class _SchemeRow:
    """One residue of the polymer scheme."""

    label_seq_id: str
    residue: tuple[str, str]
    component: str


def read_template_chain(mmcif: str) -> TemplateChain:
    """Reads the single polymer chain of a template.

    Raises:
        ValueError: if the text is no mmCIF, has no release date, or does not hold
            exactly one polymer chain that is a protein.
    """
    block = _read_block(mmcif)
    entry = _column(block, "_entry.id")
    sites = _read_atom_sites(block)
    chain = _single_polymer_chain(block, sites)
    chosen = _resolve_alternatives([s for s in sites if s.chain == chain])
    scheme = _read_scheme(block, chain, chosen)
    return TemplateChain(
        name=entry[0] if entry else block.name,
        release_date=_release_date(block),
        residues=_assign_atoms(scheme, chosen),
    )


def _read_block(mmcif: str) -> gemmi.cif.Block:
    try:
        document = gemmi.cif.read_string(mmcif)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"it is not mmCIF: {error}") from error
    if not len(document):
        raise ValueError("it is not mmCIF: there is no data block")
    return document[0]


def _column(block: gemmi.cif.Block, tag: str) -> list[str]:
    """Values of one item, unquoted; null values stay "?" or "."."""
    values = block.find_values(tag)
    return [gemmi.cif.as_string(v) if v[0] in "'\";" else v for v in values]


def _table(block: gemmi.cif.Block, category: str, *items: str) -> list[tuple[str, ...]]:
    """Rows of a category; none if the first item does not exist.

    Raises:
        ValueError: if only some of the items exist.
    """
    columns = [_column(block, f"{category}.{item}") for item in items]
    if not columns[0]:
        return []
    for item, column in zip(items, columns, strict=True):
        if len(column) != len(columns[0]):
            raise ValueError(f"{category}.{item} is missing")
    return list(zip(*columns, strict=True))


def _release_date(block: gemmi.cif.Block) -> datetime.date:
    dates = _column(block, "_pdbx_audit_revision_history.revision_date")
    if not dates:
        raise ValueError(
            "it has no release date; set _pdbx_audit_revision_history.revision_date "
            "to a date such as 1989-11-17"
        )
    try:
        return datetime.date.fromisoformat(min(dates))
    except ValueError as error:
        raise ValueError(f"its release date is not a date: {min(dates)}") from error


def _read_atom_sites(block: gemmi.cif.Block) -> list[_AtomSite]:
    """Atoms of the first model, in the order of the file."""
    rows = _table(block, "_atom_site", *_REQUIRED_ATOM_ITEMS)
    if not rows:
        raise ValueError("it has no atoms with a model number")
    num_first = len(list(takewhile(lambda row: row[0] == rows[0][0], rows)))
    labels = [row[2] for row in rows]
    optional = [
        _column(block, "_atom_site.label_alt_id") or ["."] * len(rows),
        _column(block, "_atom_site.occupancy") or ["1"] * len(rows),
        _column(block, "_atom_site.auth_seq_id"),
        _column(block, "_atom_site.pdbx_PDB_ins_code"),
    ]
    if not (optional[2] and optional[3]):
        optional[2:] = labels, ["?"] * len(rows)
    return [
        _atom_site(row, *more)
        for row, *more in islice(zip(rows, *optional, strict=True), num_first)
    ]


def _atom_site(
    row: Sequence[str], alternative: str, occupancy: str, author: str, insertion: str
) -> _AtomSite:
    _, chain, label, component, name, *position = row
    try:
        x, y, z = map(float, position)
        number = 0.0 if occupancy in _NULLS else float(occupancy)
    except ValueError as error:
        raise ValueError(
            f"atom {name} of {component} {author} has position {position} and "
            f"occupancy {occupancy}: these must be numbers"
        ) from error
    return _AtomSite(
        chain=chain,
        residue=_residue_key(author, insertion),
        label_seq_id=label,
        component=component,
        name=name,
        alternative=alternative,
        occupancy=number,
        position=(x, y, z),
    )


def _residue_key(author: str, insertion: str) -> tuple[str, str]:
    return author, "" if insertion in _NULLS else insertion


def _single_polymer_chain(block: gemmi.cif.Block, sites: Sequence[_AtomSite]) -> str:
    kinds = _chain_kinds(block)
    listed = _column(block, "_pdbx_poly_seq_scheme.asym_id")
    present = dict.fromkeys(listed or [s.chain for s in sites])
    polymers = [c for c in present if kinds.get(c) in _POLYMERS]
    if len(polymers) != 1:
        raise ValueError(f"it must hold one polymer chain, it holds {polymers}")
    if kinds[polymers[0]] in _NUCLEIC_ACIDS:
        raise ValueError(f"its chain is {kinds[polymers[0]]}, not a protein")
    return polymers[0]


def _chain_kinds(block: gemmi.cif.Block) -> dict[str, str]:
    """Polymer or entity type of each chain, guessed where entities are not listed."""
    entity_of = dict(_table(block, "_struct_asym", "id", "entity_id"))
    if not entity_of:
        items = ("label_asym_id", "label_entity_id")
        entity_of = dict(_table(block, "_atom_site", *items))
        if set(entity_of.values()) <= set(_NULLS):
            entity_of = {chain: chain for chain in entity_of}
    kinds = dict(_table(block, "_entity", "id", "type"))
    if not kinds:
        kinds = _guess_entity_kinds(block, entity_of)
    kinds |= dict(_table(block, "_entity_poly", "entity_id", "type"))
    return {chain: kinds.get(entity, "?") for chain, entity in entity_of.items()}


def _guess_entity_kinds(
    block: gemmi.cif.Block, entity_of: Mapping[str, str]
) -> dict[str, str]:
    items = ("label_asym_id", "group_PDB", "label_comp_id")
    members: dict[str, list[tuple[str, str]]] = {}
    for chain, group, component in _table(block, "_atom_site", *items):
        members.setdefault(entity_of.get(chain, "?"), []).append((group, component))
    return {entity: _guess_kind(rows) for entity, rows in members.items()}


def _guess_kind(rows: Sequence[tuple[str, str]]) -> str:
    if all(group == "HETATM" for group, _ in rows):
        return "non-polymer"
    names = [component for _, component in rows]
    if not _PROTEIN.isdisjoint(names):
        return "polypeptide(L)"
    counts = {
        "polyribonucleotide": sum(n in _RNA for n in names),
        "polydeoxyribonucleotide": sum(n in _DNA for n in names),
    }
    counts["other"] = len(names) - sum(counts.values())
    return max(counts, key=counts.__getitem__)


def _resolve_alternatives(sites: Sequence[_AtomSite]) -> list[list[_AtomSite]]:
    """Atoms by residue, one per alternative location."""
    residues = [list(run) for _, run in groupby(sites, key=lambda s: s.residue)]
    return [_choose_atoms(atoms) for atoms in residues]


def _choose_atoms(atoms: list[_AtomSite]) -> list[_AtomSite]:
    if all(a.alternative not in _NULLS for a in atoms):
        return _choose_conformation(atoms)
    chosen: list[_AtomSite] = []
    for is_single, run in groupby(atoms, key=lambda a: a.alternative in _NULLS):
        if is_single:
            chosen.extend(run)
        else:
            for _, choices in groupby(run, key=lambda a: a.name):
                chosen.append(
                    min(choices, key=lambda a: (-a.occupancy, a.alternative[0]))
                )
    return chosen


def _choose_conformation(atoms: list[_AtomSite]) -> list[_AtomSite]:
    """For a residue with alternatives throughout: one component, one letter."""
    best, chosen, letter = -1.0, atoms, atoms[0].alternative[0]
    for _, run in groupby(atoms, key=lambda a: a.component):
        candidates = list(run)
        means = _mean_occupancies(candidates)
        total = sum(means.values(), np.float32(0))
        if total > best or (total == best and min(means) < letter):
            best, chosen = total, candidates
            letter = min(means, key=lambda name: (-means[name], name))
    return [
        next((a for a in same if a.alternative[0] == letter), same[0])
        for same in (list(run) for _, run in groupby(chosen, key=lambda a: a.name))
    ]


def _mean_occupancies(atoms: Sequence[_AtomSite]) -> dict[str, np.float32]:
    """By letter. Single precision, as published: ties are decided by the letter."""
    occupancies: dict[str, list[np.float32]] = {}
    for atom in atoms:
        letter = atom.alternative[0]
        occupancies.setdefault(letter, []).append(np.float32(atom.occupancy))
    return {
        letter: sum(values, np.float32(0)) / np.float32(len(values))
        for letter, values in occupancies.items()
    }


def _read_scheme(
    block: gemmi.cif.Block, chain: str, residues: Sequence[Sequence[_AtomSite]]
) -> list[_SchemeRow]:
    """The chain's residues; of several components in one place the chosen one."""
    rows = (
        _written_scheme(block, chain)
        or _entity_scheme(block, chain, residues)
        or [
            _SchemeRow(r[0].label_seq_id, r[0].residue, r[0].component)
            for r in residues
        ]
    )
    chosen = {r[0].label_seq_id: r[0].component for r in residues}
    return [r for r in rows if chosen.get(r.label_seq_id, r.component) == r.component]


def _written_scheme(block: gemmi.cif.Block, chain: str) -> list[_SchemeRow]:
    items = ("asym_id", "seq_id", "pdb_seq_num", "pdb_ins_code", "mon_id")
    complete = (*items, "pdb_strand_id")
    if not all(_column(block, f"_pdbx_poly_seq_scheme.{item}") for item in complete):
        return []
    return [
        _SchemeRow(number, _residue_key(author, insertion), component)
        for asym, number, author, insertion, component in _table(
            block, "_pdbx_poly_seq_scheme", *items
        )
        if asym == chain
    ]


def _entity_scheme(
    block: gemmi.cif.Block, chain: str, residues: Sequence[Sequence[_AtomSite]]
) -> list[_SchemeRow]:
    entity = dict(_table(block, "_struct_asym", "id", "entity_id")).get(chain)
    resolved = {r[0].label_seq_id: r[0].residue for r in residues}
    return [
        _SchemeRow(number, resolved.get(number, ("", "")), component)
        for owner, number, component in _table(
            block, "_entity_poly_seq", "entity_id", "num", "mon_id"
        )
        if owner == entity
    ]


def _assign_atoms(
    scheme: Sequence[_SchemeRow], residues: Sequence[Sequence[_AtomSite]]
) -> tuple[TemplateResidue, ...]:
    index_of = {(r.residue, r.component): i for i, r in enumerate(scheme)}
    assigned = [TemplateResidue(_parent(r.component), {}) for r in scheme]
    for atoms in residues:
        first = atoms[0]
        index = index_of.get((first.residue, first.component))
        if index is None:
            number = "".join(first.residue)
            raise ValueError(
                f"residue {first.component} {number} has atoms but does not stand in "
                "the polymer's sequence"
            )
        positions = assigned[index].atoms | _named_atoms(atoms)
        assigned[index] = replace(assigned[index], atoms=positions)
    return tuple(assigned)


def _parent(component: str) -> str:
    return "MET" if component == "MSE" else component


def _named_atoms(atoms: Sequence[_AtomSite]) -> dict[str, Position]:
    names = [a.name for a in atoms]
    if _parent(atoms[0].component) == "MET":
        names = ["SD" if name == "SE" else name for name in names]
    if atoms[0].component == "ARG" and {"CD", "NH1", "NH2"} <= set(names):
        cd, nh1, nh2 = (names.index(name) for name in ("CD", "NH1", "NH2"))
        centre = atoms[cd].position
        far, near = (_distance(atoms[i].position, centre) for i in (nh1, nh2))
        if far > near:
            names[nh1], names[nh2] = "NH2", "NH1"
    return {name: a.position for name, a in zip(names, atoms, strict=True)}


def _distance(a: Position, b: Position) -> float:
    return sum((p - q) ** 2 for p, q in zip(a, b, strict=True))
