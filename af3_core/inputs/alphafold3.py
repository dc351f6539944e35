"""The `alphafold3` dialect of the input language, versions 1 to 4.

AlphaFold 3 v3.0.4 takes every field in every version; so does this reader.
"""

from collections.abc import Mapping

from af3_core.chemistry.dictionary import Components
from af3_core.inputs.chemistry import (
    check_bond_atom,
    load_components,
    standard_components,
)
from af3_core.inputs.entities import (
    LINK,
    Links,
    path_hint,
    read_entity,
    read_text_or_link,
)
from af3_core.inputs.entry import (
    Entry,
    note_errors,
    raise_errors,
    read_fields,
    read_integer,
    read_items,
    read_text,
)
from af3_core.inputs.rules import (
    NAME,
    SEEDS,
    check_distinct,
    check_size,
    read_name,
    read_seeds,
)
from af3_core.job import BondAtom, InputError, Job, Ligand, Polymer

VERSIONS = (1, 2, 3, 4)

JOB_FIELDS = {
    "dialect": "the text alphafold3",
    "version": "1, 2, 3 or 4",
    "name": NAME,
    "modelSeeds": SEEDS,
    "sequences": "a list of at least one entity",
    "bondedAtomPairs": "a list of bonds, each of two different atoms, each bond once",
    "userCCD": "the text of an mmCIF file of components, or null",
    "userCCDPath": LINK,
}
_ENTITY = "an object with exactly one field: protein, rna, dna or ligand"
_BOND = "two atoms, each [chain id, residue number, atom name]"
_ATOM = '[chain id, residue number, atom name], such as ["A", 145, "SG"]'
_REQUIRED = frozenset({"dialect", "version", "name", "modelSeeds", "sequences"})


def read_alphafold3(document: Entry, links: Links) -> Job:
    """The job of one document.

    Raises:
        InputError, ExceptionGroup: what is wrong, several things at once if possible.
    """
    fields = read_fields(document, JOB_FIELDS, _REQUIRED)
    if fields["dialect"].value == "alphafoldserver":
        allowed = "alphafold3; jobs of dialect alphafoldserver stand in a list: [...]"
        raise fields["dialect"].refuse(allowed)
    if fields["dialect"].value != "alphafold3":
        raise fields["dialect"].refuse()
    read_integer(fields["version"], VERSIONS[0], VERSIONS[-1])
    errors: list[InputError] = []
    name, seeds, entities, bonds, user_ccd = "", (), (), (), None
    with note_errors(errors):
        name = read_name(fields["name"])
    with note_errors(errors):
        seeds = read_seeds(fields["modelSeeds"])
    with note_errors(errors):
        user_ccd, components = _read_user_ccd(fields, links)
        entities = _read_entities(fields["sequences"], links, components)
        bonds = read_bonds(fields.get("bondedAtomPairs"), entities, components)
    raise_errors(errors)
    return Job(name, seeds, entities, bonds, user_ccd)


def _read_user_ccd(
    fields: Mapping[str, Entry], links: Links
) -> tuple[str | None, Components]:
    text, place = read_text_or_link(fields, "userCCD", links)
    if text is None or place is None:
        return None, standard_components()
    hint = path_hint(place, text)
    if hint or not text.strip():
        # An empty text is none in AlphaFold 3 either.
        raise place.refuse(f"the text of an mmCIF file of components, or null{hint}")
    return text, load_components(place, text)


def _read_entities(
    entry: Entry, links: Links, components: Components
) -> tuple[Polymer | Ligand, ...]:
    items = read_items(entry, _ENTITY)
    if not items:
        raise entry.refuse()
    errors: list[InputError] = []
    entities: list[Polymer | Ligand] = []
    for item in items:
        with note_errors(errors):
            entities.append(read_entity(item, links, components))
    raise_errors(errors)
    _check_ids(items, entities)
    check_size(entry, entities)
    return tuple(entities)


def _check_ids(items: list[Entry], entities: list[Polymer | Ligand]) -> None:
    places: list[Entry] = []
    for item, entity in zip(items, entities, strict=True):
        kind = "ligand" if isinstance(entity, Ligand) else entity.kind
        path = f"{item.path}.{kind}.id"
        places += [Entry(item.file, path, name, "") for name in entity.ids]
    ids = [place.value for place in places]
    check_distinct(places, ids, "an id that no other chain or copy has")


def read_bonds(
    entry: Entry | None,
    entities: tuple[Polymer | Ligand, ...],
    components: Components,
) -> tuple[tuple[BondAtom, BondAtom], ...]:
    """Bonds as `[[chain id, residue number, atom name], …]`, checked atom by atom."""
    if entry is None or entry.value in (None, {}, ""):
        return ()
    chains = {name: entity for entity in entities for name in entity.ids}
    errors: list[InputError] = []
    bonds: list[tuple[BondAtom, BondAtom]] = []
    items = read_items(entry, _BOND)
    for item in items:
        with note_errors(errors):
            bonds.append(_read_bond(item, chains, components))
    raise_errors(errors)
    unordered = [frozenset(bond) for bond in bonds]
    check_distinct(items, unordered, "each bond once, whatever the order of its atoms")
    return tuple(bonds)


def _read_bond(
    entry: Entry, chains: Mapping[str, Polymer | Ligand], components: Components
) -> tuple[BondAtom, BondAtom]:
    ends = read_items(entry, _ATOM)
    if len(ends) != 2:
        raise entry.refuse()
    first, second = (_read_bond_atom(end, chains, components) for end in ends)
    if first == second:
        raise entry.refuse("two different atoms")
    return first, second


def _read_bond_atom(
    entry: Entry, chains: Mapping[str, Polymer | Ligand], components: Components
) -> BondAtom:
    parts = read_items(entry, "")
    if len(parts) != 3:
        raise entry.refuse()
    chain_id, residue, atom = parts
    if not isinstance(chain_id.value, str) or chain_id.value not in chains:
        raise chain_id.refuse(f"the id of a chain of this job: {', '.join(chains)}")
    chain = chains[chain_id.value]
    if isinstance(chain, Ligand) and chain.smiles is not None:
        allowed = "a chain with named atoms; those of a SMILES ligand have no names"
        raise chain_id.refuse(allowed)
    length = len(chain.codes if isinstance(chain, Ligand) else chain.sequence)
    sentence = f"a residue number of chain {chain_id.value}, from 1 to {length}"
    number = read_integer(
        Entry(entry.file, residue.path, residue.value, sentence), 1, length
    )
    name = Entry(entry.file, atom.path, atom.value, "an atom name such as CA")
    check_bond_atom(name, read_text(name), chain, number, components)
    return BondAtom(chain_id.value, number, read_text(name))
