"""mmCIF files of structures: polymer chains, their residues and atoms.

Where files leave room, what is read follows AlphaFold 3's published code: the first
model; of alternative locations those of `alternatives`; residues in the order of the
polymer scheme, unresolved ones included; tables that are missing inferred from the
atom table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import gemmi

from af3_core.templates.alternatives import AtomColumns, choose_atoms

PEPTIDES = frozenset(
    {
        "polypeptide(L)",
        "polypeptide(D)",
        "cyclic-pseudo-peptide",
        "peptide nucleic acid",
    }
)
"""Polymer types (`_entity_poly.type`) read as amino acids."""
NUCLEIC_ACIDS = frozenset(
    {
        "polyribonucleotide",
        "polydeoxyribonucleotide",
        "polydeoxyribonucleotide/polyribonucleotide hybrid",
    }
)
POLYMERS = PEPTIDES | NUCLEIC_ACIDS | {"other"}
WATERS = frozenset({"HOH", "DOD"})
_LEFT_OUT = frozenset({"water", "polymer", "?"})
"""Kinds of chains that are not read: water, and polymers of no stated type."""
_RNA, _DNA = ("A", "G", "C", "U"), ("DA", "DG", "DC", "DT")
AMINO_ACIDS = tuple(
    "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR "
    "VAL".split()
)
STANDARD_COMPONENTS = frozenset((*AMINO_ACIDS, *_RNA, *_DNA))
"""Components whose atoms are ATOM, not HETATM, in a polymer."""
_GUESSED_PROTEIN = frozenset((*AMINO_ACIDS, "UNK", "MSE"))
_NULLS = ("?", ".")
_ATOM_ITEMS = (
    *("label_asym_id", "label_seq_id", "label_comp_id", "label_atom_id"),
    *("Cartn_x", "Cartn_y", "Cartn_z", "pdbx_PDB_model_num"),
)
_OPTIONAL_ATOM_ITEMS = (
    *("label_alt_id", "label_entity_id", "occupancy", "B_iso_or_equiv"),
    *("type_symbol", "auth_asym_id", "auth_seq_id", "pdbx_PDB_ins_code"),
)
_LIGAND_ITEMS = ("asym_id", "pdb_seq_num", "pdb_ins_code", "mon_id")
_BRANCH_ITEMS = ("asym_id", "pdb_seq_num", "mon_id")
_SCHEME_ITEMS = (
    *("asym_id", "seq_id", "pdb_seq_num", "pdb_ins_code", "mon_id", "pdb_strand_id"),
)


@dataclass(frozen=True)
class Residue:
    """A residue of a polymer's scheme."""

    label_seq_id: str
    author_number: str
    insertion_code: str
    """"?" where there is none."""
    component: str


@dataclass(frozen=True)
class Entry:
    """A parsed file: its data block and the atom table of its first model."""

    block: gemmi.cif.Block
    atoms: Mapping[str, Sequence[str]]
    """Columns of `_atom_site` by item, first model only."""
    rows_of: Mapping[str, Sequence[int]]
    """Rows of the atom table by chain (label_asym_id)."""
    entity_of: Mapping[str, str]
    """Entity of each chain (label_asym_id)."""
    kind_of: Mapping[str, str]
    """Polymer type, or entity type of what is no polymer, by entity."""
    residues: Mapping[str, Sequence[Residue]]
    """The polymer scheme by chain, alternatives of a residue not yet resolved."""
    ligands: Mapping[str, Sequence[Residue]]
    """The residues listed of chains that are no polymers; empty if none are listed."""
    author_ids: Mapping[str, str]
    """The author's name of each chain of the scheme (auth_asym_id)."""

    @property
    def name(self) -> str:
        """The entry's id, or the data block's name."""
        return next(iter(column(self.block, "_entry.id")), self.block.name)

    def kind(self, chain_id: str) -> str:
        """Polymer type of a chain."""
        return self.kind_of.get(self.entity_of.get(chain_id, ""), "?")


@dataclass(frozen=True)
class ReadChain:
    """One chain of an entry, alternatives resolved: a polymer or a ligand."""

    chain_id: str
    author_id: str
    kind: str
    residues: tuple[Residue, ...]
    atoms: tuple[int, ...]
    """Rows of the entry's atom table, in its order."""
    residue_of_atom: tuple[int, ...]
    """For each of these atoms, the 0-based residue it belongs to."""

    @property
    def unresolved(self) -> frozenset[int]:
        """0-based residues without atoms."""
        return frozenset(range(len(self.residues))) - set(self.residue_of_atom)


def read_entry(text: str) -> Entry:
    """Parses an mmCIF file.

    Raises:
        ValueError: it is no mmCIF, has no atoms, or its tables do not fit together.
    """
    try:
        document = gemmi.cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"it is not mmCIF: {error}") from error
    if not len(document):
        raise ValueError("it is not mmCIF: there is no data block")
    block = document[0]
    atoms = _read_atoms(block)
    entity_of = _chain_entities(block, atoms)
    kind_of = _entity_kinds(block, entity_of)
    residues, author_ids = _read_schemes(block, atoms, entity_of, kind_of)
    rows_of: dict[str, list[int]] = {}
    for row, chain_id in enumerate(atoms["label_asym_id"]):
        rows_of.setdefault(chain_id, []).append(row)
    return Entry(
        *(block, atoms, rows_of, entity_of, kind_of),
        *(residues, _read_ligands(block), author_ids),
    )


def polymer_chains(entry: Entry) -> dict[str, str]:
    """Chain (label_asym_id) of each author's chain that is a polymer with atoms.

    Raises:
        ValueError: two of them share an author's chain id.
    """
    found: dict[str, str] = {}
    for chain_id, author_id in entry.author_ids.items():
        if entry.kind(chain_id) not in POLYMERS or chain_id not in entry.rows_of:
            continue
        if author_id in found:
            raise ValueError(f"author's chain {author_id} names two polymers")
        found[author_id] = chain_id
    return found


def read_polymer(entry: Entry, chain_id: str) -> ReadChain:
    """A polymer's residues, unresolved ones too, and its atoms.

    Raises:
        ValueError: a residue of the atom table is not in the scheme.
    """
    for residue in entry.residues.get(chain_id, ()):
        if not residue.label_seq_id.isdecimal():
            raise ValueError(
                f"label_seq_id must number the residues of chain {chain_id} in the"
                f" tables _atom_site or _pdbx_poly_seq_scheme; residue"
                f" {residue.component} {residue.author_number} has"
                f" {residue.label_seq_id!r}"
            )
    chosen = _chosen_atoms(entry, chain_id)
    residues = _chosen_residues(entry, chain_id, [atoms[0] for atoms in chosen])
    return _tie(entry, chain_id, residues, chosen)


def read_ligand(entry: Entry, chain_id: str) -> ReadChain:
    """The residues and atoms of a chain that is no polymer.

    Raises:
        ValueError: a residue of the atom table is not among the listed ones.
    """
    chosen = _chosen_atoms(entry, chain_id)
    first_atoms = [atoms[0] for atoms in chosen]
    residues = _ligand_residues(entry, chain_id, first_atoms)
    return _tie(entry, chain_id, residues, chosen)


def chains_with_atoms(entry: Entry) -> list[str]:
    """Chains that are read, in the order of the atom table: all but water.

    Raises:
        ValueError: one of them holds water, or its atoms do not stand together.
    """
    order = entry.atoms["label_asym_id"]
    kept = [c for c in entry.rows_of if entry.kind(c) not in _LEFT_OUT]
    for chain_id in kept:
        rows = entry.rows_of[chain_id]
        if any(entry.atoms["label_comp_id"][i] == "HOH" for i in rows):
            raise ValueError(f"chain {chain_id}, which is not water, holds HOH")
        between = {order[i] for i in range(rows[0], rows[-1])} - {chain_id}
        if not between.isdisjoint(kept):
            raise ValueError(f"the atoms of chain {chain_id} do not stand together")
    return kept


def _chosen_atoms(entry: Entry, chain_id: str) -> list[list[int]]:
    columns = entry.atoms
    return choose_atoms(
        AtomColumns(
            component=columns["label_comp_id"],
            name=columns["label_atom_id"],
            alternative=columns["label_alt_id"],
            occupancy=columns["occupancy"],
        ),
        _residue_spans(columns, entry.rows_of.get(chain_id, ())),
    )


def _tie(
    entry: Entry,
    chain_id: str,
    residues: Sequence[Residue],
    chosen: Sequence[Sequence[int]],
) -> ReadChain:
    """Residues with the atoms that were chosen of each."""
    columns = entry.atoms
    index_of = {
        (r.author_number, r.insertion_code, r.component): i
        for i, r in enumerate(residues)
    }
    residue_of_atom = []
    for atoms in chosen:
        key = _residue_key(columns, atoms[0])
        if key not in index_of:
            number = f"{key[0]}{key[1].strip('?')}"
            raise ValueError(
                f"residue {key[2]} {number} of chain {chain_id} has atoms but does not"
                " stand among the residues that the file lists of it"
            )
        residue_of_atom += [index_of[key]] * len(atoms)
    return ReadChain(
        chain_id=chain_id,
        author_id=entry.author_ids.get(chain_id, chain_id),
        kind=entry.kind(chain_id),
        residues=tuple(residues),
        atoms=tuple(i for atoms in chosen for i in atoms),
        residue_of_atom=tuple(residue_of_atom),
    )


def column(block: gemmi.cif.Block, tag: str) -> list[str]:
    """Values of one item as plain text; null values stay "?" or "."."""
    return [v if v[0] not in "'\";" else _unquote(v) for v in block.find_values(tag)]


def _unquote(value: str) -> str:
    text = gemmi.cif.as_string(value)
    if value[0] != ";":
        return text
    return "\n".join(line.rstrip() for line in text.split("\n"))


def table(block: gemmi.cif.Block, category: str, *items: str) -> list[tuple[str, ...]]:
    """Rows of a category; none if one of the items does not exist."""
    columns = [column(block, f"{category}.{item}") for item in items]
    return list(zip(*columns, strict=True)) if all(columns) else []


def mapping(
    block: gemmi.cif.Block, category: str, key: str, value: str
) -> dict[str, str]:
    """One item of a category by another; empty if one of them does not exist."""
    return {first: second for first, second in table(block, category, key, value)}


def _read_atoms(block: gemmi.cif.Block) -> dict[str, list[str]]:
    prefix = "_atom_site."
    models = column(block, f"{prefix}pdbx_PDB_model_num")
    if not models:
        raise ValueError("it has no atoms with a model number")
    num_first = sum(1 for _ in takewhile(lambda model: model == models[0], models))
    found = {
        item: column(block, f"{prefix}{item}")[:num_first]
        for item in (*_ATOM_ITEMS, *_OPTIONAL_ATOM_ITEMS)
    }
    atoms = {item: values for item, values in found.items() if values}
    for item in _ATOM_ITEMS:
        if item not in atoms:
            raise ValueError(f"{prefix}{item} is missing")
    defaults = {
        "label_alt_id": ["."] * num_first,
        "occupancy": ["1"] * num_first,
        "B_iso_or_equiv": ["0"] * num_first,
        "type_symbol": ["?"] * num_first,
        "auth_asym_id": atoms["label_asym_id"],
    }
    if not ("auth_seq_id" in atoms and "pdbx_PDB_ins_code" in atoms):
        defaults["pdbx_PDB_ins_code"] = ["?"] * num_first
        defaults["auth_seq_id"] = atoms["label_seq_id"]
    return {**defaults, **atoms}


def _residue_spans(
    columns: Mapping[str, Sequence[str]], rows: Sequence[int]
) -> list[range]:
    """Stretches of rows with one author number and insertion code."""
    numbers, codes = columns["auth_seq_id"], columns["pdbx_PDB_ins_code"]
    spans: list[range] = []
    for i in rows:
        if spans:
            start, before = spans[-1].start, spans[-1].stop - 1
            same = numbers[i] == numbers[start] and codes[i] == codes[start]
            if before == i - 1 and same:
                spans[-1] = range(start, i + 1)
                continue
        spans.append(range(i, i + 1))
    return spans


def _residue_key(
    columns: Mapping[str, Sequence[str]], row: int
) -> tuple[str, str, str]:
    code = columns["pdbx_PDB_ins_code"][row]
    number = columns["auth_seq_id"][row]
    return number, "?" if code == "." else code, columns["label_comp_id"][row]


def _chosen_residues(
    entry: Entry, chain_id: str, first_atoms: Sequence[int]
) -> list[Residue]:
    """The scheme without the components of a residue that were not chosen."""
    labels, components = entry.atoms["label_seq_id"], entry.atoms["label_comp_id"]
    chosen = {labels[i]: components[i] for i in first_atoms if labels[i] != "."}
    return [
        residue
        for residue in entry.residues.get(chain_id, ())
        if chosen.get(residue.label_seq_id, residue.component) == residue.component
    ]


def _ligand_residues(
    entry: Entry, chain_id: str, first_atoms: Sequence[int]
) -> list[Residue]:
    """The residues that a ligand's chain lists; those with atoms if none are listed.

    One whose atoms are of another component is left out, as is water.
    """
    keys = [_residue_key(entry.atoms, i) for i in first_atoms]
    listed = entry.ligands.get(chain_id, ())
    if not entry.ligands:
        listed = [Residue(".", *key) for key in keys]
    labels = entry.atoms["label_seq_id"]
    chosen = {
        (number, code): component
        for i, (number, code, component) in zip(first_atoms, keys, strict=True)
        if labels[i] == "."
    }
    return [
        residue
        for residue in listed
        if residue.component not in WATERS
        and chosen.get(
            (residue.author_number, residue.insertion_code), residue.component
        )
        == residue.component
    ]


def _read_ligands(block: gemmi.cif.Block) -> dict[str, list[Residue]]:
    """Listed residues of ligands by chain, glycans before others."""
    branches = table(block, "_pdbx_branch_scheme", *_BRANCH_ITEMS)
    codes = column(block, "_pdbx_branch_scheme.pdb_ins_code") or ["."] * len(branches)
    rows = [(c, n, i, m) for (c, n, m), i in zip(branches, codes, strict=True)]
    found: dict[str, list[Residue]] = {}
    for chain_id, number, code, component in (
        *rows,
        *table(block, "_pdbx_nonpoly_scheme", *_LIGAND_ITEMS),
    ):
        residue = Residue(".", number, "?" if code == "." else code, component)
        found.setdefault(chain_id, []).append(residue)
    return found


def _chain_entities(
    block: gemmi.cif.Block, atoms: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    listed = mapping(block, "_struct_asym", "id", "entity_id")
    if listed:
        return listed
    entities = atoms.get("label_entity_id") or ["?"] * len(atoms["label_asym_id"])
    found = dict(zip(atoms["label_asym_id"], entities, strict=True))
    if set(found.values()) <= set(_NULLS):
        return {chain_id: chain_id for chain_id in found}
    return found


def _entity_kinds(
    block: gemmi.cif.Block, entity_of: Mapping[str, str]
) -> dict[str, str]:
    kinds = mapping(block, "_entity", "id", "type")
    if not kinds:
        kinds = _guess_kinds(block, entity_of)
    return kinds | mapping(block, "_entity_poly", "entity_id", "type")


def _guess_kinds(
    block: gemmi.cif.Block, entity_of: Mapping[str, str]
) -> dict[str, str]:
    items = ("label_asym_id", "group_PDB", "label_comp_id")
    members: dict[str, list[tuple[str, str]]] = {}
    for chain_id, group, component in table(block, "_atom_site", *items):
        entity = entity_of.get(chain_id, "?")
        members.setdefault(entity, []).append((group, component))
    return {entity: _guess_kind(rows) for entity, rows in members.items()}


def _guess_kind(rows: Sequence[tuple[str, str]]) -> str:
    names = [component for _, component in rows]
    if all(group == "HETATM" for group, _ in rows):
        return "water" if WATERS.issuperset(names) else "non-polymer"
    if not _GUESSED_PROTEIN.isdisjoint(names):
        return "polypeptide(L)"
    counts = {
        "polyribonucleotide": sum(name in _RNA for name in names),
        "polydeoxyribonucleotide": sum(name in _DNA for name in names),
    }
    counts["other"] = len(names) - sum(counts.values())
    return max(counts, key=counts.__getitem__)


_Schemes = tuple[dict[str, list[Residue]], dict[str, str]]


def _read_schemes(
    block: gemmi.cif.Block,
    atoms: Mapping[str, Sequence[str]],
    entity_of: Mapping[str, str],
    kind_of: Mapping[str, str],
) -> _Schemes:
    rows = table(block, "_pdbx_poly_seq_scheme", *_SCHEME_ITEMS)
    if not rows:
        rows = _infer_scheme(block, atoms, entity_of, kind_of)
    residues: dict[str, list[Residue]] = {}
    author_ids: dict[str, str] = {}
    for chain_id, label, number, code, component, strand in rows:
        residue = Residue(label, number, "?" if code == "." else code, component)
        residues.setdefault(chain_id, []).append(residue)
        author_ids.setdefault(chain_id, strand)
    return residues, author_ids


def _infer_scheme(
    block: gemmi.cif.Block,
    atoms: Mapping[str, Sequence[str]],
    entity_of: Mapping[str, str],
    kind_of: Mapping[str, str],
) -> list[tuple[str, ...]]:
    """The polymer scheme out of the atom table, and the entities' sequences if listed.

    Numbers of unresolved residues are not known: ".".
    """
    resolved = _resolved_residues(atoms, entity_of, kind_of)
    author_of = dict(
        reversed(list(zip(atoms["label_asym_id"], atoms["auth_asym_id"], strict=True)))
    )
    sequence = table(block, "_entity_poly_seq", "entity_id", "num", "mon_id")
    if not sequence:
        return [(*row, author_of[row[0]]) for row in resolved]
    numbers = {(entity_of[c], label): number for c, label, number, _, _ in resolved}
    codes = {label: code for _, label, _, code, _ in resolved}
    return [
        (
            chain_id,
            label,
            numbers.get((entity, label), "."),
            codes.get(label, "."),
            component,
            author_of.get(chain_id, chain_id),
        )
        for chain_id, entity in entity_of.items()
        for owner, label, component in sequence
        if owner == entity
    ]


def _resolved_residues(
    atoms: Mapping[str, Sequence[str]],
    entity_of: Mapping[str, str],
    kind_of: Mapping[str, str],
) -> list[tuple[str, str, str, str, str]]:
    items = ("label_asym_id", "label_seq_id", "auth_seq_id", "pdbx_PDB_ins_code")
    rows = zip(*(atoms[item] for item in (*items, "label_comp_id")), strict=True)
    found: dict[tuple[str, str, str], tuple[str, str, str, str, str]] = {}
    for row in rows:
        kind = kind_of.get(entity_of.get(row[0], ""), "?")
        if kind in POLYMERS or kind == "polymer":
            found.setdefault((row[0], row[2], row[3]), row)
    return list(found.values())
