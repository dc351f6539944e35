"""What a screen puts together: names, patterns, files and sequences, read once.

A `Partner` is written as an expression: `P12345`, `2*P12345` (copies), `P12345:1-300`
(a region), `dsdna:GATTACA`, `HBA + HBB` (a complex of its own). `1-6*P12345` stands for
six partners, `P*` for all names that begin with P, `prey.fasta` for all that is in it.
"""

import difflib
import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path, PurePath
from typing import Any

from alphapulldown_input_parser import FormatError, parse_fold_chains

from af3_core.inputs.chemistry import (
    check_component,
    check_smiles,
    standard_components,
)
from af3_core.inputs.entities import Links
from af3_core.inputs.entry import Entry
from af3_core.inputs.fasta import read_fasta
from af3_core.inputs.given import NONE, modify, read_msa, read_template
from af3_core.inputs.glycans import ALLOWED as GLYCAN
from af3_core.inputs.glycans import IONS, read_glycan
from af3_core.inputs.libraries import LIGAND_SUFFIXES, LibraryLigand, read_library
from af3_core.inputs.molecules import (
    Molecule,
    cut,
    label_of,
    read_region,
    reverse_complement,
)
from af3_core.inputs.rules import CODE, MAX_RESIDUES, SEQUENCE, check_sequence
from af3_core.inputs.text import read_linked_file
from af3_core.inputs.yaml_document import YamlDocument
from af3_core.job import InputError, Ligand, Polymer, PolymerKind

FASTA_SUFFIXES = frozenset({".fasta", ".fa", ".faa", ".fna", ".fas"})
LIST_SUFFIXES = frozenset({".txt", ".list"})
"""Endings of files with one expression on each line, as AlphaPulldown's lists."""
_FILE_SUFFIXES = FASTA_SUFFIXES | LIGAND_SUFFIXES | LIST_SUFFIXES
_COMPRESSED = frozenset({".gz", ".xz", ".zst"})

_COPIES = re.compile(
    r"(?P<low>[0-9]{1,5})(?:-(?P<high>[0-9]{1,5}))?\s*\*\s*(?P<rest>.+)"
)
_UNIPROT = re.compile(r"(?:sp|tr)_(?P<accession>[A-Za-z0-9-]+)_(?P<entry>\w+)")
_POLYMERS: tuple[PolymerKind, ...] = ("protein", "rna", "dna")
_INLINE = (*_POLYMERS, "dsdna", "ccd", "smiles", "glycan", "ion")
_SHOWN = 8
_MSA = "a file with an alignment in A3M format, or none"
_TEMPLATE = "an mmCIF file with one protein chain"
_TERM = (
    "a name, a pattern such as P*, a file, or a sequence or ligand such as dsdna:GATC"
    " or ccd:ATP; copies in front, as in 2*P12345, and a region behind, as in"
    " P12345:1-300"
)


type Terms = tuple[tuple[Molecule, int], ...]
"""Molecules and how many of each."""


@dataclass(frozen=True)
class Partner:
    """One side of a pair: a molecule, copies of it, or a small complex."""

    label: str
    terms: Terms

    @cached_property
    def num_tokens(self) -> int:
        """Of all copies."""
        return sum(copies * molecule.num_tokens for molecule, copies in self.terms)

    @cached_property
    def content(self) -> tuple[tuple[str, int], ...]:
        """Digests of what it is made of, and how many of each, in one order."""
        counts: Counter[str] = Counter()
        for molecule, copies in self.terms:
            counts[molecule.digest] += copies
        return tuple(sorted(counts.items()))

    @property
    def is_ligand(self) -> bool:
        """Whether it has no chain of a polymer."""
        return all(molecule.is_ligand for molecule, _ in self.terms)

    @property
    def is_single(self) -> bool:
        """Whether it is one copy of one molecule."""
        return len(self.terms) == 1 and self.terms[0][1] == 1


def partner_of(terms: Sequence[tuple[Molecule, int]]) -> Partner:
    """Names a partner after what it is made of."""
    parts = [
        molecule.label if copies == 1 else f"{molecule.label}_x{copies}"
        for molecule, copies in terms
    ]
    return Partner("_".join(parts), tuple(terms))


class Names:
    """All that a screen's expressions can refer to; reads each file once."""

    def __init__(self, document: YamlDocument, links: Links) -> None:
        self.document, self.links = document, links
        self.problems: list[InputError] = []
        """Records of files that cannot be used; the rest can."""
        self._molecules: dict[str, Molecule] = {}
        self._aliases: dict[str, str] = {}
        self._definitions: dict[str, Any] = {}
        self._files: dict[Path, list[Molecule]] = {}
        self._open: list[str] = []

    def add_definitions(self, definitions: Mapping[str, Any]) -> None:
        """Names that `define` gives; they are read when something refers to them."""
        for name in definitions:
            if name in self._molecules or name in self._aliases:
                allowed = "a name that no file of sequences has"
                raise self._at(f"define.{name}", name).refuse(allowed)
        self._definitions = dict(definitions)
        for name in definitions:
            self.find(name, self._at(f"define.{name}", name))

    def _at(self, path: str, value: object, allowed: str = "") -> Entry:
        return self.document.entry(path, value, allowed)

    def find(self, name: str, entry: Entry) -> Molecule:
        """The molecule of a name.

        Raises:
            InputError: there is none, or its definition leads back to it.
        """
        name = self._aliases.get(name, name)
        if name in self._molecules:
            return self._molecules[name]
        if name in self._definitions:
            if name in self._open:
                chain = " -> ".join([*self._open[self._open.index(name) :], name])
                path = f"define.{name}"
                allowed = "a definition that does not lead back to itself"
                raise self._at(path, chain).refuse(allowed)
            self._open.append(name)
            molecule = self._define(name, self._definitions[name])
            self._open.pop()
            self._molecules[name] = molecule
            return molecule
        raise self._unknown(name, entry)

    def _unknown(self, name: str, entry: Entry) -> InputError:
        known = [*self._molecules, *self._definitions]
        near = difflib.get_close_matches(name, [*known, *self._aliases], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        shown = ", ".join(known[:_SHOWN]) or "none are given: add sequences or define"
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        refused = replace(entry, value=name)
        return refused.refuse(f"a name of this screen{hint} ({shown}{more})")

    # Definitions

    def _define(self, name: str, given: Any) -> Molecule:
        path = f"define.{name}"
        entry = self._at(path, given)
        label = label_of(name)
        if not label:
            raise replace(entry, value=name).refuse(
                "a name with a letter or digit (ASCII)"
            )
        if isinstance(given, str):
            kind, colon, _ = given.partition(":")
            if colon and kind.strip().lower() in _INLINE:
                return replace(self._inline(given, entry), label=label)
            return replace(self._inline(f"protein:{given}", entry), label=label)
        fields = dict(given)
        [kind] = [key for key in ("of", *_INLINE) if key in fields]
        text = str(fields[kind])
        here = self._at(f"{path}.{kind}", text, _TERM)
        if kind == "of":
            molecule = self._named(text, here)[0]
        else:
            molecule = self._inline(f"{kind}:{text}", here)
        details = set(fields) - {kind}
        if not details:
            return replace(molecule, label=label)
        if len(molecule.entities) != 1 or not isinstance(molecule.entities[0], Polymer):
            extra = sorted(details)[0]
            place = self._at(f"{path}.{extra}", fields[extra])
            raise place.refuse("nothing: only single chains have it")
        chain = self._add_details(molecule.entities[0], fields, path)
        return Molecule(label, (chain,))

    def _add_details(
        self, chain: Polymer, fields: Mapping[str, Any], path: str
    ) -> Polymer:
        chain = modify(
            chain,
            (
                (self._at(place, number), self._at(place, code))
                for number, code in fields.get("modifications", {}).items()
                for place in [f"{path}.modifications.{number}"]
            ),
        )
        msa, paired = fields.get("msa"), fields.get("paired_msa")
        templates = fields.get("templates")
        if chain.kind == "dna" or (chain.kind == "rna" and (paired or templates)):
            for key in ("msa", "paired_msa", "templates"):
                if fields.get(key):
                    entry = self._at(f"{path}.{key}", fields[key])
                    raise entry.refuse(f"nothing: {chain.kind} has none")
        if msa is not None:
            entry = self._at(f"{path}.msa", msa, _MSA)
            chain = replace(chain, unpaired_msa=read_msa(entry, chain, self.links))
            if chain.kind == "protein":
                entry = self._at(f"{path}.paired_msa", paired or NONE, _MSA)
                chain = replace(chain, paired_msa=read_msa(entry, chain, self.links))
        elif paired is not None:
            raise self._at(f"{path}.paired_msa", paired).refuse("a field msa beside it")
        if templates is None:
            return chain
        if templates == NONE:
            return replace(chain, templates=())
        if chain.unpaired_msa is None:
            allowed = "a field msa beside it (msa: none to go without an alignment)"
            raise self._at(f"{path}.templates", templates).refuse(allowed)
        entries = [self._at(f"{path}.templates", templates, _TEMPLATE)]
        if isinstance(templates, list):
            entries = [
                self._at(f"{path}.templates[{index}]", file, _TEMPLATE)
                for index, file in enumerate(templates)
            ]
        found = tuple(read_template(entry, chain, self.links) for entry in entries)
        return replace(chain, templates=found)

    # Inline sequences and ligands

    def _inline(self, text: str, entry: Entry) -> Molecule:
        """`protein:MKT`, `dsdna:GATC`, `ccd:ATP`, `smiles:CCO`, `ion:zinc`, …"""
        kind, _, content = text.partition(":")
        kind, content = kind.strip().lower(), content.strip()
        if kind in ("protein", "rna", "dna", "dsdna"):
            strand: PolymerKind = "dna" if kind == "dsdna" else kind
            stated = replace(entry, value=content.upper(), allowed=SEQUENCE[strand])
            letters = check_sequence(stated, strand)
            chain = Polymer(kind=strand, ids=(), sequence=letters)
            entities = (chain,)
            if kind == "dsdna":
                other = replace(chain, sequence=reverse_complement(letters))
                entities = (chain, other)
            molecule = Molecule("", entities)
            return replace(molecule, label=f"{kind}-{molecule.digest[:8]}")
        if kind == "smiles":
            return self._smiles(content, replace(entry, value=content))
        if kind == "glycan":
            try:
                glycan = read_glycan(content)
            except ValueError as error:
                raise replace(entry, value=content).refuse(GLYCAN) from error
            bonds = tuple(((0, *a), (0, *b)) for a, b in glycan.bonds)
            molecule = Molecule("", (Ligand(ids=(), codes=glycan.codes),), bonds)
            is_name = content.isalnum()
            label = content if is_name else f"glycan-{molecule.digest[:8]}"
            return replace(molecule, label=label)
        code = content.removeprefix("CCD_")
        if kind == "ion":
            code = IONS.get(content.lower(), code)
        stated = replace(entry, value=code, allowed=CODE)
        check_component(stated, standard_components())
        return Molecule(label_of(code), (Ligand(ids=(), codes=(code,)),))

    def _smiles(self, smiles: str, entry: Entry) -> Molecule:
        check_smiles(entry, smiles)
        molecule = Molecule("", (Ligand(ids=(), smiles=smiles),))
        return replace(molecule, label=f"ligand-{molecule.digest[:8]}")

    # Files

    def read_sequences(self, entry: Entry) -> None:
        """Makes the records of a FASTA file known by name."""
        name = str(entry.value)
        if _suffix(name) not in FASTA_SUFFIXES:
            endings = ", ".join(sorted(FASTA_SUFFIXES))
            raise entry.refuse(f"a FASTA file that ends in {endings}")
        self._read_file(name, entry)

    def _read_file(self, name: str, entry: Entry) -> list[Molecule]:
        path = self.links.folder / name
        if path not in self._files:
            readable = replace(entry, value=name, allowed="a readable file")
            links = self.links
            text = read_linked_file(
                readable, links.folder, links.allowed_roots, replace=True
            )
            suffix, file = _suffix(name), str(path)
            before = len(self.problems)
            if suffix in FASTA_SUFFIXES:
                kind = None if suffix == ".fna" else "protein"
                found = list(self._read_fasta(text, file, kind))
            else:
                found = list(self._read_ligands(text, suffix, file))
            if not found and len(self.problems) == before:
                raise readable.refuse("a file with at least one record")
            self._files[path] = found
        return self._files[path]

    def _read_fasta(
        self, text: str, file: str, kind: PolymerKind | None
    ) -> Iterator[Molecule]:
        for read in read_fasta(text, file, (1,), kind):
            if isinstance(read, InputError):
                self.problems.append(read)
                continue
            if sum(len(entity.ids) for entity in read.entities) != 1:
                allowed = "a single chain; complexes go into the field complexes"
                error = InputError(file, read.record, read.name, allowed)
                self.problems.append(error.of(read.record))
                continue
            match = _UNIPROT.fullmatch(read.name)
            name = match["accession"] if match else read.name
            chain = replace(read.entities[0], ids=())
            molecule = Molecule(label_of(name), (chain,))
            if self._claim(name, molecule, Entry(file, read.record, name, "")):
                yield self._molecules[name]
                if match:
                    self._aliases.setdefault(read.name, name)
                    self._aliases.setdefault(match["entry"], name)

    def _read_ligands(self, text: str, suffix: str, file: str) -> Iterator[Molecule]:
        for read in read_library(text, suffix, file):
            if isinstance(read, InputError):
                self.problems.append(read)
                continue
            try:
                molecule = self._library_ligand(read, file)
            except InputError as error:
                self.problems.append(error.of(read.where))
                continue
            name = read.name or molecule.label
            entry = Entry(file, read.where, name, "")
            if self._claim(name, molecule, entry):
                yield self._molecules[name]

    def _library_ligand(self, read: LibraryLigand, file: str) -> Molecule:
        entry = Entry(file, f"{read.where}, {read.kind}", read.text, "")
        molecule = self._inline(f"{read.kind}:{read.text}", entry)
        label = label_of(read.name or "")
        return replace(molecule, label=label) if label else molecule

    def _claim(self, name: str, molecule: Molecule, entry: Entry) -> bool:
        """Whether a name is free, or stands for the same; else it is a problem."""
        known = self._molecules.setdefault(name, molecule)
        if known.digest == molecule.digest:
            return True
        allowed = "a name for one sequence or ligand; another record has it already"
        self.problems.append(entry.refuse(allowed).of(entry.path))
        return False

    # Expressions

    def select(self, entries: Iterable[Entry]) -> Iterator[Partner]:
        """All partners of a selection, in its order; some may be equal in content.

        Raises:
            InputError: an expression of the document means nothing.
        """
        for entry in entries:
            yield from self._expand(entry)

    def _expand(self, entry: Entry) -> Iterator[Partner]:
        text = str(entry.value).strip()
        if _suffix(text) in LIST_SUFFIXES and _prefix(text) not in _INLINE:
            yield from self._read_list(text, entry)
            return
        for terms in product(*(self._term(part, entry) for part in split_terms(text))):
            yield partner_of(terms)

    def complexes(self, entry: Entry) -> Iterator[Terms]:
        """What each complex that an expression stands for is made of."""
        parts = split_terms(str(entry.value))
        return product(*(self._term(part, entry) for part in parts))

    def _term(self, text: str, entry: Entry) -> list[tuple[Molecule, int]]:
        """Molecules that one term stands for, and how many copies of each."""
        refused = replace(entry, value=text or entry.value, allowed=_TERM)
        if not text:
            raise refused.refuse()
        match = _COPIES.fullmatch(text)
        low = high = 1
        if match is not None:
            text = match["rest"]
            low = int(match["low"])
            high = int(match["high"] or low)
            if not 1 <= low <= high <= MAX_RESIDUES:
                allowed = (
                    f"numbers of copies from 1 to {MAX_RESIDUES}, as in 1-6*P12345"
                )
                raise refused.refuse(allowed)
        copies = range(low, high + 1)
        if _prefix(text) in _INLINE:
            molecules = [self._inline(text, refused)]
        elif _suffix(text) in _FILE_SUFFIXES:
            molecules = self._read_file(text, refused)
        else:
            molecules, number = self._named_or_pattern(text, refused)
            if number is not None:
                copies = range(number, number + 1)
        return [(molecule, number) for molecule in molecules for number in copies]

    def _named_or_pattern(
        self, text: str, entry: Entry
    ) -> tuple[list[Molecule], int | None]:
        name = text.partition(":")[0]
        if not re.search(r"[*?\[]", name):
            molecule, number = self._named(text, entry)
            return [molecule], number
        if ":" in text:
            raise entry.refuse("a pattern without a region, or a name with one")
        for defined in self._definitions:
            self.find(defined, entry)
        names = fnmatch.filter(self._molecules, text)
        names += [self._aliases[alias] for alias in fnmatch.filter(self._aliases, text)]
        if not names:
            raise self._unknown(text, entry)
        return [self._molecules[name] for name in dict.fromkeys(names)], None

    def _named(self, text: str, entry: Entry) -> tuple[Molecule, int | None]:
        """`NAME`, `NAME:2` (copies), `NAME:1-300` and `NAME:2:1-100:150-200`."""
        name, *suffixes = (part.strip() for part in text.split(":"))
        molecule = self.find(name, entry)
        numbers = [int(part) for part in suffixes if re.fullmatch("[0-9]{1,5}", part)]
        regions = [part for part in suffixes if not re.fullmatch("[0-9]{1,5}", part)]
        if len(numbers) > 1 or not all(1 <= n <= MAX_RESIDUES for n in numbers):
            raise entry.refuse()
        if regions:
            molecule = self._cut(molecule, regions, entry)
        return molecule, numbers[0] if numbers else None

    def _cut(self, molecule: Molecule, texts: Sequence[str], entry: Entry) -> Molecule:
        [*chains] = molecule.entities
        if len(chains) != 1 or not isinstance(chains[0], Polymer):
            raise entry.refuse("no region: only single chains have one")
        length = len(chains[0].sequence)
        allowed = f"a region of {molecule.label}, which has residues 1-{length}"
        stated = (replace(entry, value=text, allowed=allowed) for text in texts)
        return cut(molecule, [read_region(one, length) for one in stated])

    # Lists, AlphaPulldown's among them

    def _read_list(self, name: str, entry: Entry) -> Iterator[Partner]:
        for line in self.read_lines(name, entry):
            try:
                yield partner_of(self._fold(line))
            except InputError as error:
                self.problems.append(error.of(line.path))

    def read_folds(self, name: str, entry: Entry) -> Iterator[Terms]:
        """The complexes of a sheet of AlphaPulldown's: one on each line."""
        for line in self.read_lines(name, entry):
            try:
                yield tuple(self._fold(line))
            except InputError as error:
                self.problems.append(error.of(line.path))

    def read_lines(self, name: str, entry: Entry) -> list[Entry]:
        """Lines of a list that say something, with where they stand."""
        path = self.links.folder / name
        readable = replace(entry, value=name, allowed="a readable file")
        text = read_linked_file(readable, self.links.folder, self.links.allowed_roots)
        lines = [
            Entry(str(path), f"line {number}", line.strip(), _TERM)
            for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        if not lines:
            raise readable.refuse("a file with at least one line")
        return lines

    def _fold(self, line: Entry) -> list[tuple[Molecule, int]]:
        """A line as AlphaPulldown reads it: `A:2:1-100+B`."""
        text = str(line.value)
        if _prefix(text) in _INLINE or "*" in text or " + " in text:
            return [
                term for part in split_terms(text) for term in self._term(part, line)
            ]
        try:
            folds = parse_fold_chains(text, "+")
        except FormatError as error:
            raise line.refuse() from error
        terms = []
        for name, copies, selection in folds:
            if not 1 <= copies <= MAX_RESIDUES:
                raise line.refuse()
            if _suffix(name) in FASTA_SUFFIXES:
                molecules = self._read_file(name, line)
            else:
                molecules = [self.find(name, line)]
            if selection.regions is not None:
                regions = [f"{r.start}-{r.end}" for r in selection.regions]
                molecules = [self._cut(m, regions, line) for m in molecules]
            terms += [(molecule, copies) for molecule in molecules]
        if not terms:
            raise line.refuse()
        return terms


def split_terms(text: str) -> list[str]:
    """The terms of `A + 2*B`; a plus sign within a SMILES string parts nothing."""
    text = text.strip()
    parts = re.split(r"\s+\+\s+", text)
    if len(parts) == 1 and not any(f"{kind}:" in text for kind in ("smiles", "glycan")):
        parts = text.split("+")
    return [part.strip() for part in parts]


def _prefix(text: str) -> str:
    head, colon, _ = text.partition(":")
    return head.strip().lower() if colon else ""


def _suffix(text: str) -> str:
    suffixes = [suffix.lower() for suffix in PurePath(text).suffixes[-2:]]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def is_file_name(text: str) -> bool:
    """Whether a text is taken for the name of a file."""
    return _suffix(text) in _FILE_SUFFIXES and _prefix(text) not in _INLINE
