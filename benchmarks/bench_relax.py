"""Real structures, perturbed and relaxed: faults, distance moved, time.

    python -m benchmarks.bench_relax [--shake 0.1 0.25 0.3] [--seeds 1 2 3]
        [--threads 1] [--campaign RESULTS]

Every coordinate of an entry gets normal noise, `relax` mends the result. The table has
one line for each entry and size of noise, the worst over the seeds. `--campaign` lists
what became of the structures of a finished campaign, such as the demo's, beside it.

Markdown goes to benchmarks/results/relaxation.md.
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from af3_core.chemistry.dictionary import Components
from af3_core.relax.relax import Relaxed, relax
from af3_core.structures.faults import Faults
from af3_core.structures.structure import Chemistry, Structure
from benchmarks.page import RESULTS, command_line, publish
from tests.structures import entry, protein, shaken

PAGE = RESULTS / "relaxation.md"
ENTRIES = {
    "1ubi": "ubiquitin, 76 residues",
    "1ejg": "crambin, three disulfides",
    "1ake": "adenylate kinase, 214 residues",
    "4zhl": "two proteins",
    "2beg": "five equal chains",
    "1lcd": "protein and DNA",
    "1ehz": "modified transfer RNA, ions",
    "4cup": "protein and ligand",
    "1gbt": "covalent inhibitor, ions",
}
SINGLE_CHAINS = ("1ubi", "1ejg", "1ake")


@dataclass(frozen=True)
class Case:
    """One entry at one size of noise."""

    name: str
    size: float
    """Å, standard deviation on every coordinate."""
    num_atoms: int
    found: tuple[Relaxed, ...]
    """By seed."""


def structure_of_entry(name: str) -> Structure:
    """The chain or the whole entry that the table is about."""
    return protein(name) if name in SINGLE_CHAINS else entry(name)


def measure(
    name: str, size: float, seeds: Sequence[int], chemistry: Chemistry, threads: int
) -> Case:
    """Relaxes an entry after each seed's noise."""
    structure = structure_of_entry(name)
    found = tuple(
        relax(shaken(structure, size, seed), chemistry, threads=threads)
        for seed in seeds
    )
    return Case(name, size, structure.num_atoms, found)


def table(cases: Sequence[Case]) -> list[str]:
    """Markdown, one line per case; the worst of its seeds."""
    lines = [
        "| entry | heavy atoms | noise, Å | clashes, bonds, angles, hands before "
        "| after | RMSD to input, Å | energy, kJ/mol | seconds | status |",
        "| --- | --: | --: | --- | --- | --: | --: | --: | --- |",
    ]
    for case in cases:
        before = _worst([found.before for found in case.found])
        after = _worst([found.after for found in case.found])
        drop = [f"{r.energy_before:.2g} → {r.energy_after:.0f}" for r in case.found]
        rmsd = max(found.rmsd for found in case.found)
        seconds = max(found.seconds for found in case.found)
        status = ", ".join(sorted({found.status for found in case.found}))
        lines.append(
            f"| {case.name.upper()}, {ENTRIES[case.name]} | {case.num_atoms:,} "
            f"| {case.size:g} | {before} | {after} | {rmsd:.2f} | {drop[0]} "
            f"| {seconds:.1f} | {status} |"
        )
    return lines


def _worst(faults: Sequence[Faults]) -> str:
    counts = np.array([list(vars(each).values()) for each in faults])
    return ", ".join(map(str, counts.max(axis=0).tolist()))


def campaign_table(results: Path) -> list[str]:
    """Markdown: what became of every structure of a campaign."""
    names = {
        row["job_id"]: row["name"]
        for row in pq.read_table(results / "plan" / "jobs.parquet").to_pylist()
    }
    lines = [
        "| job | status | reason | clashes, bonds, angles, hands before | seconds |",
        "| --- | --- | --- | --- | --: |",
    ]
    columns = ("clashes", "bond_violations", "angle_violations", "chirality_errors")
    for path in sorted((results / "relaxed").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            before = ", ".join(str(row[f"{name}_before"]) for name in columns)
            lines.append(
                f"| {names[row['job_id']]} | {row['status']} | {row['reason'] or ''} "
                f"| {before} | {row['seconds']:.1f} |"
            )
    return lines


def main(argv: list[str] | None = None) -> None:
    """Command line of the benchmark."""
    parser = command_line("bench_relax", __doc__)
    parser.add_argument("--shake", type=float, nargs="+", default=[0.1, 0.25, 0.3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--entries", nargs="+", default=list(ENTRIES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--campaign", type=Path)
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args(argv)
    chemistry = Chemistry(Components.load())
    cases = [
        measure(name, size, options.seeds, chemistry, options.threads)
        for name in options.entries
        for size in options.shake
    ]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    lines = [
        f"# Relaxation: {platform.machine()}, {options.threads} threads, "
        f"load {load} at the end",
        "",
        f"The worst of {len(options.seeds)} seeds in every column; energies of the "
        "first, with hydrogens.",
        "",
        *table(cases),
    ]
    if options.campaign is not None:
        lines += ["", "A campaign's structures:", "", *campaign_table(options.campaign)]
    publish(options.out, lines)


if __name__ == "__main__":
    main()
