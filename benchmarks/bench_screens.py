"""Screens from a few lines of YAML to their answer, with the demo's small network.

    python -m benchmarks.bench_screens pairs|ligands|pooled [--size N] [--folder FOLDER]

`pairs`: all against all of 25 proteins of 36–80 residues out of the demo's databases,
300 pairs. `ligands`: a library of 200 molecules against crambin. `pooled`: the demo's
own proteins, each pair in a pool. One sample of few steps each: what is measured is all
around the network. The wall time of every stage is
the sum over its batches, as Snakemake has it in `logs/STAGE/*.tsv`.

Markdown goes to benchmarks/results/screens_pairs.md, and so on.
"""

import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import yaml

from af3_core.contracts import OUTCOMES, SCREEN, TIMINGS, TimingRow
from benchmarks.page import RESULTS, command_line, machine, publish
from workflow.campaign import Campaign
from workflow.stages import STAGES
from workflow.tables import read_rows

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "config/demo"
ENVIRONMENT = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
CRAMBIN = "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN"
SHORTEST, LONGEST = 36, 80
POOL = 256
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "search": {"databases": str(DEMO / "databases/databases.tsv")},
    "model": {
        "checkpoint": str(DEMO / "model/trained.bin.zst"),
        "num_recycles": 0,
        "num_diffusion_steps": 5,
        "num_samples": 1,
    },
    "predict": {"dtype": "float32"},
    "relax": {"samples": "none"},
    "export": {"samples": "none"},
}
"""One quick sample of everything; nothing is relaxed or exported."""
_CORES = {
    "benzene": "c1ccccc1{}",
    "pyridine": "c1ccncc1{}",
    "phenol": "Oc1ccccc1{}",
    "indole": "c1ccc2[nH]cc({})c2c1",
    "furan": "c1ccoc1{}",
    "cyclohexane": "C1CCCCC1{}",
    "piperidine": "C1CCNCC1{}",
    "naphthalene": "c1ccc2cc({})ccc2c1",
    "thiophene": "c1ccsc1{}",
    "imidazole": "c1c[nH]c({})n1",
}
_ARMS = (
    *("C", "CC", "CCC", "CO", "CCO", "CN", "CCN", "C(=O)O", "C(=O)N", "C#N"),
    *("OC", "OCC", "NC", "SC", "F", "Cl", "Br", "C(F)(F)F", "S(=O)(=O)N", "C(C)C"),
)


def make_campaign(
    folder: Path,
    screens: Mapping[str, str],
    files: Mapping[str, str],
    **blocks: Mapping[str, object],
) -> Path:
    """A campaign of screens (their YAML by name) with the files that they name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**{f"{n}.yaml": s for n, s in screens.items()}, **files}.items():
        (folder / name).write_text(text, encoding="utf-8")
    settings: dict[str, object] = {"inputs": [f"{name}.yaml" for name in screens]}
    for block in SETTINGS.keys() | blocks.keys():
        settings[block] = {**SETTINGS.get(block, {}), **blocks.get(block, {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


def draw_proteins(number: int) -> dict[str, str]:
    """Different proteins of the demo's databases, none twice, by accession."""
    found: dict[str, str] = {}
    text = (DEMO / "databases/uniprot.fasta").read_text(encoding="ascii")
    for record in text.split(">")[1:]:
        header, *lines = record.splitlines()
        sequence = "".join(lines)
        is_plain = not set(sequence) - set("ACDEFGHIKLMNPQRSTVWY")
        if is_plain and SHORTEST <= len(sequence) <= LONGEST:
            found.setdefault(sequence, header.split("|")[1])
    return {name: sequence for sequence, name in islice(found.items(), number)}


def demo_proteins() -> list[str]:
    """The records of the demo's own FASTA files."""
    texts = [
        (DEMO / "inputs" / name).read_text(encoding="ascii")
        for name in ("memorised.fasta", "unseen.fasta")
    ]
    return [f">{record}" for text in texts for record in text.split(">")[1:]]


def fasta(sequences: Mapping[str, str]) -> str:
    """FASTA text."""
    return "".join(f">{name}\n{sequence}\n" for name, sequence in sequences.items())


def make_library(number: int) -> str:
    """Small molecules as a `.smi` file: a core and what hangs on it."""
    pairs = islice(product(_CORES.items(), _ARMS), number)
    return "".join(
        f"{smiles.format(arm)} {name}-{index}\n"
        for index, ((name, smiles), arm) in enumerate(pairs)
    )


def run(folder: Path, *, cores: int = 2) -> float:
    """Runs a campaign to its end; returns the wall time, s.

    Raises:
        RuntimeError: it failed.
    """
    began = time.monotonic()
    command = [sys.executable, "-m", "workflow.cli", "run", "-d", str(folder)]
    done = subprocess.run(
        [*command, "--cores", str(cores)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"{folder} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return time.monotonic() - began


@dataclass(frozen=True)
class Spent:
    """What a stage took."""

    stage: str
    batches: int
    items: int
    seconds: float
    """Wall time of all batches together."""
    memory: float
    """The most of one batch, MB."""


def spent_by_stage(campaign: Campaign) -> list[Spent]:
    """What every stage with batches took."""
    found = []
    for stage in STAGES:
        paths = sorted((campaign.root / "logs" / stage.name).glob("*.tsv"))
        rows = [row for path in paths for row in _read_tsv(path)]
        outcomes = [
            row
            for path in paths
            for row in read_rows(campaign.outcomes(stage.name, path.stem), OUTCOMES)
        ]
        if rows:
            seconds = sum(float(row["s"]) for row in rows)
            memory = max(float(row["max_rss"].replace("-", "0")) for row in rows)
            found.append(Spent(stage.name, len(rows), len(outcomes), seconds, memory))
    return found


def _read_tsv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def searches_of(campaign: Campaign) -> tuple[int, int]:
    """Searches of a sequence in a database that were made, and how many differ."""
    made = [
        (path.name.split(".")[0], row.item)
        for path in sorted((campaign.results / "search").glob("*.parquet"))
        for row in read_rows(path, OUTCOMES)
    ]
    return len(made), len(set(made))


def computed(campaign: Campaign) -> list[TimingRow]:
    """When every prediction was on the device."""
    return [
        row
        for path in (campaign.results / "timings").glob("*.parquet")
        for row in read_rows(path, TIMINGS)
        if row.phase == "compute"
    ]


def format_results(title: str, campaign: Campaign, wall: float) -> str:
    """The page of one screen."""
    stages = spent_by_stage(campaign)
    pairs = read_rows(campaign.tables / "screen.parquet", SCREEN)
    made, different = searches_of(campaign)
    names = {(row.partner_1, row.partner_2) for row in pairs}
    spent = [(row.end - row.start, row.compiled) for row in computed(campaign)]
    compiling = sum(seconds for seconds, compiled in spent if compiled)
    device = sum(seconds for seconds, _ in spent)
    total = sum(stage.seconds for stage in stages)
    lines = [
        f"# {title}",
        "",
        f"On {machine()} at the end. "
        "Wall times are those of a shared machine; shares are what counts.",
        "",
        "| stage | batches | items | wall, s | share | s per pair | most memory, MB |",
        "| --- | --: | --: | --: | --: | --: | --: |",
        *(
            f"| {s.stage} | {s.batches} | {s.items} | {s.seconds:.0f} "
            f"| {s.seconds / total:.0%} | {s.seconds / len(pairs):.2f} "
            f"| {s.memory:.0f} |"
            for s in stages
        ),
        "",
        f"- the whole command: {wall:.0f} s",
        f"- on the device: {device:.0f} s, {compiling:.0f} s of them with compilation",
        f"- rows of `screen.parquet`: {len(pairs)}, of {len(names)} different pairs",
        f"- searches of a sequence in a database: {made}, {different} different ones",
        "",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a screen and writes its page."""
    parser = command_line("bench_screens", __doc__)
    parser.add_argument("what", choices=("pairs", "ligands", "pooled"))
    parser.add_argument("--size", type=int, help="proteins (25) or ligands (200)")
    parser.add_argument("--folder", type=Path, help="keep the campaign here")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        if arguments.what == "pairs":
            proteins = draw_proteins(arguments.size or 25)
            text = "all_against_all: proteins.fasta\n"
            files = {"proteins.fasta": fasta(proteins)}
            buckets = (112, 2 * LONGEST)
            title = f"All pairs of {len(proteins)} proteins"
        elif arguments.what == "pooled":
            records = demo_proteins()[: arguments.size]
            text = (
                "all_against_all: proteins.fasta\n"
                f"mode: pooled\npools: {{tokens: {POOL}}}\n"
            )
            files, buckets = {"proteins.fasta": "".join(records)}, (POOL,)
            title = f"All pairs of {len(records)} proteins in pools"
        else:
            library = make_library(arguments.size or 200)
            text = f"pairs: {{bait: 'protein:{CRAMBIN}', prey: library.smi}}\n"
            files, buckets = {"library.smi": library}, (len(CRAMBIN) + 18,)
            title = f"A library of {len(library.splitlines())} molecules"
        predict = {**SETTINGS["predict"], "buckets": list(buckets)}
        campaign = make_campaign(folder, {"screen": text}, files, predict=predict)
        wall = run(campaign)
        page = format_results(title, Campaign(folder), wall)
    is_page = arguments.size is None
    out = RESULTS / f"screens_{arguments.what}.md" if is_page else Path(os.devnull)
    publish(out, page.splitlines())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
