"""Takes up alignments and templates that other programs have found.

AlphaFold 3's `NAME_data.json` (alone, or anywhere in an output tree, also compressed)
and folders of A3M files, as ColabFold leaves them, go into the search store under a
label that says where they are from. A campaign that names the label (`search.imported`)
uses them for equal sequences in place of a search, as if its inputs had brought them.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from af3_core.contracts import IMPORTED
from af3_core.inputs.a3m import find_a3m_problem
from af3_core.inputs.files import iterate_jobs
from af3_core.job import InputError, Job, Polymer, PolymerKind, Template
from workflow.store.entries import Key, Store, make_key
from workflow.tables import replacing

_DATA = ("*_data.json", "*_data.json.gz", "*_data.json.xz", "*_data.json.zst")
_PICKLES = (".pkl", ".pickle")


@dataclass(frozen=True)
class Evidence:
    """What was found for one sequence elsewhere; None: nothing is known."""

    kind: PolymerKind
    sequence: str
    unpaired_msa: str | None
    paired_msa: str | None
    templates: tuple[Template, ...] | None
    source: str
    """The file it was read from."""


@dataclass(frozen=True)
class Imported:
    """What an import came to."""

    sequences: int
    """Distinct ones that now have evidence under the label."""
    problems: tuple[InputError, ...]
    """Files that were left out, and why."""


def import_folder(folder: Path, store: Store, label: str) -> Imported:
    """Puts all evidence of a file or folder into the store under a label.

    Of two files about one sequence the later, by name, counts.

    Raises:
        InputError: no such folder, or nothing in it that can be read; or the label
            cannot be one.
    """
    label_path(store, label)
    if not folder.exists():
        allowed = "a folder of AlphaFold 3's or ColabFold's results"
        raise InputError(str(folder), "folder", "no such folder", allowed)
    found: set[tuple[str, str]] = set()
    problems: list[InputError] = []
    for read in _read_folder(folder):
        if isinstance(read, InputError):
            problems.append(read)
            continue
        key = imported_key(read.kind, read.sequence, label)
        store.put(key, IMPORTED.table([_row(read)]))
        found.add((read.kind, read.sequence))
    if not (found or problems):
        allowed = "files named *_data.json or *.a3m, somewhere below"
        raise InputError(str(folder), "folder", "nothing to import", allowed)
    with replacing(label_path(store, label)) as temporary:
        # Plans that used the label know by this file that there is more.
        temporary.write_text(f"{len(found)} from {folder}\n", encoding="utf-8")
    return Imported(len(found), tuple(problems))


def label_path(store: Store, label: str) -> Path:
    """The file that says what was last imported under a label.

    Raises:
        InputError: the label cannot be a file's name.
    """
    if not re.fullmatch(r"\w[\w.-]*", label):
        allowed = "letters, digits, '_', '-' and '.'"
        raise InputError("foldmill import", "--label", label, allowed)
    return store.folder / "imported" / f"{label}.label"


def imported_key(kind: PolymerKind, sequence: str, label: str) -> Key:
    """The store's key of what a label has for a sequence."""
    return make_key(IMPORTED, kind=kind, sequence=sequence, label=label)


def pairing_label(label: str, sequences: Collection[str]) -> str:
    """Under which a label has the paired rows of a complex of these sequences."""
    return f"{label} {','.join(sorted(set(sequences)))}"


def with_imported(job: Job, store: Store, labels: Sequence[str]) -> Job:
    """The job with what the first of these labels has for each chain.

    What a job brings along stays: only what would be searched is filled in.
    """
    proteins = {
        entity.sequence
        for entity in job.entities
        if isinstance(entity, Polymer) and entity.kind == "protein"
    }
    entities = tuple(
        _filled(entity, store, labels, proteins)
        if isinstance(entity, Polymer)
        else entity
        for entity in job.entities
    )
    return replace(job, entities=entities)


def _filled(
    polymer: Polymer, store: Store, labels: Sequence[str], proteins: Collection[str]
) -> Polymer:
    if polymer.unpaired_msa is not None or polymer.kind == "dna":
        return polymer
    for label in labels:
        table = store.get(imported_key(polymer.kind, polymer.sequence, label))
        if table is None:
            continue
        (row,) = table.to_pylist()
        if len(proteins) > 1:
            of_complex = pairing_label(label, proteins)
            paired = store.get(imported_key(polymer.kind, polymer.sequence, of_complex))
            if paired is not None:
                row |= {"paired_msa": paired["paired_msa"][0].as_py()}
        known = row["templates"]
        return replace(
            polymer,
            unpaired_msa=row["unpaired_msa"],
            paired_msa=(
                row["paired_msa"] if polymer.paired_msa is None else polymer.paired_msa
            ),
            templates=(
                tuple(_template(values) for values in json.loads(known))
                if polymer.templates is None and known is not None
                else polymer.templates
            ),
        )
    return polymer


def _template(values: Mapping[str, Any]) -> Template:
    return Template(
        mmcif=values["mmcif"],
        query_indices=tuple(values["queryIndices"]),
        template_indices=tuple(values["templateIndices"]),
    )


def _row(evidence: Evidence) -> dict[str, object]:
    templates = None
    if evidence.templates is not None:
        templates = json.dumps(
            [
                {
                    "mmcif": template.mmcif,
                    "queryIndices": template.query_indices,
                    "templateIndices": template.template_indices,
                }
                for template in evidence.templates
            ]
        )
    return {**vars(evidence), "templates": templates}


def _read_folder(folder: Path) -> Iterator[Evidence | InputError]:
    if folder.is_file():
        yield from _read_file(folder)
        return
    data = {path for pattern in _DATA for path in folder.rglob(pattern)}
    alignments = set(folder.rglob("*.a3m"))
    for path in sorted(data | alignments):
        yield from _read_file(path)
    pickles = [p for p in folder.rglob("*") if p.suffix in _PICKLES]
    if pickles and not (data or alignments):
        allowed = (
            "JSON or A3M: Python's pickles run whatever is in them when they are read."
            " AlphaPulldown writes AlphaFold 3 JSON with --data_pipeline=alphafold3"
        )
        yield InputError(str(folder), "folder", f"{len(pickles)} pickles", allowed)


def _read_file(path: Path) -> Iterator[Evidence | InputError]:
    try:
        if path.suffix == ".a3m":
            yield _read_a3m(path)
        else:
            yield from _read_data(path)
    except (InputError, OSError) as error:
        if isinstance(error, InputError):
            yield error
        else:
            reason = error.strerror or type(error).__name__
            yield InputError(str(path), "file", reason, "a readable file")


def _read_data(path: Path) -> Iterator[Evidence | InputError]:
    """The chains of AlphaFold 3's own JSON that have alignments."""
    for job in iterate_jobs(path):
        if isinstance(job, InputError):
            yield job
            continue
        for entity in job.entities:
            if isinstance(entity, Polymer) and entity.unpaired_msa is not None:
                yield Evidence(
                    kind=entity.kind,
                    sequence=entity.sequence,
                    unpaired_msa=entity.unpaired_msa,
                    paired_msa=entity.paired_msa,
                    templates=entity.templates,
                    source=str(path),
                )


def _read_a3m(path: Path) -> Evidence:
    """An alignment whose first row is its query.

    Raises:
        InputError: it is none, or of a complex as ColabFold writes those.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        found = f"byte {error.start} is not valid UTF-8"
        raise InputError(str(path), "file", found, "text in UTF-8") from error
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if first.startswith("#") and "," in first:
        allowed = "alignments of single chains; ColabFold's of complexes are joined"
        raise InputError(str(path), "line 1", first, allowed)
    query: list[str] = []
    for line in lines:
        if line.startswith(">") and query:
            break
        if line.startswith(">"):
            query.append("")
        elif query:
            query[0] += line.strip()
    sequence = query[0].upper() if query else ""
    kind: PolymerKind = (
        "rna" if sequence and set(sequence) <= set("ACGUN") else "protein"
    )
    problem = find_a3m_problem(text, sequence, kind)
    if problem is not None or not sequence:
        allowed = problem or "an alignment in A3M format, its query first"
        raise InputError(str(path), "alignment", sequence[:40], allowed)
    paired = "" if kind == "protein" else None
    return Evidence(kind, sequence, text, paired, None, str(path))
