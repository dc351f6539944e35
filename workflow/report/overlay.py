"""The reference structure of a job, laid over its prediction."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from af3_core.job import InputError
from af3_core.scores.comparison import superpose_reference
from af3_core.structures.structure import Structure, moved, select
from workflow.results.known_structures import read_reference
from workflow.tables import read_json

BACKBONE = ("N", "CA", "C", "O")
"""What is drawn of a protein; of everything else, all."""


@dataclass(frozen=True, eq=False)
class Overlay:
    """A reference where the prediction lies, with the atoms that are drawn of it."""

    name: str
    structure: Structure


def reference_folder(results: Path) -> Path | None:
    """The folder of references that the campaign was planned with, if any."""
    path = results / "plan" / "settings.json"
    if not path.is_file():
        return None
    found = read_json(path).get("score", {})
    folder = found.get("references")
    # Settings are relative to where the campaign runs, which holds its results, unless
    # these were moved without it.
    place = None if folder is None else results.resolve().parent / folder
    return place if place is not None and place.is_dir() else None


def read_overlay(
    folder: Path | None, job_name: str, prediction: Structure
) -> Overlay | None:
    """The job's reference, moved onto the prediction.

    None where there is none, it cannot be read any more, or it has nothing in common
    with the prediction: the scores have said so already.
    """
    try:
        reference = read_reference(folder, job_name)
    except InputError:
        return None
    if reference is None:
        return None
    motion = superpose_reference(prediction, reference.structure)
    if motion is None:
        return None
    lies = moved(reference.structure, motion.apply(reference.structure.positions))
    drawn = (lies.kind != "protein") | np.isin(lies.atom_name, BACKBONE)
    return Overlay(reference.name, select(lies, drawn))
