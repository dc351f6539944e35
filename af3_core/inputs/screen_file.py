"""Reads a screen from YAML: its schema, its names, its partners."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from jsonschema import Draft202012Validator, ValidationError
from numpy import ndarray

from af3_core.inputs.chemistry import check_bond_atom, standard_components
from af3_core.inputs.entities import Links
from af3_core.inputs.entry import Entry, note_errors, raise_errors, suggest
from af3_core.inputs.listing import SCREEN_SUFFIXES
from af3_core.inputs.molecules import Molecule, label_of
from af3_core.inputs.partners import Names, Partner, is_file_name, partner_of
from af3_core.inputs.rules import read_name
from af3_core.inputs.screen import (
    DEFAULT_POOL_TOKENS,
    BondEnd,
    Budget,
    PairBlock,
    Role,
    Screen,
    WideBlock,
)
from af3_core.inputs.screen_best import read_best
from af3_core.inputs.yaml_document import YamlDocument, parse_yaml
from af3_core.job import MAX_SEED, InputError, Job, Ligand

"""Endings of files that hold a screen."""
SCHEMA: Mapping[str, Any] = json.loads(
    Path(__file__).with_name("screen.schema.json").read_text(encoding="utf-8")
)

_SELECTION = "names, patterns such as P*, files or sequences"
_BOND = "two atoms such as kinase:145:SG - inhibitor:1:C5"
_BOND_END = re.compile(r"(?P<name>.+):(?P<residue>[0-9]{1,5}):(?P<atom>[^:\s]+)")

type _Content = tuple[tuple[str, int], ...]


def read_screen(
    text: str, file: str, links: Links, default_seeds: tuple[int, ...]
) -> Screen:
    """The screen of a YAML document.

    Args:
        links: where the files lie that it names.
        default_seeds: where it states none.

    Raises:
        InputError, ExceptionGroup: what is wrong, several things at once if possible.
    """
    document = parse_yaml(text, file)
    _check_schema(document)
    return _Reader(document, links).read(default_seeds)


def _check_schema(document: YamlDocument) -> None:
    value: Any = document.value
    if not isinstance(value, dict) or not value.keys() & SCHEMA["properties"].keys() - {
        "name"
    }:
        allowed = (
            f"a screen: {SCHEMA['description']}; jobs of other forms are told by what"
            " the name of their file ends in"
        )
        raise InputError(document.file, "(file)", value, allowed)
    found = Draft202012Validator(SCHEMA).iter_errors(value)
    errors = [_schema_error(document, _deepest(error)) for error in found]
    raise_errors(errors)


def _deepest(error: ValidationError) -> ValidationError:
    """Of an error in alternatives, the one that got furthest, else the error itself."""
    while error.context:
        start = len(error.absolute_path)
        deeper = [e for e in error.context if len(e.absolute_path) > start]
        # A wrong field says more than that the mapping is no text or list.
        deeper = deeper or [
            e
            for e in error.context
            if isinstance(e.schema, dict)
            and "properties" in e.schema
            and e.validator in ("additionalProperties", "required")
        ]
        if not deeper:
            break
        error = max(deeper, key=lambda e: len(e.absolute_path))
    return error


def _schema_error(document: YamlDocument, error: ValidationError) -> InputError:
    path = ""
    for part in error.absolute_path:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    schema: Any = error.schema
    wanted: Any = error.validator_value
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = dict.fromkeys(schema.get("properties", {}), "")
        patterns = schema.get("patternProperties", {})
        for key in error.instance:
            is_known = key in known or any(re.search(p, key) for p in patterns)
            if not is_known:
                where = f"{path}.{key}" if path else key
                allowed = suggest(key, known) if known else _sentence(error)
                return document.entry(where, key).refuse(allowed)
    if error.validator == "required":
        missing = [key for key in wanted if key not in error.instance]
        sentence = _describe(schema["properties"][missing[0]])
        where = f"{path}.{missing[0]}" if path else missing[0]
        return document.entry(where, "(missing)").refuse(sentence)
    return document.entry(path, error.instance).refuse(_sentence(error))


def _describe(schema: Mapping[str, Any]) -> str:
    """The sentence of a field in the schema, or of what it refers to."""
    if "description" in schema:
        return schema["description"]
    return _describe(SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]])


def _sentence(error: ValidationError) -> str:
    """The nearest sentence on the way to the part of the schema that was not met."""
    part: Any = SCHEMA
    found = SCHEMA["description"]
    for step in [*error.absolute_schema_path, None]:
        # The path leaves out that a part stands elsewhere.
        if isinstance(part, dict) and "$ref" in part and step not in part:
            part = SCHEMA["$defs"][part["$ref"].rsplit("/", 1)[1]]
            found = part["description"]
        part = part if step is None else part[step]
        if isinstance(part, dict):
            found = part.get("description", found)
    return found


class _Reader:
    """Turns a checked document into a screen."""

    def __init__(self, document: YamlDocument, links: Links) -> None:
        self.document = document
        self.names = Names(document, links)
        assert isinstance(document.value, dict)
        self.fields: Mapping[str, Any] = document.value
        self.partners: dict[_Content, Partner] = {}
        self.labels: dict[_Content, set[str]] = {}
        self.roles: dict[_Content, set[Role]] = {}

    def read(self, default_seeds: tuple[int, ...]) -> Screen:
        fields, errors = self.fields, list[InputError]()
        with note_errors(errors):
            for entry in self._texts("sequences"):
                self.names.read_sequences(entry)
            self.names.add_definitions(fields.get("define", {}))
        # Names that are missing would make errors of all that refers to them.
        raise_errors(errors)
        pairs: list[tuple[list[_Content], list[_Content]]] = []
        groups: list[tuple[list[list[_Content]], int]] = []
        listed: list[tuple[str | None, tuple[_Content, ...]]] = []
        unrelated: list[Partner] = []
        seeds = default_seeds
        given: list[tuple[Job, int]] = []
        with note_errors(errors):
            pairs = list(self._pairs())
        with note_errors(errors):
            groups = list(self._groups())
        with note_errors(errors):
            listed = list(self._complexes())
        with note_errors(errors):
            unrelated = self._unrelated()
        with note_errors(errors):
            seeds = self._seeds() or default_seeds
        with note_errors(errors):
            given = self._best()
        with note_errors(errors):
            self._check_mode(groups)
        raise_errors(errors)
        order = sorted(self.partners, key=lambda c: (self.partners[c].label, c))
        self._check_labels(order)
        place = {content: index for index, content in enumerate(order)}
        with_self = bool(fields.get("with_self", False))
        blocks = [
            PairBlock(_mask(left, place), _mask(right, place), with_self)
            for left, right in pairs
        ]
        wide = []
        for members, size in groups:
            indices = tuple(tuple(sorted({place[c] for c in g})) for g in members)
            if len(indices) == 1 and size == 2:
                mask = _mask(members[0], place)
                blocks.append(PairBlock(mask, mask, with_self))
            elif len(indices) == 2:
                masks = (_mask(group, place) for group in members)
                blocks.append(PairBlock(*masks, with_self=True))
            else:
                wide.append(WideBlock(indices, size, with_self))
        pools = fields.get("pools", {})
        is_pooled = fields.get("mode") == "pooled"
        background = fields.get("background", 0)
        return Screen(
            name=self._name(),
            document=self.document,
            partners=tuple(self.partners[content] for content in order),
            aliases={
                self.partners[content].label: tuple(sorted(others))
                for content in order
                if (others := self.labels[content] - {self.partners[content].label})
            },
            roles=tuple(_role(self.roles[content]) for content in order),
            pairs=tuple(blocks),
            wide=tuple(wide),
            listed=tuple(
                (name, tuple(place[content] for content in members))
                for name, members in listed
            ),
            given=tuple((replace(job, seeds=seeds), n) for job, n in given),
            seeds=seeds,
            bonds=tuple(self._bonds()),
            budget=self._budget(),
            pool_tokens=(
                pools.get("tokens", DEFAULT_POOL_TOKENS) if is_pooled else None
            ),
            pool_times=pools.get("times", 1),
            background=(
                background["count"] if isinstance(background, dict) else background
            ),
            unrelated=tuple(unrelated),
            problems=tuple(self.names.problems),
        )

    def _at(self, path: str, value: object, allowed: str = "") -> Entry:
        return self.document.entry(path, value, allowed)

    def _name(self) -> str:
        stem = Path(self.document.file).name
        for suffix in SCREEN_SUFFIXES:
            stem = stem.removesuffix(suffix)
        name = self._at("name", self.fields.get("name", stem), "a name")
        return label_of(read_name(name)) or "screen"

    def _texts(self, path: str, allowed: str = _SELECTION) -> list[Entry]:
        """A text, or a list of them, each with where it stands."""
        value: Any = self.fields
        for key in path.split("."):
            name, *index = re.split(r"[\[\]]", key)
            value = value.get(name) if isinstance(value, dict) else None
            if index and value is not None and isinstance(value, list):
                value = value[int(index[0])]
        if value is None:
            return []
        if not isinstance(value, list):
            return [self._at(path, str(value), allowed)]
        return [
            self._at(f"{path}[{index}]", str(item), allowed)
            for index, item in enumerate(value)
        ]

    def _select(self, entries: Iterable[Entry], role: Role) -> list[_Content]:
        found = [self._take(p, role) for p in self.names.select(entries)]
        return list(dict.fromkeys(found))

    def _take(self, partner: Partner, role: Role) -> _Content:
        """Notes a partner under its content; of equal ones the smallest label stays."""
        known = self.partners.setdefault(partner.content, partner)
        if partner.label < known.label:
            self.partners[partner.content] = partner
        self.labels.setdefault(partner.content, set()).add(partner.label)
        self.roles.setdefault(partner.content, set()).add(role)
        return partner.content

    def _pairs(self) -> Iterator[tuple[list[_Content], list[_Content]]]:
        given = self.fields.get("pairs", [])
        paths = (
            ["pairs"]
            if isinstance(given, dict)
            else [f"pairs[{index}]" for index in range(len(given))]
        )
        for path in paths:
            yield (
                self._select(self._texts(f"{path}.bait"), "bait"),
                self._select(self._texts(f"{path}.prey"), "prey"),
            )

    def _groups(self) -> Iterator[tuple[list[list[_Content]], int]]:
        given = self.fields.get("all_against_all")
        if given is not None:
            is_plain = not isinstance(given, dict)
            path = "all_against_all" if is_plain else "all_against_all.of"
            size = 2 if is_plain else given.get("size", 2)
            group = self._select(self._texts(path), "any")
            least = 1 if self.fields.get("with_self") else size
            if len(group) < least and not self.names.problems:
                found = f"{len(group)} different sequences or ligands"
                raise self._at(path, found).refuse(f"at least {least}")
            yield [group], size
        lists = self.fields.get("combine")
        if lists is not None:
            groups = [
                self._select(self._texts(f"combine[{index}]"), "any")
                for index in range(len(lists))
            ]
            yield groups, len(groups)

    def _complexes(self) -> Iterator[tuple[str | None, tuple[_Content, ...]]]:
        given = self.fields.get("complexes")
        if isinstance(given, dict):
            for name, text in given.items():
                entry = self._at(f"complexes.{name}", text, _SELECTION)
                read_name(Entry(entry.file, entry.path, name, "a name of a job"))
                found = list(self.names.complexes(entry))
                for number, terms in enumerate(found, 1):
                    label = name if len(found) == 1 else f"{name}_{number}"
                    yield label, self._members(terms)
            return
        for entry in self._texts("complexes"):
            text = str(entry.value)
            is_sheet = is_file_name(text) and "+" not in text
            found = (
                self.names.read_folds(text, entry)
                if is_sheet
                else self.names.complexes(entry)
            )
            for terms in found:
                yield None, self._members(terms)

    def _members(self, terms: Iterable[tuple[Molecule, int]]) -> tuple[_Content, ...]:
        """Each copy is a partner of its own: what it does to the others is a result."""
        return tuple(
            self._take(partner_of([(molecule, 1)]), "any")
            for molecule, copies in terms
            for _ in range(copies)
        )

    def _unrelated(self) -> list[Partner]:
        given = self.fields.get("background")
        if not isinstance(given, dict) or "from" not in given:
            return []
        found = [
            p
            for p in self.names.select(self._texts("background.from"))
            if not p.is_ligand
        ]
        if not found:
            raise self._at("background.from", given["from"]).refuse("chains")
        return sorted(found, key=lambda partner: partner.label)

    def _best(self) -> list[tuple[Job, int]]:
        given = self.fields.get("best")
        if given is None:
            return []
        of = self._at("best.of", given["of"])
        by = self._at("best.by", given.get("by", "ipsae"))
        return list(read_best(of, by, given, self.names.links))

    def _seeds(self) -> tuple[int, ...]:
        given = self.fields.get("seeds")
        if given is None:
            return ()
        if isinstance(given, str):
            low, high = map(int, given.split("-"))
            if not low <= high <= MAX_SEED or high - low >= 100_000:
                allowed = f"a range of at most 100,000 seeds up to {MAX_SEED}"
                raise self._at("seeds", given).refuse(allowed)
            return tuple(range(low, high + 1))
        return (given,) if isinstance(given, int) else tuple(given)

    def _check_mode(self, groups: Sequence[tuple[object, int]]) -> None:
        is_pooled = self.fields.get("mode") == "pooled"
        if not is_pooled and "pools" in self.fields:
            allowed = "mode: pooled beside it"
            raise self._at("pools", self.fields["pools"]).refuse(allowed)
        if not is_pooled:
            return
        if "background" in self.fields:
            allowed = "nothing: pairs in pools are a background of their own"
            raise self._at("background", self.fields["background"]).refuse(allowed)
        for path, (_, size) in zip(
            ("all_against_all", "combine"), groups, strict=False
        ):
            if size > 2:
                raise self._at(path, size).refuse("pairs: pools are made of pairs")

    def _budget(self) -> Budget:
        given = self.fields.get("budget")
        if isinstance(given, dict):
            return Budget(**given)
        return Budget(complexes=given)

    def _check_labels(self, order: Sequence[_Content]) -> None:
        owners: dict[str, _Content] = {}
        for content in order:
            label = self.partners[content].label
            if owners.setdefault(label.casefold(), content) != content:
                allowed = "names that differ in letters and digits (ASCII)"
                raise self._at("", label).refuse(allowed)

    def _bonds(self) -> Iterator[tuple[BondEnd, BondEnd]]:
        for entry in self._texts("bonds", _BOND):
            ends = re.split(r"\s+-\s+", str(entry.value))
            if len(ends) != 2:
                raise entry.refuse()
            first, second = (self._bond_end(end, entry) for end in ends)
            if first == second:
                raise entry.refuse("two different atoms")
            yield first, second

    def _bond_end(self, text: str, entry: Entry) -> BondEnd:
        match = _BOND_END.fullmatch(text.strip())
        if match is None:
            raise entry.refuse()
        molecule = self.names.find(match["name"], entry)
        self._check_used(molecule, match["name"], entry)
        entity = molecule.entities[0]
        if isinstance(entity, Ligand) and entity.smiles is not None:
            allowed = "a molecule with named atoms; those of a SMILES have no names"
            raise entry.refuse(allowed)
        length = len(entity.codes if isinstance(entity, Ligand) else entity.sequence)
        number = int(match["residue"])
        if not 1 <= number <= length:
            raise entry.refuse(f"a residue of {match['name']} from 1 to {length}")
        atom = Entry(entry.file, entry.path, match["atom"], "an atom name such as CA")
        check_bond_atom(atom, match["atom"], entity, number, standard_components())
        return BondEnd(molecule.digest, number, match["atom"])

    def _check_used(self, molecule: Molecule, name: str, entry: Entry) -> None:
        used = {m.digest for p in self.partners.values() for m, _ in p.terms}
        if molecule.digest not in used:
            shown = Entry(entry.file, entry.path, name, "")
            raise shown.refuse("a name that a complex of this screen has, uncut")


def _mask(
    contents: Iterable[_Content], place: Mapping[_Content, int]
) -> Bool[ndarray, "n"]:
    mask = np.zeros(len(place), bool)
    mask[[place[content] for content in contents]] = True
    return mask


def _role(roles: set[Role]) -> Role:
    [*found] = roles
    return found[0] if len(found) == 1 else "any"
