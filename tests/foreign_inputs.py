"""Runs foreign inputs through our reader and compares with AlphaFold 3's answers.

    python -m tests.foreign_inputs FOLDER …

reads every input file below the folders and prints a line for each: what AlphaFold 3
decided, what we decide, and whether the features are equal. What AlphaFold 3 did is
recorded beside the inputs:

    NAME.npz        it accepted NAME.json, and these are the features of its first seed
    official.tsv    columns file, official (accepted or refused), ours (as official if
                    empty), settings (JSON of the blocks search and features) and why

A file with neither is read, and all that counts is that no traceback answers it. So a
case is added by dropping files. The exit status is 0 if all is as recorded.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from af3_core.chemistry.dictionary import Components
from af3_core.features.assembly import ChemistryError
from af3_core.features.featurise import count_tokens
from af3_core.inputs.files import read_jobs
from af3_core.inputs.listing import find_inputs
from af3_core.job import InputError, Job
from tests.parity.case import Case
from tests.parity.features import compare_features, featurise_case
from workflow.settings import Settings, check_settings

Decision = Literal["accepted", "refused"]
RECORDS = "official.tsv"


@dataclass(frozen=True)
class Recorded:
    """What is known of an input."""

    official: Decision | None = None
    ours: Decision | None = None
    """What we are meant to decide; None: anything but a traceback."""
    settings: Mapping[str, object] = field(default_factory=dict)
    features: Path | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of an input."""

    file: Path
    official: Decision | None
    ours: Decision
    is_right: bool
    said: str
    """Our refusal, or how the features compare."""

    def __str__(self) -> str:
        mark = "ok" if self.is_right else "WRONG"
        official = self.official or "not recorded"
        return f"{mark}\t{self.file}\t{official}\t{self.ours}\t{self.said}"


def main(argv: Sequence[str] | None = None) -> int:
    """Judges all inputs; 0 if they are as recorded."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.foreign_inputs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=Path)
    arguments = parser.parse_args(argv)
    num_inputs = num_wrong = 0
    for folder in arguments.folders:
        for verdict in judge_folder(folder):
            print(verdict, flush=True)
            num_inputs += 1
            num_wrong += not verdict.is_right
    print(f"{num_inputs - num_wrong} of {num_inputs} as recorded")
    return 1 if num_wrong or not num_inputs else 0


def judge_folder(folder: Path) -> Iterator[Verdict]:
    """A verdict for every input below a folder."""
    folders = sorted({folder, *(p for p in folder.rglob("*") if p.is_dir())})
    for inner in folders:
        records = read_records(inner)
        files, _ = find_inputs([inner])
        for file in sorted(Path(file) for file in files):
            if file.name == RECORDS:
                continue
            yield judge(file, records.get(file.name, Recorded()))


def read_records(folder: Path) -> dict[str, Recorded]:
    """What is recorded of the inputs directly in a folder, by file name."""
    records = {
        f"{path.stem}.json": Recorded("accepted", "accepted", features=path)
        for path in folder.glob("*.npz")
    }
    table = folder / RECORDS
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
                known = records.get(row["file"], Recorded())
                official, ours = _decision(row["official"]), _decision(row["ours"])
                settings = json.loads(row["settings"] or "{}")
                records[row["file"]] = Recorded(
                    official, ours or official, settings, known.features
                )
    return records


def _decision(text: str) -> Decision | None:
    decisions: dict[str, Decision] = {"accepted": "accepted", "refused": "refused"}
    return decisions[text] if text else None


def judge(file: Path, recorded: Recorded) -> Verdict:
    """Reads an input and compares with the record."""
    jobs, errors = read_jobs(file)
    settings = _settings(recorded.settings)
    refusals = [str(error) for error in errors]
    for job in jobs:
        try:
            count_tokens(job, _components(job), settings.feature_options())
        except ChemistryError as error:
            refusals.append(f"{job.name}: {error}")
    ours: Decision = "refused" if refusals else "accepted"
    is_right, said = recorded.ours in (None, ours), "; ".join(refusals)
    if is_right and ours == "accepted" and recorded.features is not None:
        different = list(_different_features(file, recorded.features, settings))
        said = "; ".join(different[:5]) or "features equal"
        is_right = not different
    return Verdict(file, recorded.official, ours, is_right, said)


def _settings(chosen: Mapping[str, object]) -> Settings:
    blocks = {name: chosen.get(name, {}) for name in ("search", "features")}
    search = {"databases": "none", **dict(blocks["search"])}
    raw = {
        "inputs": [],
        "model": {"checkpoint": "none"},
        "search": search,
        "features": blocks["features"],
    }
    return check_settings(raw, source=RECORDS)


def _components(job: Job) -> Components:
    return Components.load(job.user_ccd)


def _different_features(file: Path, npz: Path, settings: Settings) -> Iterator[str]:
    case = Case(file, npz)
    try:
        ours = featurise_case(case, settings.feature_options())
    except (ValueError, InputError) as error:
        yield f"no features: {error}"
        return
    for comparison in compare_features(ours, case.batch):
        if not comparison.is_ok:
            yield str(comparison)


if __name__ == "__main__":
    sys.exit(main())
