"""What a network is trained on: structures, and the features of their sequences."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import yaml

from af3_core.contracts import JOBS
from af3_core.job import InputError
from af3_core.structures.structure_file import parse_structure
from af3_core.training.examples import ATOMS_PER_WINDOW, SLOTS_PER_TOKEN, make_example
from af3_core.training.jobs import job_for
from af3_core.training.loop import Subject
from workflow.campaign import Campaign
from workflow.databases.manifest import COLUMNS
from workflow.results.features_file import read_job_arrays
from workflow.results.references import STRUCTURES
from workflow.tables import read_rows


class Bucket(pydantic.BaseModel, frozen=True, extra="forbid"):
    """A padded size; examples of one size share one compiled step."""

    tokens: pydantic.PositiveInt
    windows: pydantic.PositiveInt | None = None
    """Of 32 atoms; None: as many as the tokens could fill."""

    @property
    def num_windows(self) -> int:
        """Windows of atoms, whether stated or not."""
        return self.windows or self.tokens * SLOTS_PER_TOKEN // ATOMS_PER_WINDOW


class ExampleSet(pydantic.BaseModel, frozen=True, extra="forbid"):
    """What is learnt from. Paths in the file are relative to the file."""

    model: Path
    """A ModelConfig as JSON."""
    start: Path | None = None
    """A checkpoint to start from instead of random parameters: fine-tuning."""
    databases: Path | None = None
    """Table of sequence databases (docs/databases.md); None: nothing is searched."""
    learn: tuple[Path, ...]
    """Structures, mmCIF or PDB, that the network learns to predict; folders of them."""
    shares: dict[str, pydantic.PositiveInt] = {}
    """How often one of `learn`, by its file's name, comes in a round; else once."""
    doubt: tuple[Path, ...] = ()
    """Structures that only the confidence head sees, unsearched; folders of them."""
    seeds: tuple[int, ...] = (1,)
    """Conformers of these seeds are learnt from in turn."""
    buckets: tuple[Bucket, ...]
    msa_rows: pydantic.PositiveInt = 1024
    """Padded depth of alignments."""
    training: dict[str, Any] = {}
    """Fields of `af3_core.training.settings.Training`."""


@dataclass(frozen=True)
class Known:
    """One structure of a folder."""

    name: str
    text: str
    learn: bool


def read_example_set(path: Path) -> ExampleSet:
    """Reads the file of `--examples`.

    Raises:
        InputError: not there, not JSON, or not an `ExampleSet`.
    """
    try:
        found = ExampleSet.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        allowed = "JSON with the fields of docs/training.md"
        raise InputError(str(path), "--examples", str(error), allowed) from error
    folder = path.parent.resolve()
    given: dict[str, Any] = {
        name: folder / value
        for name in ("model", "start", "databases")
        if (value := getattr(found, name)) is not None
    }
    for name in ("learn", "doubt"):
        given[name] = tuple(folder / value for value in getattr(found, name))
    return found.model_copy(update=given)


def read_structures(examples: ExampleSet) -> list[Known]:
    """All structures, those to be learnt first.

    Raises:
        InputError: a path where there is none, a share of a structure not learnt.
    """
    known = []
    for paths, learn in ((examples.learn, True), (examples.doubt, False)):
        for path in (file for given in paths for file in _structure_files(given)):
            data = path.read_bytes()
            text = gzip.decompress(data) if path.suffix == ".gz" else data
            name = Path(path.name.removesuffix(".gz")).stem
            known.append(Known(name, text.decode("utf-8"), learn))
    learnt = {one.name for one in known if one.learn}
    for name in examples.shares.keys() - learnt:
        allowed = f"one of {', '.join(sorted(learnt))}"
        raise InputError("shares", name, "not a structure of `learn`", allowed)
    return known


def _structure_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        allowed = "mmCIF or PDB files, or folders of them"
        raise InputError(str(path), "learn, doubt", "no such file", allowed)
    return [
        file
        for file in sorted(path.iterdir())
        if Path(file.name.removesuffix(".gz")).suffix in STRUCTURES
    ]


def make_subjects(
    folder: Path, examples: ExampleSet, known: Sequence[Known]
) -> list[Subject]:
    """Every structure with the features that the workflow makes of its sequences.

    Raises:
        RuntimeError: features could not be made; the workflow's own log says why.
        InputError: a job that fits no bucket, or that is not of its structure.
    """
    make_features(folder, examples, known)
    jobs = read_rows(Campaign(folder).plan / "jobs.parquet", JOBS)
    job_ids = {row.name: row.job_id for row in jobs}
    return [
        _make_subject(one, Campaign(folder).features(job_ids[one.name]), examples)
        for one in known
    ]


def make_features(folder: Path, examples: ExampleSet, known: Iterable[Known]) -> None:
    """Runs the workflow in `folder` as far as the features, or goes on there.

    Raises:
        InputError: a file that is no structure, or has no job.
        RuntimeError: features could not be made; the workflow's own log says why.
    """
    inputs = folder / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    for one in known:
        search = one.learn and examples.databases is not None
        try:
            job = job_for(one.text, one.name, examples.seeds, search=search)
        except ValueError as error:
            allowed = "proteins, RNA, DNA and ligands as mmCIF or PDB"
            raise InputError(one.name, "structure", str(error), allowed) from error
        text = json.dumps(job, indent=2) + "\n"
        (inputs / f"{one.name}.json").write_text(text, encoding="utf-8")
    databases = examples.databases
    if databases is None:
        databases = folder / "databases.tsv"
        databases.write_text("\t".join(COLUMNS) + "\n", encoding="utf-8")
    settings = {
        "inputs": ["inputs"],
        "search": {"databases": str(databases), "store": "store"},
        # Weights have to be a file that is there; features do not depend on them.
        "model": {"checkpoint": str(examples.model)},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "workflow.cli", "run", "--directory", str(folder)]
    if subprocess.run([*command, "--until", "featurise"], check=False).returncode:
        raise RuntimeError(f"features could not be made: see {folder / 'logs'}")


def _make_subject(one: Known, path: Path, examples: ExampleSet) -> Subject:
    """One structure in the smallest bucket that holds it, once for every seed."""
    try:
        structure = parse_structure(one.text, one.name)
        variants = []
        for seed in examples.seeds:
            features, reference = read_job_arrays(path, seed)
            num_atoms = int(features.atom_mask.sum())
            bucket = find_bucket(examples.buckets, features.num_tokens, num_atoms)
            variants.append(
                make_example(
                    features,
                    reference,
                    structure,
                    bucket.tokens,
                    msa_rows=examples.msa_rows,
                    num_windows=bucket.windows,
                )
            )
    except ValueError as error:
        allowed = "a structure and a bucket that fit its job"
        raise InputError(one.name, "structure", str(error), allowed) from error
    share = examples.shares.get(one.name, 1)
    return Subject(one.name, tuple(variants), one.learn, share)


def find_bucket(buckets: Iterable[Bucket], num_tokens: int, num_atoms: int) -> Bucket:
    """The smallest that holds a job. Raises ValueError if there is none."""
    fitting = [
        bucket
        for bucket in buckets
        if num_tokens <= bucket.tokens
        and num_atoms <= bucket.num_windows * ATOMS_PER_WINDOW
    ]
    if not fitting:
        raise ValueError(f"no bucket holds {num_tokens} tokens and {num_atoms} atoms")
    return min(fitting, key=lambda bucket: (bucket.tokens, bucket.num_windows))
