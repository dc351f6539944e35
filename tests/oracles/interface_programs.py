"""Writes tests/data/golden/interface_programs.json: what other programs say of the
folders of `tests.complexes`, ColabFold's actifpTM of random distributions, and the
lDDT of AlphaFold 2's own code.

    uv venv oracle && uv pip install --python oracle/bin/python \\
        alphafold3-tools==0.6.0 foldmetrics==0.2.0
    uv pip install --no-deps --target colabfold colabfold==1.6.3 \\
        alphafold-colabfold==2.3.27 dm-tree wrapt attrs absl-py pandas pytz \\
        python-dateutil six
    PYTHONPATH=colabfold python -m tests.oracles.interface_programs IPSAE.PY oracle/bin

IPSAE.PY is the script of github.com/DunbrackLab/IPSAE (January 2026). The programs have
environments of their own, which would not go together with the project's.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from af3_core.structures.structure import Structure, select
from tests.complexes import COMPLEXES, write_folder
from tests.structures import DATA, protein, shaken

PATH = DATA / "golden" / "interface_programs.json"
COLUMNS = ("ipSAE", "ipSAE_d0chn", "ipSAE_d0dom", "pDockQ", "pDockQ2", "LIS")
NUM_BINS, LAST_BREAK = 64, 31.0
NOISES = (0.3, 1.0, 2.0)  # Å
ASYM_ID = np.repeat([0, 1, 2], [20, 14, 9])


def random_distributions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of errors, their breaks (Å), and contact probabilities."""
    random = np.random.default_rng(11)
    n = len(ASYM_ID)
    logits = random.normal(scale=2, size=(n, n, NUM_BINS)).astype(np.float32)
    contacts = random.uniform(0, 1, (n, n)).astype(np.float32) ** 4
    return logits, np.linspace(0, LAST_BREAK, NUM_BINS - 1), contacts


def colabfold_actifptm() -> dict[str, float]:
    """By pair of chains."""
    from colabfold.alphafold.extra_ptm import get_actifptm_probs, get_chain_indices

    logits, breaks, contacts = random_distributions()
    result = {"predicted_aligned_error": {"logits": logits, "breaks": breaks}}
    ends = get_chain_indices(ASYM_ID)
    found = {}
    for i in range(len(ends)):
        for j in range(i + 1, len(ends)):
            values = get_actifptm_probs(result, ASYM_ID, contacts, *ends[i], *ends[j])
            found[f"{i} {j}"] = float(np.max(values))
    return found


def shaken_centres(noise: float) -> tuple[Structure, Structure]:
    """C-alpha atoms of adenylate kinase with noise and a displaced end; and without."""
    whole = protein("1ake")
    known = select(whole, whole.atom_name == "CA")
    model = shaken(known, noise)
    model.positions[150:] += [3.0, 0.0, 0.0]
    return model, known


def alphafold2_lddt() -> dict[str, float]:
    """By size of noise; C-alpha atoms only, 15 Å."""
    import jax.numpy as jnp
    from alphafold.model.lddt import lddt

    found = {}
    for noise in NOISES:
        model, known = shaken_centres(noise)
        points = [jnp.asarray(s.positions)[None] for s in (model, known)]
        mask = jnp.ones((1, known.num_atoms, 1))
        found[str(noise)] = float(lddt(*points, mask, cutoff=15.0)[0])
    return found


def script_scores(script: Path, job: Path) -> dict[str, dict[str, float]]:
    """What ipsae.py writes, by ordered pair of chains."""
    name = job.name
    files = [job / f"{name}_confidences.json", job / f"{name}_model.cif"]
    subprocess.run([sys.executable, script, *files, "10", "10"], check=True)
    lines = (job / f"{name}_model_10_10.txt").read_text().splitlines()
    rows = [line.split() for line in lines if line.strip()]
    head, found = rows[0], {}
    for row in rows[1:]:
        values = dict(zip(head, row, strict=True))
        if values["Type"] == "asym":
            pair = f"{values['Chn1']} {values['Chn2']}"
            found[pair] = {column: float(values[column]) for column in COLUMNS}
    return found


def af3tools_scores(programs: Path, job: Path) -> dict[str, dict[str, float]]:
    """LIS, cLIS and iLIS of alphafold3-tools, by pair, means of both directions."""
    command = [programs / "af3tools", "metrics", "-i", job, "--json"]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = json.loads((job / f"{job.name}_model_10_10.json").read_text()).values()
    pairs = {key: value for key, value in found.items() if isinstance(value, dict)}
    return {
        key.replace("-", " "): {
            name: value["lis_metrics"][name] for name in ("LIS", "cLIS", "iLIS")
        }
        for key, value in pairs.items()
    }


def foldmetrics_scores(programs: Path, job: Path) -> dict[str, dict[str, object]]:
    """The table of interfaces of foldmetrics, pDockQ2 as its paper's script has it."""
    out = job / "interfaces.json"
    flags = ["--pdockq2-variant", "zhu2023", "--interfaces", out]
    command = [programs / "foldmetrics", "score", job, *flags]
    subprocess.run(command, check=True, capture_output=True)
    return json.loads(out.read_text())


def main(script: Path, programs: Path) -> None:
    """Runs everything and keeps the numbers."""
    golden: dict[str, dict[str, object]] = {
        "ipsae.py": {},
        "alphafold3-tools": {},
        "foldmetrics": {},
        "ColabFold": {"actifpTM": colabfold_actifptm()},
        "AlphaFold 2": {"lDDT": alphafold2_lddt()},
    }
    for name in COMPLEXES:
        with tempfile.TemporaryDirectory() as folder:
            job = write_folder(name, Path(folder))
            golden["ipsae.py"][name] = script_scores(script, job)
            golden["alphafold3-tools"][name] = af3tools_scores(programs, job)
            golden["foldmetrics"][name] = foldmetrics_scores(programs, job)
    PATH.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
