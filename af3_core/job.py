"""The input language: what a user asks for, checked, in one frozen value.

`inputs.files.read_jobs` understands AlphaFold 3 JSON (dialects `alphafold3` 1–4 and
`alphafoldserver`), FASTA and CSV sample sheets; `write_job` turns any job back into
AlphaFold 3 JSON. Whatever cannot be accepted is an `InputError`. `docs/input.md` is
the language as users read it.
"""

import hashlib
import json
import string
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from reprlib import repr as short_repr
from typing import Literal

PolymerKind = Literal["protein", "rna", "dna"]
ChainKind = Literal["protein", "rna", "dna", "ligand"]

JSON_VERSION = 4
"""The version of the `alphafold3` dialect that `write_job` writes."""
MAX_SEED = 2**32 - 1
"""Seeds are unsigned 32-bit integers."""
MODIFICATION_KEYS: Mapping[PolymerKind, tuple[str, str]] = {
    "protein": ("ptmType", "ptmPosition"),
    "rna": ("modificationType", "basePosition"),
    "dna": ("modificationType", "basePosition"),
}
"""What AlphaFold 3 JSON calls a modification's code and position."""


class InputError(ValueError):
    """The user's input is at fault; the message lets the user mend it.

    Attributes:
        file: the input as the user named it.
        field: path inside it, such as `sequences[2].protein.sequence`.
        value: what was found there, shortened.
        allowed: what would have been accepted, as a sentence.
        record: which of the file's jobs is at fault, such as `record 3 (P84927)`; empty
            where the file holds one job, or is at fault as a whole.
    """

    record = ""

    def __init__(self, file: str, field: str, value: object, allowed: str) -> None:
        shown = value if isinstance(value, str) else short_repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        self.file, self.field = _printable(file), _printable(field)
        self.value, self.allowed = _printable(shown), _printable(allowed)
        super().__init__(self.file, self.field, self.value, self.allowed)

    def __str__(self) -> str:
        where = self.field
        if self.record and not where.startswith(self.record):
            # "line 3, chains" of the record "line 3 (P84927)" need not say it twice.
            number = self.record.partition(" (")[0]
            where = f"{self.record}, {where.removeprefix(number).removeprefix(', ')}"
        return f"{self.file}: {where}: got {self.value!r}; allowed: {self.allowed}"

    def of(self, record: str) -> "InputError":
        """The same error, once it is known which of the file's jobs is at fault."""
        self.record = _printable(record)
        return self


def _printable(text: str) -> str:
    """Text that any file can hold, whatever a file name or an escape was made of."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True)
class Modification:
    """A residue replaced by a component of the chemical component dictionary."""

    code: str
    position: int
    """1-based residue number."""


@dataclass(frozen=True)
class Template:
    """A structure of one chain, aligned to the query residue by residue."""

    mmcif: str
    """Text of the mmCIF file, one chain."""
    query_indices: tuple[int, ...]
    """0-based residues of the query …"""
    template_indices: tuple[int, ...]
    """… and the 0-based residues of the template they align with."""


@dataclass(frozen=True)
class Polymer:
    """A protein, RNA or DNA sequence and its copies.

    MSAs are A3M text. None means "search for it"; "" means "none wanted". Templates
    likewise: None or a possibly empty tuple. RNA has no paired MSA and no templates,
    DNA has no MSA at all; both then stay None.
    """

    kind: PolymerKind
    ids: tuple[str, ...]
    """One chain id per copy."""
    sequence: str
    """One-letter codes, upper case, before modification."""
    modifications: tuple[Modification, ...] = ()
    unpaired_msa: str | None = None
    paired_msa: str | None = None
    templates: tuple[Template, ...] | None = None
    description: str | None = None


@dataclass(frozen=True)
class Ligand:
    """A ligand or ion and its copies: component codes or a SMILES string."""

    ids: tuple[str, ...]
    codes: tuple[str, ...] = ()
    """One code per component, in order; several for glycans and the like."""
    smiles: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class BondAtom:
    """One end of a covalent bond that the user states."""

    chain_id: str
    residue_id: int
    """1-based."""
    atom_name: str


@dataclass(frozen=True, slots=True)
class ScreenChain:
    """Which partner of a screen a chain of a job belongs to."""

    chain_id: str
    partner: str
    copy: int
    """0, and 1, 2, … for further partners of one label."""
    role: Literal["bait", "prey", "any"]
    num_tokens: int
    """Of the partner."""
    ligand: str | None = None
    """`smiles:CCO`, or `ccd:` and codes; None for chains of polymers."""


@dataclass(frozen=True, slots=True)
class FirstPass:
    """Why a pair is computed again: what it was in another campaign."""

    campaign: str
    by: str
    score: float
    rank: int
    """1 is the best."""


@dataclass(frozen=True, slots=True)
class ScreenPlace:
    """What a job is for in its screen."""

    screen: str
    kind: Literal["asked", "background"]
    chains: tuple[ScreenChain, ...]
    first: FirstPass | None = None


@dataclass(frozen=True)
class Job:
    """One complex to predict, with any number of seeds."""

    name: str
    seeds: tuple[int, ...]
    entities: tuple[Polymer | Ligand, ...]
    bonds: tuple[tuple[BondAtom, BondAtom], ...] = ()
    user_ccd: str | None = None
    """Text of an mmCIF file with the user's own components."""
    record: str = field(default="", compare=False)
    """Where in its file it stands, such as `record 3 (P84927), line 5`; empty if the
    file holds one job."""
    place: ScreenPlace | None = field(default=None, compare=False)
    """Its place in a screen; None if it is of none."""


def sanitise_name(name: str) -> str:
    """The job's name as folders and files carry it: AlphaFold 3's own rule.

    Spaces become underscores; whatever is not an ASCII letter, a digit, `_`, `-` or
    `.` is dropped.
    """
    kept = frozenset(string.ascii_letters + string.digits + "_-.")
    return "".join(letter for letter in name.replace(" ", "_") if letter in kept)


def chain_id_at(index: int) -> str:
    """The id of the `index`-th chain (0-based) where the input names none.

    mmCIF's custom, least significant letter first: A … Z, AA, BA, … ZA, AB, …
    """
    letters = ""
    while index >= 0:
        letters += string.ascii_uppercase[index % 26]
        index = index // 26 - 1
    return letters


def write_job(job: Job) -> str:
    """The job as AlphaFold 3 JSON, version 4; reading it gives an equal job."""
    # Alignments may be of hundreds of megabytes, so no text is made twice.
    parts = ["{"]
    for key, value in describe_job(job).items():
        parts += ["\n" if parts == ["{"] else ",\n", f'  "{key}": ']
        if key != "sequences":
            parts.append(json.dumps(value))
            continue
        for number, entity in enumerate(_describe_entities(job)):
            parts += [",\n    " if number else "[\n    ", json.dumps(entity)]
        parts.append("\n  ]")
    return "".join([*parts, "\n}\n"])


def job_digest(job: Job) -> str:
    """SHA-256, in hexadecimal, of everything the job says."""
    return _digest(describe_job(job))


def content_digest(job: Job) -> str:
    """SHA-256, in hexadecimal, of what decides the job's features.

    Name, seeds and descriptions are left out, so the same complex asked for twice
    has one digest.
    """
    entities = tuple(replace(entity, description=None) for entity in job.entities)
    return _digest(describe_job(replace(job, name="", seeds=(), entities=entities)))


def _digest(description: Mapping[str, object]) -> str:
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def describe_job(job: Job) -> dict[str, object]:
    """The job as the object that its AlphaFold 3 JSON holds."""
    description: dict[str, object] = {
        "dialect": "alphafold3",
        "version": JSON_VERSION,
        "name": job.name,
        "modelSeeds": list(job.seeds),
        "sequences": _describe_entities(job),
    }
    if job.bonds:
        description["bondedAtomPairs"] = [
            [[end.chain_id, end.residue_id, end.atom_name] for end in bond]
            for bond in job.bonds
        ]
    if job.user_ccd is not None:
        description["userCCD"] = job.user_ccd
    return description


def _describe_entities(job: Job) -> list[dict[str, object]]:
    return [
        {"ligand": _describe_ligand(entity)}
        if isinstance(entity, Ligand)
        else {entity.kind: _describe_polymer(entity)}
        for entity in job.entities
    ]


def _describe_ids(ids: tuple[str, ...]) -> str | list[str]:
    return ids[0] if len(ids) == 1 else list(ids)


def _describe_ligand(ligand: Ligand) -> dict[str, object]:
    content: dict[str, object] = {
        "smiles": ligand.smiles,
        "description": ligand.description,
    }
    if ligand.codes:
        content["ccdCodes"] = list(ligand.codes)
    return {"id": _describe_ids(ligand.ids)} | _present(content)


def _describe_polymer(polymer: Polymer) -> dict[str, object]:
    content: dict[str, object] = {
        "description": polymer.description,
        "unpairedMsa": polymer.unpaired_msa,
        "pairedMsa": polymer.paired_msa,
    }
    if polymer.modifications:
        code_key, position_key = MODIFICATION_KEYS[polymer.kind]
        content["modifications"] = [
            {code_key: modification.code, position_key: modification.position}
            for modification in polymer.modifications
        ]
    if polymer.templates is not None:
        content["templates"] = [
            {
                "mmcif": template.mmcif,
                "queryIndices": list(template.query_indices),
                "templateIndices": list(template.template_indices),
            }
            for template in polymer.templates
        ]
    head = {"id": _describe_ids(polymer.ids), "sequence": polymer.sequence}
    return head | _present(content)


def _present(content: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in content.items() if value is not None}
