"""What a search costs, against one jackhmmer process per query.

    python -m benchmarks.bench_search throughput QUERIES.fasta DATABASE.fasta
        [--counts 1 10 100] [--times 1 10] [--threads 2] [--fasta | --filter triton]
        [--folder FOLDER [--prepare]] [--out FILE.md]
    python -m benchmarks.bench_search memory [--homologs 200000] [--keep 10000]

`throughput` searches the first so many queries, shuffled, in our way (one batch, one
process, start-up included) and in AlphaFold 3's (jackhmmer once per query, one after
the other, same flags, same cores) and compares all alignments. Counting and digitising
the database, which is done once, is in neither; with `--fasta` ours parses the FASTA
file; with `--filter` ours filters ahead of the search. With `--times 10` the database
is enlarged by nine shuffled copies of itself. `--folder` says where what is made stays
and is found again; `--prepare` makes it and no more.
Debian's package mmseqs2-examples has 500 queries and 20,000 sequences.

`memory` plants homologs of one query and asks for the best of them.

Markdown goes to benchmarks/results/search_throughput.md and search_memory.md.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from itertools import chain
from pathlib import Path

import numpy as np

from af3_core.msa import Msa, format_a3m
from af3_core.search.alignment import protein_alignment
from af3_core.search.hits import select_rows
from af3_core.search.hmmer import ALPHABETS, filter_stream, search_stream
from af3_core.search.settings import SearchSettings, settings_for
from benchmarks.page import RESULTS, command_line, machine, publish
from tests.hmmer_programs import read_fasta, read_stockholm
from workflow.databases.files import count_file, database_of, read_targets
from workflow.databases.manifest import Shard
from workflow.databases.shards import digitise_database
from workflow.tables import replacing

# The package's command is a script that unpacks the program at every start.
JACKHMMER = Path(str(files("hmmer"))) / "data" / "bin" / "jackhmmer"
SETTINGS = settings_for("uniref90", "unpaired", "jackhmmer")


@dataclass(frozen=True)
class Cost:
    """What a way to search took, seconds and bytes."""

    wall: float
    cpu: float
    memory: int
    """Peak of the largest process."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one of the benchmarks."""
    parser = command_line("bench_search", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    throughput = commands.add_parser("throughput")
    throughput.add_argument("queries", type=Path)
    throughput.add_argument("database", type=Path)
    throughput.add_argument("--counts", type=int, nargs="+", default=[1, 10, 100])
    throughput.add_argument("--times", type=int, nargs="+", default=[1, 10])
    throughput.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    throughput.add_argument("--fasta", action="store_true", help="not digitised")
    throughput.add_argument("--filter", choices=("cpu", "triton"), help="ahead")
    throughput.add_argument("--folder", type=Path, help="of databases made")
    throughput.add_argument("--prepare", action="store_true", help="measure nothing")
    out = RESULTS / "search_throughput.md"
    throughput.add_argument("--out", type=Path, default=out)
    memory = commands.add_parser("memory")
    memory.add_argument("--homologs", type=int, default=200_000)
    memory.add_argument("--keep", type=int, default=10_000)
    memory.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    memory.add_argument("--out", type=Path, default=RESULTS / "search_memory.md")
    ours = commands.add_parser("ours")
    ours.add_argument("queries", type=Path)
    ours.add_argument("results", type=Path)
    ours.add_argument("--keep", type=int, default=SETTINGS.max_sequences)
    ours.add_argument("--shard", required=True, help="digest and sizes, as JSON")
    ours.add_argument("--threads", type=int, required=True)
    ours.add_argument("--filter", choices=("cpu", "triton"))
    arguments = parser.parse_args(argv)
    if arguments.command == "ours":
        search_ours(arguments)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.command == "memory":
            report(run_memory(arguments, Path(scratch)), "memory", arguments.out)
        elif arguments.prepare:
            for times in arguments.times:
                print(*prepare(arguments, times, arguments.folder), sep="\n")
        else:
            lines = run_throughput(arguments, Path(scratch))
            report(lines, "throughput", arguments.out)
    return 0


def report(lines: Iterable[str], name: str, out: Path) -> None:
    """Prints lines as they come, and keeps them."""
    publish(out, chain([f"## {name}: {machine()} at the start\n"], lines))


def run_throughput(arguments: argparse.Namespace, scratch: Path) -> Iterable[str]:
    """Both ways for every size of batch and database."""
    queries = [sequence for _, sequence in read_fasta(arguments.queries)]
    random.Random(1).shuffle(queries)
    yield (
        "| database | queries | ours: wall s | CPU s | jackhmmer: wall s | CPU s |"
        " wall ratio | rows | equal |"
    )
    yield "| --- | --: | --: | --: | --: | --: | --: | --: | --- |"
    for times in arguments.times:
        database, shard = prepare(arguments, times, arguments.folder or scratch)
        size = f"{shard.sequences:,} sequences"
        for count in arguments.counts:
            batch = queries[:count]
            ours, found = measure_ours(
                *(batch, shard, scratch, arguments.threads),
                filter_by=arguments.filter,
            )
            theirs, wanted = measure_jackhmmer(
                batch, database, scratch, arguments.threads
            )
            yield (
                f"| {size} | {len(batch)} | {ours.wall:.1f} | {ours.cpu:.1f} |"
                f" {theirs.wall:.1f} | {theirs.cpu:.1f} |"
                f" {ours.wall / theirs.wall:.2f} |"
                f" {sum(text.count('>') for text in wanted) - len(batch)} |"
                f" {'yes' if found == wanted else 'NO'} |"
            )


def prepare(
    arguments: argparse.Namespace, times: int, folder: Path
) -> tuple[Path, Shard]:
    """A database so many times as large, and how ours reads it; made if need be."""
    database = enlarge(arguments.database, times, folder)
    kept = folder / f"times_{times}.{'fasta' if arguments.fasta else 'packed'}.json"
    if not kept.exists():
        shard = digitise(database, folder, digitised=not arguments.fasta)
        kept.write_text(dump(shard))
    return database, read_shard(kept.read_text())


def dump(shard: Shard) -> str:
    """What is known of a file, as JSON."""
    return json.dumps({**asdict(shard), "path": str(shard.path)})


def read_shard(text: str) -> Shard:
    """The same from JSON."""
    sizes = json.loads(text)
    return Shard(**{**sizes, "path": Path(sizes["path"])})


def digitise(database: Path, folder: Path, *, digitised: bool) -> Shard:
    """A FASTA file counted and, if so wanted, digitised."""
    shard = count_file(database, "unpaired")
    if not digitised:
        return shard
    whole = database_of("uniref90", "unpaired", [shard], shard.digest)
    return digitise_database(whole, folder / "digitised").shards[0]


def enlarge(database: Path, times: int, folder: Path) -> Path:
    """The database and copies of it with the residues of each sequence shuffled."""
    path = folder / f"times_{times}.fasta"
    if times == 1 or path.exists():
        return database if times == 1 else path
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.writelines(shuffled(read_fasta(database), times))
    return path


def shuffled(records: Sequence[tuple[str, str]], times: int) -> Iterator[bytes]:
    """Records of FASTA: those given, then copies of them."""
    rng = np.random.default_rng(2)
    for copy in range(times):
        for header, sequence in records:
            letters = np.frombuffer(bytearray(sequence, "ascii"), np.uint8)
            if copy:
                letters = rng.permutation(letters)
                header = f"shuffled_{copy}_{header}"
            yield b">%b\n%b\n" % (header.encode(), letters.tobytes())


def measure_ours(
    queries: Sequence[str],
    shard: Shard,
    scratch: Path,
    threads: int,
    *,
    keep: int = SETTINGS.max_sequences,
    filter_by: str | None = None,
) -> tuple[Cost, list[str]]:
    """Our batch, in a process of its own."""
    fasta, results = scratch / "batch.fasta", scratch / "batch.json"
    fasta.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(queries)))
    command = [
        *(sys.executable, "-m", "benchmarks.bench_search", "ours"),
        *(str(fasta), str(results)),
        *("--threads", str(threads), "--keep", str(keep)),
        *("--shard", dump(shard)),
        *(("--filter", filter_by) if filter_by else ()),
    ]
    cost = measure(command)
    return cost, json.loads(results.read_text())


def search_ours(arguments: argparse.Namespace) -> None:
    """What the measured process does: alignments of all queries, as A3M."""
    queries = dict(read_fasta(arguments.queries))
    shard = read_shard(arguments.shard)
    settings = SearchSettings(max_sequences=arguments.keep)
    survivors = None
    if arguments.filter is not None:
        survivors = filter_stream(
            queries,
            read_targets(shard, ALPHABETS["protein"]),
            settings,
            backend=arguments.filter,
            threads=arguments.threads,
        )
    found = search_stream(
        queries,
        read_targets(shard, ALPHABETS["protein"]),
        settings,
        kind="protein",
        z=float(shard.sequences),
        threads=arguments.threads,
        survivors=survivors,
    )
    texts = [
        format_a3m(protein_alignment(query, select_rows(found[name], settings)))
        for name, query in queries.items()
    ]
    arguments.results.write_text(json.dumps(texts))


def measure_jackhmmer(
    queries: Sequence[str],
    database: Path,
    scratch: Path,
    threads: int,
    *,
    keep: int = SETTINGS.max_sequences,
) -> tuple[Cost, list[str]]:
    """jackhmmer once per query; reading its alignments is not counted."""
    costs, texts = [], []
    fasta, found = scratch / "query.fasta", scratch / "found.sto"
    for query in queries:
        fasta.write_text(f">query\n{query}\n")
        command = [
            *(str(JACKHMMER), "-o", "/dev/null", "-A", str(found), "--noali"),
            *("--F1", "0.0005", "--F2", "5e-05", "--F3", "5e-07"),
            *("--cpu", str(threads), "-N", "1", "-E", "0.0001", "--incE", "0.0001"),
            *(str(fasta), str(database)),
        ]
        costs.append(measure(command))
        rows = read_stockholm(found, max_rows=keep)
        msa = Msa(tuple(d for d, _ in rows), tuple(s for _, s in rows))
        texts.append(format_a3m(msa))
    total = Cost(
        wall=sum(cost.wall for cost in costs),
        cpu=sum(cost.cpu for cost in costs),
        memory=max(cost.memory for cost in costs),
    )
    return total, texts


def measure(command: Sequence[str]) -> Cost:
    """Runs a command to its end."""
    began = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return Cost(
        wall=time.monotonic() - began,
        cpu=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss * 1024,
    )


def run_memory(arguments: argparse.Namespace, scratch: Path) -> Iterable[str]:
    """Peak memory and exactness with more homologs than are asked for."""
    query = next(s for n, s in read_fasta(QUERIES) if n == "ubiquitin")
    database = scratch / "planted.fasta"
    plant(query, arguments.homologs, database)
    shard = digitise(database, scratch, digitised=True)
    ours, found = measure_ours(
        [query], shard, scratch, arguments.threads, keep=arguments.keep
    )
    theirs, wanted = measure_jackhmmer(
        [query], database, scratch, arguments.threads, keep=arguments.keep
    )
    yield f"{arguments.homologs:,} homologs planted, the best {arguments.keep:,} kept"
    yield ""
    yield "| | wall s | CPU s | peak memory, MB |"
    yield "| --- | --: | --: | --: |"
    for name, cost in (("ours", ours), ("jackhmmer", theirs)):
        memory = cost.memory / 1e6
        yield f"| {name} | {cost.wall:.1f} | {cost.cpu:.1f} | {memory:.0f} |"
    yield ""
    same = "the same rows" if found == wanted else "OTHER ROWS"
    yield f"{same} ({found[0].count('>'):,}) as jackhmmer's best"


QUERIES = Path(__file__).parents[1] / "tests" / "data" / "databases" / "queries.fasta"
_LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def plant(query: str, count: int, path: Path) -> None:
    """Writes sequences that contain the query with a tenth to a half of it changed."""
    rng = random.Random(3)
    with path.open("w") as file:
        for index in range(count):
            rate = rng.uniform(0.1, 0.5)
            body = "".join(
                rng.choice(_LETTERS) if rng.random() < rate else a for a in query
            )
            flanks = ["".join(rng.choices(_LETTERS, k=rng.randrange(40))) for _ in "ab"]
            file.write(f">planted_{index} homolog\n{flanks[0]}{body}{flanks[1]}\n")


if __name__ == "__main__":
    raise SystemExit(main())
