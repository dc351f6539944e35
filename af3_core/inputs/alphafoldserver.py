"""The `alphafoldserver` dialect: a list of jobs, with counts instead of chain ids.

What AlphaFold 3 v3.0.4 converts is converted alike; what it refuses (glycans, a
template date of its own) is refused.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from af3_core.inputs.chemistry import check_component, standard_components
from af3_core.inputs.entities import read_modifications, without_prefix
from af3_core.inputs.entry import (
    Entry,
    flatten_errors,
    note_errors,
    raise_errors,
    read_fields,
    read_integer,
    read_items,
)
from af3_core.inputs.rules import (
    MAX_RESIDUES,
    NAME,
    SEED,
    SEQUENCE,
    check_distinct,
    check_sequence,
    check_size,
    read_name,
)
from af3_core.job import (
    MAX_SEED,
    InputError,
    Job,
    Ligand,
    Polymer,
    PolymerKind,
    chain_id_at,
    content_digest,
)

JOB_FIELDS = {
    "dialect": "the text alphafoldserver, together with version, or neither",
    "version": "1, together with dialect, or neither",
    "name": NAME,
    "modelSeeds": f"a list of seeds, each once: {SEED}; empty to have one chosen",
    "sequences": "a list of at least one entity",
}
ENTITY_FIELDS = {
    "proteinChain": "a protein chain",
    "rnaSequence": "an RNA chain",
    "dnaSequence": "a DNA chain",
    "ligand": "a ligand",
    "ion": "an ion",
}
_COUNT = f"how many copies, a whole number from 1 to {MAX_RESIDUES}"
_MODIFICATIONS = "a list of modified residues, at most one per position"
_GLYCANS = (
    "nothing: glycans of this dialect are not converted; write an alphafold3 job with"
    " the glycan as a ligand of several ccdCodes and its bonds in bondedAtomPairs"
)
_TEMPLATE_DATE = "nothing: the campaign's settings have the cut-off date of templates"
CONTENT_FIELDS: Mapping[str, Mapping[str, str]] = {
    "proteinChain": {
        "sequence": SEQUENCE["protein"],
        "modifications": _MODIFICATIONS,
        "count": _COUNT,
        "useStructureTemplate": "true to search for templates, false or null for none",
        "maxTemplateDate": _TEMPLATE_DATE,
        "glycans": _GLYCANS,
    },
    "rnaSequence": {
        "sequence": SEQUENCE["rna"],
        "modifications": _MODIFICATIONS,
        "count": _COUNT,
    },
    "dnaSequence": {
        "sequence": SEQUENCE["dna"],
        "modifications": _MODIFICATIONS,
        "count": _COUNT,
    },
    "ligand": {"ligand": "a component code such as CCD_ATP", "count": _COUNT},
    "ion": {"ion": "a component code such as MG", "count": _COUNT},
}
_KINDS: Mapping[str, PolymerKind] = {
    "proteinChain": "protein",
    "rnaSequence": "rna",
    "dnaSequence": "dna",
}
_REFUSED = ("glycans", "maxTemplateDate")
_ENTITY = f"an object with exactly one field: {', '.join(ENTITY_FIELDS)}"


def read_server_jobs(document: Entry) -> Iterator[Job | InputError]:
    """Each job of the list, or the errors of that job."""
    items = read_items(document, "a job")
    if not items:
        yield document.refuse("a list of at least one job")
    for number, item in enumerate(items, 1):
        record = _name_record(number, item.value)
        try:
            yield replace(_read_job(item), record=record)
        except InputError as error:
            yield error.of(record)
        except ExceptionGroup as group:
            refused, other = group.split(InputError)
            if other or refused is None:
                raise
            yield from (error.of(record) for error in flatten_errors(refused))


def _name_record(number: int, value: object) -> str:
    name = value.get("name") if isinstance(value, dict) else None
    return f"job {number}" + (f" ({name})" if isinstance(name, str) else "")


def _read_job(entry: Entry) -> Job:
    fields = read_fields(entry, JOB_FIELDS, frozenset({"name", "sequences"}))
    _check_version(entry, fields)
    errors: list[InputError] = []
    name, seeds, entities = "", (), ()
    with note_errors(errors):
        name = read_name(fields["name"])
    with note_errors(errors):
        seeds = _read_seeds(fields.get("modelSeeds"))
    with note_errors(errors):
        entities = _read_entities(fields["sequences"])
    raise_errors(errors)
    job = Job(name=name, seeds=seeds, entities=entities)
    return job if seeds else Job(name, (derive_seed(job),), entities)


def _check_version(entry: Entry, fields: Mapping[str, Entry]) -> None:
    given = fields.keys() & {"dialect", "version"}
    if not given:
        return
    for key in ("dialect", "version"):
        if key not in given:
            path = f"{entry.path}.{key}"
            raise InputError(entry.file, path, "(missing)", JOB_FIELDS[key])
    if fields["dialect"].value == "alphafold3":
        allowed = "alphafoldserver in a list; an alphafold3 job is a file of its own"
        raise fields["dialect"].refuse(allowed)
    if fields["dialect"].value != "alphafoldserver":
        raise fields["dialect"].refuse()
    read_integer(fields["version"], 1, 1)


def derive_seed(job: Job) -> int:
    """The seed of a job that states none: its name and content decide.

    AlphaFold 3 draws one at random; then no run could be repeated or resumed.
    """
    text = json.dumps([job.name, content_digest(job)])
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def _read_seeds(entry: Entry | None) -> tuple[int, ...]:
    if entry is None or entry.value is None:
        return ()
    items = read_items(entry, SEED)
    seeds = tuple(_read_seed(item) for item in items)
    check_distinct(items, seeds, "each seed once")
    return seeds


def _read_seed(entry: Entry) -> int:
    value = entry.value
    # The server's own downloads write seeds as texts of digits.
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])
    return read_integer(entry.holding(value, SEED), 0, MAX_SEED)


def _read_entities(entry: Entry) -> tuple[Polymer | Ligand, ...]:
    items = read_items(entry, _ENTITY)
    if not items:
        raise entry.refuse()
    errors: list[InputError] = []
    entities: list[Polymer | Ligand] = []
    num_chains = 0
    for item in items:
        with note_errors(errors):
            entities.append(_read_entity(item, num_chains))
            num_chains += len(entities[-1].ids)
    raise_errors(errors)
    check_size(entry, entities)
    return tuple(entities)


def _read_entity(entry: Entry, num_chains: int) -> Polymer | Ligand:
    kinds = read_fields(entry, ENTITY_FIELDS)
    if len(kinds) != 1:
        raise entry.refuse()
    [(key, content)] = kinds.items()
    required = key if key in ("ligand", "ion") else "sequence"
    fields = read_fields(content, CONTENT_FIELDS[key], frozenset({required}))
    for name in _REFUSED:
        if name in fields:
            raise fields[name].refuse()
    count = read_integer(fields["count"], 1, MAX_RESIDUES) if "count" in fields else 1
    ids = tuple(chain_id_at(num_chains + copy) for copy in range(count))
    if key == "ion":
        return Ligand(
            ids=ids, codes=(check_component(fields["ion"], standard_components()),)
        )
    if key == "ligand":
        stated = without_prefix(fields["ligand"], "CCD_")
        code = check_component(stated, standard_components())
        return Ligand(ids=ids, codes=(code,))
    return _read_polymer(fields, _KINDS[key], ids)


def _read_polymer(
    fields: Mapping[str, Entry], kind: PolymerKind, ids: tuple[str, ...]
) -> Polymer:
    sequence = check_sequence(fields["sequence"], kind)
    changes = read_modifications(
        fields.get("modifications"), kind, sequence, standard_components(), "CCD_"
    )
    search = fields.get("useStructureTemplate")
    if search is not None and search.value not in (True, False, None):
        raise search.refuse()
    return Polymer(
        kind=kind,
        ids=ids,
        sequence=sequence,
        modifications=changes,
        templates=() if search is not None and not search.value else None,
    )
