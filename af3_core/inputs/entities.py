"""The entities of the `alphafold3` dialect: chains, ligands, alignments, templates.

The dictionaries are the language: field by field, what may stand there. Error messages
and `docs/input.md` both quote them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from af3_core.chemistry.dictionary import Components
from af3_core.chemistry.residues import query_sequence
from af3_core.inputs.a3m import find_a3m_problem
from af3_core.inputs.chemistry import check_component, check_smiles
from af3_core.inputs.entry import (
    Entry,
    note_errors,
    raise_errors,
    read_fields,
    read_integer,
    read_items,
    read_optional_text,
    read_text,
)
from af3_core.inputs.rules import (
    CHAIN_ID,
    CODE,
    SEQUENCE,
    SHORTEST_ALIGNED_CHAIN,
    check_chain_id,
    check_distinct,
    check_sequence,
)
from af3_core.inputs.template import count_template_residues
from af3_core.inputs.text import read_linked_file
from af3_core.job import (
    MODIFICATION_KEYS,
    InputError,
    Ligand,
    Modification,
    Polymer,
    PolymerKind,
    Template,
)

_DESCRIPTION = "a text, or null"
_ID = f"{CHAIN_ID}; or a list of such ids, one per copy"
_MSA = "an alignment in A3M format, an empty text for none, or null to search"
LINK = "the path of a readable file (plain, gzip, xz or zstd), or null"

ENTITY_FIELDS = {
    "protein": "a protein chain",
    "rna": "an RNA chain",
    "dna": "a DNA chain",
    "ligand": "a ligand or ion",
}
_CHAIN_FIELDS = {
    "id": _ID,
    "sequence": "a sequence",
    "modifications": "a list of modified residues, at most one per position",
    "description": _DESCRIPTION,
}
_UNPAIRED_FIELDS = {"unpairedMsa": _MSA, "unpairedMsaPath": LINK}
POLYMER_FIELDS: Mapping[PolymerKind, Mapping[str, str]] = {
    "protein": _CHAIN_FIELDS
    | {"sequence": SEQUENCE["protein"]}
    | _UNPAIRED_FIELDS
    | {"pairedMsa": _MSA, "pairedMsaPath": LINK}
    | {"templates": "a list of templates, empty for none, or null to search"},
    "rna": _CHAIN_FIELDS | {"sequence": SEQUENCE["rna"]} | _UNPAIRED_FIELDS,
    "dna": _CHAIN_FIELDS | {"sequence": SEQUENCE["dna"]},
}
LIGAND_FIELDS = {
    "id": _ID,
    "ccdCodes": "a list of component codes, at least one",
    "smiles": "a SMILES string",
    "description": _DESCRIPTION,
}
TEMPLATE_FIELDS = {
    "mmcif": "the text of an mmCIF file with one protein chain",
    "mmcifPath": LINK,
    "queryIndices": "a list of 0-based residues of the sequence, each once",
    "templateIndices": "a list, as long as queryIndices, of 0-based template residues",
}


@dataclass(frozen=True)
class Links:
    """Where the files lie that an input points to, and how far it may reach."""

    folder: Path
    allowed_roots: tuple[Path, ...] | None = None


def read_entity(entry: Entry, links: Links, components: Components) -> Polymer | Ligand:
    """One item of `sequences`."""
    fields = read_fields(entry, ENTITY_FIELDS)
    if len(fields) != 1:
        raise entry.refuse()
    [(name, content)] = fields.items()
    kinds = {kind: kind for kind in get_args(PolymerKind)}
    if name not in kinds:
        return _read_ligand(content, components)
    return _read_polymer(content, kinds[name], links, components)


def _read_ids(entry: Entry) -> tuple[str, ...]:
    if not isinstance(entry.value, list):
        return (check_chain_id(entry),)
    items = read_items(entry, CHAIN_ID)
    if not items:
        raise entry.refuse()
    return tuple(check_chain_id(item) for item in items)


def _read_ligand(entry: Entry, components: Components) -> Ligand:
    fields = read_fields(entry, LIGAND_FIELDS, frozenset({"id"}))
    description = read_optional_text(fields.get("description"))
    ids = _read_ids(fields["id"])
    # AlphaFold 3 takes ccdCodes for given wherever the field stands, null or not.
    has_codes = "ccdCodes" in fields
    has_smiles = "smiles" in fields and fields["smiles"].value is not None
    if has_codes == has_smiles:
        allowed = "a ligand with either ccdCodes or smiles; leave the other field out"
        raise entry.refuse(allowed)
    if has_smiles:
        smiles = check_smiles(fields["smiles"], read_text(fields["smiles"]))
        return Ligand(ids=ids, smiles=smiles, description=description)
    items = read_items(fields["ccdCodes"], CODE)
    if not items:
        raise fields["ccdCodes"].refuse()
    codes = tuple(check_component(item, components) for item in items)
    return Ligand(ids=ids, codes=codes, description=description)


def _read_polymer(
    entry: Entry, kind: PolymerKind, links: Links, components: Components
) -> Polymer:
    fields = read_fields(entry, POLYMER_FIELDS[kind], frozenset({"id", "sequence"}))
    ids = _read_ids(fields["id"])
    sequence = check_sequence(fields["sequence"], kind)
    changes = fields.get("modifications")
    polymer = Polymer(
        kind=kind,
        ids=ids,
        sequence=sequence,
        modifications=read_modifications(changes, kind, sequence, components),
        description=read_optional_text(fields.get("description")),
    )
    if kind == "dna":
        return polymer
    return _add_alignments(polymer, entry, fields, links)


def read_modifications(
    entry: Entry | None,
    kind: PolymerKind,
    sequence: str,
    components: Components,
    prefix: str = "",
) -> tuple[Modification, ...]:
    """Modified residues; each code may carry `prefix`, which is taken off."""
    if entry is None:
        return ()
    code_key, position_key = MODIFICATION_KEYS[kind]
    sentences = {
        code_key: CODE,
        position_key: f"a residue number from 1 to {len(sequence)}",
    }
    modifications: list[Modification] = []
    places: list[Entry] = []
    for item in read_items(entry, f"an object with {code_key} and {position_key}"):
        fields = read_fields(item, sentences, frozenset(sentences))
        code = check_component(without_prefix(fields[code_key], prefix), components)
        position = read_integer(fields[position_key], 1, len(sequence))
        modifications.append(Modification(code, position))
        places.append(fields[position_key])
    positions = [modification.position for modification in modifications]
    check_distinct(places, positions, "one modification per residue")
    return tuple(modifications)


def without_prefix(entry: Entry, prefix: str) -> Entry:
    """The same entry, its text without `prefix` if it has it."""
    if not isinstance(entry.value, str):
        return entry
    return Entry(
        entry.file, entry.path, entry.value.removeprefix(prefix), entry.allowed
    )


def _add_alignments(
    polymer: Polymer, entry: Entry, fields: Mapping[str, Entry], links: Links
) -> Polymer:
    errors: list[InputError] = []
    unpaired = paired = templates = None
    with note_errors(errors):
        unpaired = _read_alignment(fields, "unpairedMsa", polymer, links)
    with note_errors(errors):
        paired = _read_alignment(fields, "pairedMsa", polymer, links)
    with note_errors(errors):
        templates = _read_templates(fields.get("templates"), polymer, links)
    raise_errors(errors)
    if polymer.kind == "protein":
        _check_searches(entry, unpaired, paired, templates)
    return Polymer(
        kind=polymer.kind,
        ids=polymer.ids,
        sequence=polymer.sequence,
        modifications=polymer.modifications,
        unpaired_msa=unpaired,
        paired_msa=paired,
        templates=templates,
        description=polymer.description,
    )


def _check_searches(
    entry: Entry,
    unpaired: str | None,
    paired: str | None,
    templates: tuple[Template, ...] | None,
) -> None:
    if (unpaired is None) != (paired is None):
        missing, given = "unpairedMsa", "pairedMsa"
        if paired is None:
            missing, given = given, missing
        allowed = f"a text (empty for none), because {given} is set; or neither set"
        raise InputError(entry.file, f"{entry.path}.{missing}", None, allowed)
    if templates and unpaired is None:
        allowed = "a text (empty for none), because templates are given"
        raise InputError(entry.file, f"{entry.path}.unpairedMsa", None, allowed)


def read_text_or_link(
    fields: Mapping[str, Entry], key: str, links: Links
) -> tuple[str | None, Entry | None]:
    """The text of `key`, or of the file that `keyPath` names, and where it stands."""
    inline, link = fields.get(key), fields.get(f"{key}Path")
    text = read_optional_text(inline)
    if link is None or link.value is None:
        return text, inline
    if text:
        raise link.refuse(f"only one of {key} and {key}Path")
    return read_linked_file(link, links.folder, links.allowed_roots), link


def path_hint(place: Entry, text: str) -> str:
    """What to say of a text that looks like the path of a file."""
    line = text.strip()
    is_path = (
        "\n" not in line
        and not line.startswith((">", "data_"))
        and not frozenset("/\\.").isdisjoint(line)
    )
    if place.path.endswith("Path") or not is_path:
        return ""
    return f"; did you mean {place.path.rpartition('.')[2]}Path?"


def _read_alignment(
    fields: Mapping[str, Entry], key: str, polymer: Polymer, links: Links
) -> str | None:
    text, place = read_text_or_link(fields, key, links)
    if not text or place is None:
        return text
    query = query_sequence(polymer)
    problem = find_a3m_problem(text, query, polymer.kind)
    if problem is not None and len(query) < SHORTEST_ALIGNED_CHAIN:
        return ""  # AlphaFold 3 does not even look at it
    if problem is not None:
        raise place.refuse(problem + path_hint(place, text))
    return text


def _read_templates(
    entry: Entry | None, polymer: Polymer, links: Links
) -> tuple[Template, ...] | None:
    if entry is None or entry.value is None:
        return None
    items = read_items(entry, f"an object with {', '.join(TEMPLATE_FIELDS)}")
    errors: list[InputError] = []
    templates: list[Template] = []
    for item in items:
        with note_errors(errors):
            templates.append(_read_template(item, len(polymer.sequence), links))
    raise_errors(errors)
    return tuple(templates)


def _read_template(entry: Entry, num_residues: int, links: Links) -> Template:
    required = frozenset({"queryIndices", "templateIndices"})
    fields = read_fields(entry, TEMPLATE_FIELDS, required)
    mmcif, place = read_text_or_link(fields, "mmcif", links)
    if not mmcif or place is None:
        raise (place or entry).refuse("a template with mmcif or mmcifPath")
    try:
        num_template_residues = count_template_residues(mmcif)
    except ValueError as error:
        allowed = f"an mmCIF file with one protein chain and a release date ({error})"
        allowed += path_hint(place, mmcif)
        raise place.refuse(allowed) from error
    query = _read_indices(fields["queryIndices"], num_residues)
    check_distinct(read_items(fields["queryIndices"], ""), query, "each residue once")
    template = _read_indices(fields["templateIndices"], num_template_residues)
    if len(query) != len(template):
        allowed = f"as many indices as queryIndices has, {len(query)}"
        raise fields["templateIndices"].refuse(allowed)
    return Template(mmcif=mmcif, query_indices=query, template_indices=template)


def _read_indices(entry: Entry, num_residues: int) -> tuple[int, ...]:
    # AlphaFold 3 before 3.0.4 wrote null where nothing is aligned.
    if entry.value is None and entry.path.endswith("templateIndices"):
        return ()
    items = read_items(entry, f"a 0-based residue, from 0 to {num_residues - 1}")
    return tuple(read_integer(item, 0, num_residues - 1) for item in items)
