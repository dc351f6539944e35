"""Features of a pair with deep alignments: whole, and of chains that other pairs had.

    python -m benchmarks.bench_pair_features [--length 300]

Two made-up proteins with as many rows as AlphaFold 3 keeps of every database: 10,000,
5,000 and 3,000 unpaired ones and 50,000 of 2,000 species. The arrays are compared.

Markdown goes to benchmarks/results/pair_features.md.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml

from af3_core.contracts import FEATURES
from af3_core.job import Job, Polymer
from af3_core.recent import Recent
from af3_core.search.hits import Region, Row
from benchmarks.page import RESULTS, command_line, machine, publish
from workflow.databases.manifest import read_manifest
from workflow.featurise import ROOM, make_features
from workflow.searching.evidence import add_evidence
from workflow.searching.hit_tables import hits_table
from workflow.searching.search_keys import hits_key
from workflow.settings import Settings, check_settings
from workflow.store.entries import Store
from workflow.tables import write_table

ROOT = Path(__file__).resolve().parents[1]
PAGE = RESULTS / "pair_features.md"
LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
DEPTHS = {"uniref90": 10_000, "small_bfd": 3_000, "mgnify": 5_000, "uniprot": 50_000}
SPECIES = 2_000


@dataclass(frozen=True)
class Made:
    """Features of one pair."""

    table: pa.Table
    seconds: float
    """Of the processor: alignments from the store, features, conformers."""


def fill_store(
    settings: Settings, sequences: Sequence[str], rng: np.random.Generator
) -> None:
    """Puts made-up hits of every chain into the store."""
    store = Store(settings.search.store)
    for database in read_manifest(settings.search.databases):
        for sequence in sequences if database.name in DEPTHS else ():
            rows = _rows(sequence, DEPTHS[database.name], rng)
            table = hits_table(
                rows,
                sequence_id="made up",
                database=database.digest,
                engine="made up",
                profile="paper",
            )
            store.put(hits_key(sequence, database, "paper"), table)


def _rows(sequence: str, depth: int, rng: np.random.Generator) -> list[Row]:
    """Half of the letters differ, some are gaps, and there is an insertion."""
    letters = np.array(list(sequence))
    rows = []
    for number in range(depth):
        found = letters.copy()
        changed = rng.random(len(found)) < 0.5
        found[changed] = rng.choice(np.append(LETTERS, "-"), int(changed.sum()))
        text, cut = "".join(found), int(rng.integers(len(found)))
        region = Region(
            start=1,
            end=len(found),
            row=f"{text[:cut]}gsg{text[cut:]}",
            score=1.0,
            p_value=0.0,
        )
        name = f"tr|A{number:07}|A{number:07}_S{rng.integers(SPECIES)}"
        rows.append(Row(name, "", region, score=1.0, e_value=1e-9, region_e_value=1e-9))
    return rows


def make(job: Job, settings: Settings, recent: Recent) -> Made:
    """The features of a job as the stage makes them."""
    began = time.process_time()
    complete = add_evidence(job, settings, recent)
    table = make_features(complete, {}, recent=recent)
    return Made(table, time.process_time() - began)


def format_results(length: int, rows: Sequence[tuple[str, Made]], size: int) -> str:
    """The page of results."""
    whole = rows[0][1]
    lines = [
        f"| {what} | {made.seconds:.1f} | {whole.seconds / made.seconds:.1f} "
        f"| {'yes' if made.table.equals(whole.table) else 'NO'} |"
        for what, made in rows
    ]
    depths = " + ".join(f"{depth:,}" for depth in DEPTHS.values())
    return f"""# Features of a pair

`python -m benchmarks.bench_pair_features` on {machine()}:
seconds of the processor. Two proteins of {length} residues, each with {depths} aligned
rows.

| what is known of the chains | s per pair | times faster | arrays equal |
| --- | --: | --: | --: |
{chr(10).join(lines)}

The file of features takes {size / 1e6:.1f} MB however it is made.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and writes the page."""
    parser = command_line("bench_pair_features", __doc__)
    parser.add_argument("--length", type=int, default=300)
    arguments = parser.parse_args(argv)
    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice(LETTERS, arguments.length)) for _ in range(2)]
    with tempfile.TemporaryDirectory() as temporary:
        raw = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
        raw["search"] |= {
            "store": temporary,
            "databases": str(ROOT / raw["search"]["databases"]),
        }
        settings = check_settings(raw, source="config/config.yaml")
        fill_store(settings, sequences, rng)
        bait, prey = (
            Polymer("protein", (chain_id,), sequence, templates=())
            for chain_id, sequence in zip("AB", sequences, strict=True)
        )
        pair = Job("pair", (1,), (bait, prey))
        make(Job("warm", (1,), (Polymer("protein", ("A",), "M" * 9, (), "", "", ()),)),
             settings, Recent())  # fmt: skip
        with_bait, with_both = Recent(ROOM), Recent(ROOM)
        short = Polymer("protein", ("B",), "MGSAW", (), "", "", ())
        make(Job("other", (1,), (bait, short)), settings, with_bait)
        rows = [
            ("nothing: the whole job", make(pair, settings, Recent())),
            ("the first, as of a bait", make(pair, settings, with_bait)),
            ("nothing, but kept", make(pair, settings, with_both)),
            ("both, as in a tile of pairs", make(pair, settings, with_both)),
        ]
        path = Path(temporary) / "features.parquet"
        write_table(path, FEATURES, rows[0][1].table)
        page = format_results(arguments.length, rows, path.stat().st_size)
    publish(PAGE, page.splitlines())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
