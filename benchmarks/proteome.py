"""A synthetic proteome: as many inputs, and as long ones, as a real campaign has.

Lengths follow a log-normal distribution with the median (415) and mean (557) of the
human proteome, so some are longer than a GPU can take; a few names collide.
"""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
# Per mille in UniProtKB/Swiss-Prot, in the order of the letters.
_FREQUENCIES = (
    *(83, 14, 55, 67, 39, 71, 23, 59, 58, 97),
    *(24, 41, 47, 39, 55, 66, 54, 69, 11, 29),
)
_MEDIAN, _MEAN = 415, 557
_SIGMA = math.sqrt(2 * math.log(_MEAN / _MEDIAN))
_SHORTEST, _LONGEST = 25, 35_000


@dataclass(frozen=True)
class Protein:
    """One job of the proteome."""

    name: str
    sequence: str


def draw_lengths(num_proteins: int, *, seed: int = 1) -> list[int]:
    """Lengths of a human-like proteome, in residues; always the same for a seed."""
    rng = random.Random(seed)
    lengths = (
        rng.lognormvariate(math.log(_MEDIAN), _SIGMA) for _ in range(num_proteins)
    )
    return [min(_LONGEST, max(_SHORTEST, round(length))) for length in lengths]


def draw_proteome(
    num_proteins: int, *, num_collisions: int = 10, seed: int = 1
) -> Iterator[Protein]:
    """Proteins with distinct names, but for the last few, which take earlier ones.

    A collision differs in case only, as file systems of laptops would lose it.
    """
    rng = random.Random(seed)
    first_collision = num_proteins - num_collisions
    for number, length in enumerate(draw_lengths(num_proteins, seed=seed)):
        sequence = "".join(rng.choices(_AMINO_ACIDS, _FREQUENCIES, k=length))
        if number < first_collision:
            yield Protein(f"SYN{number:05}_HUMAN", sequence)
        else:
            yield Protein(f"syn{number - first_collision:05}_human", sequence)


def write_json_files(folder: Path, proteins: Iterator[Protein]) -> None:
    """One AlphaFold 3 JSON for each protein, numbered."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, protein in enumerate(proteins):
        document = {
            "name": protein.name,
            "modelSeeds": [1],
            "sequences": [{"protein": {"id": "A", "sequence": protein.sequence}}],
            "dialect": "alphafold3",
            "version": 4,
        }
        path = folder / f"{number:06}.json"
        path.write_text(json.dumps(document), encoding="ascii")
