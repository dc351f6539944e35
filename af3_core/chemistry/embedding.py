"""Embeds one large molecule in a process of its own, which can be stopped.

    python embedding.py SEED MAX_ITERATIONS < molecule > positions

RDKit looks at its clock between two attempts only, and an attempt at a molecule of
thousands of atoms takes minutes. Needs nothing but RDKit, so it starts quickly.
"""

import sys
from typing import Any

from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom


def embed_molecule(
    molecule: Chem.Mol, seed: int, *, max_iterations: int | None, max_seconds: int = 0
) -> bytes:
    """One conformer by ETKDGv3: positions in Å as float64, or nothing if none is found.

    Args:
        molecule: with all hydrogens; stays as it is.
        seed: of RDKit's random numbers.
        max_iterations: attempts; None for RDKit's own number.
        max_seconds: no further attempt is begun after them; 0 for no limit.
    """
    parameters = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed
    parameters.timeout = max_seconds
    if max_iterations is not None:
        parameters.maxIterations = max_iterations
    copy = Chem.Mol(molecule)
    with rdBase.BlockLogs():
        conformer_id = rdDistGeom.EmbedMolecule(copy, parameters)
    if conformer_id < 0:
        return b""
    return copy.GetConformer(conformer_id).GetPositions().astype("<f8").tobytes()


if __name__ == "__main__":
    iterations = int(sys.argv[2])
    binary: Any = sys.stdin.buffer.read()
    found = embed_molecule(
        Chem.Mol(binary),
        int(sys.argv[1]),
        max_iterations=None if iterations < 0 else iterations,
    )
    sys.stdout.buffer.write(found)
