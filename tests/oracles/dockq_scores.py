"""Writes tests/data/golden/dockq.json: what DockQ 2.1.3 says of displaced entries.

    uv venv oracle && uv pip install --python oracle/bin/python dockq==2.1.3
    python -m tests.oracles.dockq_scores oracle/bin/DockQ

DockQ wants an older NumPy than the project, hence an environment of its own.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from af3_core.structures.structure import Structure, moved, select
from tests.structures import DATA, entry, shaken

CASES = {
    "4zhl near": ("4zhl", "B", 0.1, 2.0),
    "4zhl far": ("4zhl", "B", 0.6, 9.0),
    "1lcd": ("1lcd", "C", 0.15, 3.0),
    "2beg": ("2beg", "C", 0.1, 1.5),
    "4cup": ("4cup", "B", 0.3, 1.5),
}
"""Entry, the chain that is turned and moved, by how many radians and Å."""
LIGANDS = ("4cup",)


def displaced(name: str) -> tuple[Structure, Structure]:
    """The shaken entry with one chain displaced, and the entry itself."""
    reference_name, chain, angle, shift = CASES[name]
    reference = entry(reference_name)
    if reference_name not in LIGANDS:
        reference = select(reference, reference.kind != "ligand")
    # DockQ finds a ligand's bonds by distance, so that it must not be shaken.
    model = shaken(reference, 0.0 if reference_name in LIGANDS else 0.3)
    rows = model.chain_id == chain
    positions = np.round(model.positions, 3)
    centre = positions[rows].mean(axis=0)
    turn = np.array(
        [
            [np.cos(angle), -np.sin(angle), 0],
            [np.sin(angle), np.cos(angle), 0],
            [0, 0, 1],
        ]
    )
    positions[rows] = (positions[rows] - centre) @ turn + centre + [shift, 0, 0]
    exact = np.round(reference.positions.astype(np.float64), 3)
    return moved(model, np.round(positions, 3)), moved(reference, exact)


def pdb_text(structure: Structure) -> str:
    """Columns of the PDB format, as far as DockQ reads them."""
    lines = []
    for i in range(structure.num_atoms):
        record = "HETATM" if structure.kind[i] == "ligand" else "ATOM"
        name = str(structure.atom_name[i])
        padded = f" {name:<3}" if len(name) < 4 else name
        x, y, z = structure.positions[i]
        lines.append(
            f"{record:<6}{i + 1:>5} {padded} {structure.residue_name[i]:>3} "
            f"{structure.chain_id[i]}{structure.residue_id[i]:>4}    "
            f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          "
            f"{str(structure.element[i]).upper():>2}\n"
        )
    return "".join(lines) + "END\n"


def main(program: str) -> None:
    """Runs the program on each case and keeps its numbers by pair of chains."""
    golden = {}
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, "model.pdb"), Path(folder, "native.pdb")]
            for path, structure in zip(paths, displaced(name), strict=True):
                path.write_text(pdb_text(structure))
            out = Path(folder, "out.json")
            flags = ["--small_molecule"] if name in LIGANDS else []
            subprocess.run(
                [program, *map(str, paths), "--json", str(out), "--n_cpu", "1", *flags],
                check=True,
            )
            found = json.loads(out.read_text())
        golden[name] = {
            pair: {
                key: result[key]
                for key in ("DockQ", "fnat", "iRMSD", "LRMSD")
                if key in result
            }
            for pair, result in found["best_result"].items()
        }
    path = DATA / "golden" / "dockq.json"
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
