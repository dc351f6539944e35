"""The search of a proteome on one machine's processors, beside AlphaFold 3's way.

    python -m benchmarks.bench_search_cpu proteins QUERIES.fasta DATABASE.fasta
        [--counts 1 4 16 128] [--times 100] [--threads 1 2] [--measured 16]
        [--repeats 1] [--mmseqs 128] [--folder FOLDER] [--out FILE.md]
    python -m benchmarks.bench_search_cpu rna QUERIES.fasta DATABASE.fasta …
    python -m benchmarks.bench_search_cpu templates QUERIES.fasta DATABASE.fasta …
    python -m benchmarks.bench_search_cpu profile QUERIES.fasta DATABASE.fasta …

`proteins` takes the largest of the counts from the queries at even steps of their order
by length, and the smaller counts from those in the same way, so all have the lengths
of the whole. Ours is one process for all of them, start-up included, over the
digitised database; AlphaFold 3's is jackhmmer once for each, one after the other, with
its flags and as many cores. jackhmmer is timed for so many queries as `--measured`
says, again by even steps, half of them before ours and half after; for more of them,
in proportion to their residues. The cache is cold when the system was told to forget
the database's pages before: for jackhmmer that is before the first query only, since
the next ones find what it has read. MMseqs2, whose hits are others, searches in its
own format, made before.

`rna` is nhmmer's search and `templates` hmmsearch's, whose profiles are made of what
each query finds in the same database. `profile` says where our CPU seconds of a batch
of proteins go, and how many pairs pass each of HMMER's filters.

With `--times 100` the database is enlarged by 99 copies of itself, the residues of each
sequence shuffled. Counting and digitising, done once, is in no figure. Debian's package
mmseqs2-examples has 500 queries and 20,000 sequences.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from pyhmmer.easel import DigitalSequenceBlock, TextSequence
from pyhmmer.plan7 import Background, Builder, Pipeline

from af3_core.msa import Msa
from af3_core.search.alignment import protein_alignment
from af3_core.search.denormals import flush_denormals
from af3_core.search.hits import select_rows
from af3_core.search.hmmer import ALPHABETS, search_stream
from af3_core.search.prefilter import group_filters, make_filter
from af3_core.search.profile import build_profile
from af3_core.search.settings import TEMPLATE_SEARCH, SearchSettings, settings_for
from af3_core.search.targets import AMINO
from benchmarks.bench_search import (
    SETTINGS,
    Cost,
    dump,
    enlarge,
    measure,
    measure_jackhmmer,
    measure_ours,
    prepare,
    read_shard,
    report,
)
from benchmarks.page import RESULTS, command_line
from kernels.segments_cpu import group_profiles
from tests.hmmer_programs import read_fasta, read_stockholm
from workflow.databases.files import count_file, database_of, read_targets
from workflow.databases.manifest import Shard
from workflow.searching.mmseqs import mmseqs_version, search_mmseqs

PROGRAMS = Path(str(files("hmmer"))) / "data" / "bin"
GOALS = {1: 1.0, 4: 0.5, 16: 1 / 4, 128: 1 / 6}
"""Of jackhmmer's wall time, by number of queries."""


class Theirs(NamedTuple):
    """What jackhmmer took and found."""

    warm: Mapping[str, Cost]
    """Of each measured query."""
    extra: Cost
    """Of the first one, if nothing is cached: what it took more."""
    texts: Mapping[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one of the benchmarks."""
    parser = command_line("bench_search_cpu", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in COMMANDS:
        one = commands.add_parser(name)
        one.add_argument("queries", type=Path)
        one.add_argument("database", type=Path)
        is_first = name == "proteins"
        counts = {"proteins": [1, 4, 16, 128], "profile": [16]}.get(name, [1, 4])
        one.add_argument("--counts", type=int, nargs="+", default=counts)
        one.add_argument("--times", type=int, default=100 if is_first else 1)
        one.add_argument("--threads", type=int, nargs="+", default=[1, 2])
        one.add_argument("--folder", type=Path, help="of databases made")
        page = "search_cpu.md" if is_first else f"search_{name}.md"
        one.add_argument("--out", type=Path, default=RESULTS / page)
        if is_first:
            one.add_argument("--measured", type=int, default=16)
            one.add_argument("--repeats", type=int, default=1)
            one.add_argument("--mmseqs", type=int, nargs="*", default=[128])
    ours = commands.add_parser("ours")
    for name in ("queries", "results"):
        ours.add_argument(name, type=Path)
    for name in ("kind", "shard"):
        ours.add_argument(f"--{name}", required=True)
    ours.add_argument("--threads", type=int, required=True)
    chosen = parser.parse_args(argv)
    if chosen.command == "ours":
        search_ours(chosen)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        lines = COMMANDS[chosen.command](chosen, Path(scratch))
        report(lines, f"search on processors, {chosen.command}", chosen.out)
    return 0


def choose_queries(sequences: Sequence[str], counts: Sequence[int]) -> list[list[str]]:
    """For each count, largest first, queries of all lengths; each among the last."""
    chosen, found = sorted(sequences, key=len), []
    for count in sorted(counts, reverse=True):
        places = [(2 * i + 1) * len(chosen) // (2 * count) for i in range(count)]
        chosen = [chosen[place] for place in places]
        found.append(chosen)
    return found


def forget(*paths: Path) -> None:
    """Tells the system that files need not stay in its cache."""
    for path in paths:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run_proteins(arguments: argparse.Namespace, scratch: Path) -> Iterator[str]:
    """All counts of queries, threads and states of the cache."""
    folder = arguments.folder or scratch
    arguments.fasta = False
    database, shard = prepare(arguments, arguments.times, folder)
    pool = [sequence for _, sequence in read_fasta(arguments.queries)]
    batches = choose_queries(pool, arguments.counts)
    measured = choose_queries(batches[0], [min(arguments.measured, len(batches[0]))])[0]
    yield from describe_inputs(shard, pool, batches, arguments.times)
    yield (
        f"jackhmmer was timed for {len(measured)} queries, half of them before ours and"
        " half after; its times of more queries are in proportion to their residues."
    )
    yield ""
    yield (
        "| queries | threads | cache | ours: wall s | CPU s | jackhmmer: wall s | CPU s"
        " | of its wall time | goal | equal |"
    )
    yield "| --: | --: | --- | --: | --: | --: | --: | --: | --: | --- |"
    raw = []
    for threads in arguments.threads:
        for repeat in range(arguments.repeats):
            # One half of theirs before ours and one after: a machine's speed drifts.
            before = time_jackhmmer(measured[::2], database, scratch, threads)
            ours = []
            for cache in ("cold", "warm"):
                for batch in reversed(batches):
                    if cache == "cold":
                        forget(shard.path)
                    found = measure_ours(batch, shard, scratch, threads)
                    ours.append((cache, batch, *found))
            after = time_jackhmmer(measured[1::2], database, scratch, threads)
            theirs = Theirs(
                {**before.warm, **after.warm},
                before.extra,
                {**before.texts, **after.texts},
            )
            for cache, batch, cost, texts in ours:
                pairs = zip(batch, texts, strict=True)
                both = [theirs.texts[q] == t for q, t in pairs if q in theirs.texts]
                jackhmmer = scale(theirs, batch, cache)
                goal = GOALS.get(len(batch))
                yield (
                    f"| {len(batch)} | {threads} | {cache} | {cost.wall:.1f} |"
                    f" {cost.cpu:.1f} | {jackhmmer.wall:.1f} | {jackhmmer.cpu:.1f}"
                    f" | {cost.wall / jackhmmer.wall:.3f} |"
                    f" {f'{goal:.3f}' if goal else '–'} |"
                    f" {sum(both)} of {len(both)} compared |"
                )
            costs = " ".join(
                f"{theirs.warm[q].wall:.2f}/{theirs.warm[q].cpu:.2f}" for q in measured
            )
            more = f"{theirs.extra.wall:+.2f}/{theirs.extra.cpu:+.2f}"
            raw.append(
                f"jackhmmer, {threads} threads, round {repeat + 1}: {costs};"
                f" the first with nothing cached: {more}"
            )
    yield ""
    yield "Seconds of each query, wall/CPU, shortest first:"
    yield ""
    yield from (f"- {line}" for line in raw)
    if arguments.mmseqs:
        yield from run_mmseqs(arguments, batches, database, scratch)


def describe_inputs(
    shard: Shard, pool: Sequence[str], batches: Sequence[Sequence[str]], times: int
) -> Iterator[str]:
    """What is searched, and with what."""
    shuffled = times - 1
    yield (
        f"{shard.sequences:,} sequences, {shard.residues:,} residues: the database"
        f" given and {shuffled} copies of it with each sequence shuffled. Queries: of"
        f" the {len(pool)} given, by length, every so manieth."
    )
    yield ""
    yield "| queries | residues | shortest | quarter | median | 3 quarters | longest |"
    yield "| --: | --: | --: | --: | --: | --: | --: |"
    for batch in (pool, *batches):
        lengths = sorted(map(len, batch))
        cuts = [lengths[len(lengths) * part // 4] for part in (1, 2, 3)]
        cells = (len(batch), sum(lengths), lengths[0], *cuts, lengths[-1])
        yield f"| {' | '.join(f'{cell:,}' for cell in cells)} |"
    yield ""


def time_jackhmmer(
    queries: Sequence[str], database: Path, scratch: Path, threads: int
) -> Theirs:
    """Each query by itself; the first also with nothing cached."""
    forget(database)
    cold, _ = measure_jackhmmer(queries[:1], database, scratch, threads)
    costs, texts = {}, {}
    for query in queries:
        costs[query], (texts[query],) = measure_jackhmmer(
            [query], database, scratch, threads
        )
    first = costs[queries[0]]
    extra = Cost(cold.wall - first.wall, cold.cpu - first.cpu, 0)
    return Theirs(costs, extra, texts)


def scale(theirs: Theirs, batch: Sequence[str], cache: str) -> Cost:
    """jackhmmer's cost of a batch: of its own queries where all were measured."""
    costs = theirs.warm
    used = list(batch) if set(batch) <= set(costs) else list(costs)
    factor = sum(map(len, batch)) / sum(map(len, used))
    is_cold = cache == "cold"
    return Cost(
        wall=factor * sum(costs[q].wall for q in used) + is_cold * theirs.extra.wall,
        cpu=factor * sum(costs[q].cpu for q in used) + is_cold * theirs.extra.cpu,
        memory=max(cost.memory for cost in costs.values()),
    )


def run_mmseqs(
    arguments: argparse.Namespace,
    batches: Sequence[Sequence[str]],
    database: Path,
    scratch: Path,
) -> Iterator[str]:
    """MMseqs2 with all threads, everything cached."""
    shard = count_file(database, "unpaired")
    whole = database_of("uniref90", "unpaired", [shard], shard.digest)
    folder = arguments.folder or scratch
    yield ""
    yield (
        f"{mmseqs_version()}, `search -s 8`, as databases of `tool` mmseqs are"
        " searched. Not equal: its hits are others."
    )
    yield ""
    yield "| queries | threads | wall s | CPU s | hits |"
    yield "| --: | --: | --: | --: | --: |"
    threads = max(arguments.threads)

    def search(batch: Sequence[str]) -> int:
        made = search_mmseqs(
            batch, whole, shard, SETTINGS, threads=threads, scratch=folder
        )
        return sum(best.num_hits for best in made.values())

    search(batches[-1][:1])  # makes the database in its format
    for batch in reversed(batches):
        if len(batch) in arguments.mmseqs:
            began, before = time.monotonic(), children_seconds()
            hits = search(batch)
            wall, cpu = time.monotonic() - began, children_seconds() - before
            yield f"| {len(batch)} | {threads} | {wall:.1f} | {cpu:.1f} | {hits} |"


def children_seconds() -> float:
    """CPU seconds of the programs that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_others(arguments: argparse.Namespace, scratch: Path) -> Iterator[str]:
    """nhmmer or hmmsearch, once for each query, against one batch of ours."""
    is_rna = arguments.command == "rna"
    database = enlarge(arguments.database, arguments.times, arguments.folder or scratch)
    shard = count_file(database, "rna" if is_rna else "templates")
    letters = set("ACGUTNRYWSMKBDHV")
    pool = [
        sequence
        for _, sequence in read_fasta(arguments.queries)
        if (set(sequence) <= letters) == is_rna
    ]
    batches = choose_queries(pool, [min(n, len(pool)) for n in arguments.counts])
    yield from describe_inputs(shard, pool, batches, arguments.times)
    program = "nhmmer" if is_rna else "hmmsearch"
    yield (
        f"| queries | threads | ours: wall s | CPU s | {program}: wall s | CPU s | of"
        f" its wall time | ours: 10⁹ cells a CPU second | {program}'s | hits | equal |"
    )
    yield "| --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --- |"
    for threads in arguments.threads:
        for batch in reversed(batches):
            texts = batch if is_rna else make_profiles(batch, shard)
            kind = "rna" if is_rna else "profile"
            ours, found = measure_kind(kind, texts, shard, scratch, threads)
            theirs, wanted = measure_programs(kind, texts, database, scratch, threads)
            cells = sum(map(len, batch)) * shard.residues / 1e9
            yield (
                f"| {len(batch)} | {threads} | {ours.wall:.1f} | {ours.cpu:.1f} |"
                f" {theirs.wall:.1f} | {theirs.cpu:.1f} |"
                f" {ours.wall / theirs.wall:.2f} | {cells / ours.cpu:.2f} |"
                f" {cells / theirs.cpu:.2f} | {sum(map(len, wanted))} |"
                f" {'yes' if found == wanted else 'NO'} |"
            )


def make_profiles(queries: Sequence[str], shard: Shard) -> list[str]:
    """Profiles in HMMER's text of what each query finds."""
    named = {str(index): query for index, query in enumerate(queries)}
    found = search_stream(
        named,
        read_targets(shard, ALPHABETS["protein"]),
        SETTINGS,
        kind="protein",
        z=float(shard.sequences),
        threads=os.cpu_count() or 1,
    )
    alignments = (
        protein_alignment(query, select_rows(found[name], SETTINGS))
        for name, query in named.items()
    )
    return [build_profile(Msa(a.descriptions, a.sequences)) for a in alignments]


def settings_of(kind: str) -> SearchSettings:
    """AlphaFold 3's for the kind of search."""
    if kind == "rna":
        return settings_for("rfam", "rna", "nhmmer")
    return TEMPLATE_SEARCH


def measure_kind(
    kind: str, texts: Sequence[str], shard: Shard, scratch: Path, threads: int
) -> tuple[Cost, list[list[str]]]:
    """Our batch, in a process of its own: the regions found."""
    queries, results = scratch / "batch.json", scratch / "found.json"
    queries.write_text(json.dumps(list(texts)))
    cost = measure(
        [
            *(sys.executable, "-m", "benchmarks.bench_search_cpu", "ours"),
            *(str(queries), str(results), "--kind", kind),
            *("--shard", dump(shard), "--threads", str(threads)),
        ]
    )
    return cost, json.loads(results.read_text())


def search_ours(arguments: argparse.Namespace) -> None:
    """What the measured process does."""
    texts = json.loads(arguments.queries.read_text())
    shard, kind = read_shard(arguments.shard), arguments.kind
    found = search_stream(
        {str(index): text for index, text in enumerate(texts)},
        read_targets(shard, ALPHABETS[kind]),
        settings_of(kind),
        kind=kind,
        z=shard.residues / 1e6 if kind == "rna" else float(shard.sequences),
        threads=arguments.threads,
    )
    rows = [
        [
            f"{row.target}/{row.region.start}-{row.region.end}"
            for row in select_rows(found[str(index)], settings_of(kind))
        ]
        for index in range(len(texts))
    ]
    arguments.results.write_text(json.dumps(rows))


def measure_programs(
    kind: str, texts: Sequence[str], database: Path, scratch: Path, threads: int
) -> tuple[Cost, list[list[str]]]:
    """AlphaFold 3's program once for each query."""
    costs, found = [], []
    query, rows = scratch / "query.txt", scratch / "found.sto"
    for text in texts:
        query.write_text(f">query\n{text}\n" if kind == "rna" else text)
        common = ("-o", "/dev/null", "--noali", "--cpu", str(threads), "-A", str(rows))
        if kind == "rna":
            flags = (
                "-E",
                "0.001",
                "--rna",
                "--F3",
                "0.02" if len(text) < 50 else "1e-05",
            )
        else:
            flags = (
                *("--F1", "0.1", "--F2", "0.1", "--F3", "0.1", "-E", "100"),
                *("--incE", "100", "--domE", "100", "--incdomE", "100"),
            )
        program = PROGRAMS / ("nhmmer" if kind == "rna" else "hmmsearch")
        command = [str(program), *common, *flags, str(query), str(database)]
        costs.append(measure(command))
        limit = settings_of(kind).max_sequences - 1
        is_empty = not rows.stat().st_size
        read = (
            []
            if is_empty
            else read_stockholm(rows, max_rows=limit, is_query_first=False)
        )
        found.append([header.split()[0].rpartition("|")[2] for header, _ in read])
    cost = Cost(
        wall=sum(cost.wall for cost in costs),
        cpu=sum(cost.cpu for cost in costs),
        memory=max(cost.memory for cost in costs),
    )
    return cost, found


def run_profile(arguments: argparse.Namespace, scratch: Path) -> Iterator[str]:
    """CPU seconds of one thread, by what they are spent on."""
    arguments.fasta = False
    _, shard = prepare(arguments, arguments.times, arguments.folder or scratch)
    pool = [sequence for _, sequence in read_fasta(arguments.queries)]
    batches = choose_queries(pool, arguments.counts)
    yield from describe_inputs(shard, pool, batches, arguments.times)
    flush_denormals()
    for batch in batches:
        seconds, pairs = profile(batch, shard)
        cells = sum(map(len, batch)) * shard.residues
        in_all = sum(seconds.values())
        yield "| of a batch's CPU seconds | s | share | ms a query |"
        yield "| --- | --: | --: | --: |"
        for name, value in seconds.items():
            each = 1e3 * value / len(batch)
            yield f"| {name} | {value:.2f} | {value / in_all:.0%} | {each:.1f} |"
        yield ""
        speed = cells / seconds[FILTERING] / 1e9
        yield f"The filter does {speed:.0f}·10⁹ cells a second."
        yield ""
        yield "| pairs | | of all |"
        yield "| --- | --: | --: |"
        for name, value in pairs.items():
            share = value / (len(batch) * shard.sequences)
            yield f"| {name} | {value:,} | {share:.4%} |"
        yield ""


FILTERING = "our filter"


def profile(
    batch: Sequence[str], shard: Shard
) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds by step, and pairs that are left behind each filter."""
    seconds: Counter[str] = Counter()
    pairs: Counter[str] = Counter()

    @contextmanager
    def timed(step: str) -> Iterator[None]:
        began = time.thread_time()
        yield
        seconds[step] += time.thread_time() - began

    background = Background(AMINO)
    with timed("models of the queries"):
        texts = (TextSequence(name="query", sequence=one) for one in batch)
        builder = Builder(AMINO)
        models = [builder.build(one.digitize(AMINO), background)[2] for one in texts]
    f1, f2, f3 = SETTINGS.filters
    pipeline = Pipeline(
        AMINO,
        background,
        **{"Z": float(shard.sequences), "domZ": 1},
        **{"E": SETTINGS.e_value, "incE": SETTINGS.e_value},
        **{"F1": f1, "F2": f2, "F3": f3},
    )
    filters = [make_filter(one, f1) for one in models]
    rows = group_profiles([one.costs.shape[1] for one in filters])
    groups = [(group, group_filters([filters[row] for row in group])) for group in rows]
    targets = read_targets(shard, AMINO)
    while True:
        with timed("reading, checking"):
            block = next(targets, None)
        if block is None:
            break
        for group, together in groups:
            with timed(FILTERING):
                kept = together.select(block.packed)
            for row, indices in zip(group, kept, strict=True):
                with timed("handing over to HMMER"):
                    left = block.take(indices)
                pipeline.clear()
                with timed("HMMER, of hits"):
                    found = pipeline.search_hmm(models[row], left)
                state: Any = found.__getstate__()
                names = {hit.name for hit in found if hit.reported}
                dropped = [one for one in left if one.name not in names]
                pipeline.clear()
                before = seconds["HMMER, of what it drops"]
                with timed("HMMER, of what it drops"):
                    pipeline.search_hmm(
                        models[row], DigitalSequenceBlock(AMINO, dropped)
                    )
                # The first search was of both.
                seconds["HMMER, of hits"] += before - seconds["HMMER, of what it drops"]
                pairs["left by our filter"] += len(left)
                for name, key in PASSED.items():
                    pairs[name] += state["pipeline"][key]
                pairs["hits"] += len(names)
    return dict(seconds), dict(pairs)


PASSED = {
    "passed HMMER's MSV filter": "n_past_msv",
    "its bias filter": "n_past_bias",
    "its Viterbi filter": "n_past_vit",
    "its Forward filter": "n_past_fwd",
}

COMMANDS = {
    "proteins": run_proteins,
    "rna": run_others,
    "templates": run_others,
    "profile": run_profile,
}

if __name__ == "__main__":
    raise SystemExit(main())
