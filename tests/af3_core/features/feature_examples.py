"""Jobs with the features that AlphaFold 3 makes of them."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np

from af3_core.chemistry.dictionary import Components
from af3_core.features.featurise import featurise, reference_positions
from af3_core.features.values import Features
from af3_core.inputs.files import read_jobs
from af3_core.job import BondAtom, Job, Ligand, Modification, Polymer

DATA = Path(__file__).parents[2] / "data"
CASES = ("ubiquitin", "villin_gb1", "trna_crambin", "kitchen_sink")
RECORDED = tuple(sorted(p.stem for p in (DATA / "features").glob("*.json")))


@cache
def read_job(path: Path) -> Job:
    """The one job of a file."""
    (job,), _ = read_jobs(path)
    return job


@cache
def featurised(path: Path) -> tuple[Features, np.ndarray]:
    """Features and reference positions of the first seed."""
    job = read_job(path)
    components = Components.load(job.user_ccd)
    features = featurise(job, components)
    return features, reference_positions(features, components, job.seeds[0])


def case(name: str) -> Path:
    return DATA / "cases" / f"{name}.json"


def recorded(name: str) -> Path:
    return DATA / "features" / f"{name}.json"


def protein(sequence: str, ids: str = "A", **modifications: str) -> Polymer:
    """A protein without alignments; `at_3="SEP"` modifies residue 3."""
    mods = tuple(
        Modification(code, int(place.removeprefix("at_")))
        for place, code in modifications.items()
    )
    return Polymer("protein", tuple(ids), sequence, mods, "", "", ())


def rna(sequence: str, ids: str = "R") -> Polymer:
    return Polymer("rna", tuple(ids), sequence, unpaired_msa="")


def ligand(*codes: str, ids: Iterable[str] = "L") -> Ligand:
    return Ligand(tuple(ids), codes)


def smiles(text: str, ids: str = "S") -> Ligand:
    return Ligand(tuple(ids), smiles=text)


def job(*entities: Polymer | Ligand, bonds: str = "", user_ccd: str = "") -> Job:
    """A job; bonds as `A.3.NZ-L.1.C1`, separated by spaces."""
    return Job(
        "example", (1,), entities, tuple(map(_bond, bonds.split())), user_ccd or None
    )


def _bond(text: str) -> tuple[BondAtom, BondAtom]:
    first, second = (end.split(".") for end in text.split("-"))
    return (
        BondAtom(first[0], int(first[1]), first[2]),
        BondAtom(second[0], int(second[1]), second[2]),
    )
