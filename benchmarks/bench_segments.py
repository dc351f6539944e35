"""What is known of the search's filter without a GPU.

    python -m benchmarks.bench_segments agree [--pairs 1000000]
    python -m benchmarks.bench_segments interpret [--pairs 1000000] [--short]
    python -m benchmarks.bench_segments page

`agree` compares the processor's code with HMMER's own filter, pair by pair, and what is
left out with HMMER's own P-value. `interpret` compares the kernel of a GPU, run by
Triton's interpreter, with the definition (`naive`), the processor's code and HMMER's
own filter, `--short` without the longest targets. Rows go to results/segments.jsonl.
`page` adds what the disassembly says a cell costs, and the cells a second and the hours
that follow, and writes results/segments.md.
"""

import argparse
import concurrent.futures
import json
import math
import multiprocessing
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pyhmmer.easel import DigitalSequence, TextSequence
from pyhmmer.plan7 import Background, Builder, OptimizedProfile

from af3_core.search.hmmer import ALPHABETS
from af3_core.search.prefilter import group_filters, make_filter
from benchmarks.gpu_compile import cards
from kernels import Device, segments_naive
from kernels.segments import HIGHEST, PackedSequences, Profiles, pack_sequences
from kernels.segments_cpu import segment_scores
from kernels.segments_triton import (
    LAYOUTS,
    PER_WORD,
    Layout,
    choose_layout,
    num_periods,
)
from tests.hmmer_programs import read_fasta
from workflow.planning.search_costs import (
    BYTES_PER_SECOND,
    CARD_CELLS,
    CORE_CELLS,
    HIT_SECONDS,
    HITS,
    PUBLISHED_RESIDUES,
    PUBLISHED_SEQUENCES,
    SURVIVOR_SECONDS,
    SURVIVORS,
    describe_ways,
    search_cost,
)

RESULTS = Path(__file__).parent / "results"
DATABASES = Path(__file__).parents[1] / "config/demo/databases"
AMINO = ALPHABETS["protein"]
F1 = 5e-4
X = AMINO.symbols.index("X")
ODD = [AMINO.symbols.index(letter) for letter in "BJZOUX*"]


class Interpreted(NamedTuple):
    """Pairs of one kind that the kernel of a GPU has computed in the interpreter."""

    kind: str
    pairs: int
    defined: int
    """That are equal to what the definition gives …"""
    equal: int
    """… and the processor's code."""
    scored: int
    """For which HMMER's first filter gives a score …"""
    theirs: int
    """… that is the kernel's."""
    saturated: int
    """At 255."""


class Agreement(NamedTuple):
    """Pairs of one kind, and what was found."""

    kind: str
    pairs: int
    scored: int
    """For which HMMER's first filter gives a score …"""
    equal: int
    """… that is ours."""
    overflows: int
    """For which it gives none: the filter of several segments has to decide."""
    dropped: int
    """That ours leaves out …"""
    wrongly: int
    """… and HMMER's first filter would have let through."""


def draw(rng: np.random.Generator, length: int, letters: Sequence[int]) -> np.ndarray:
    """A sequence of these classes, the first of them likelier."""
    weights = np.arange(len(letters), 0, -1.0)
    return rng.choice(letters, length, p=weights / weights.sum()).astype(np.uint8)


def queries(rng: np.random.Generator) -> list[np.ndarray]:
    """Real ones, random ones of 1 to 1,500 residues, and some of few letters."""
    real = [encode(s) for _, s in read_fasta(DATABASES / "queries.fasta")[:-1]]
    lengths = (1, 2, 5, 31, 32, 63, 64, 150, 351, 352, 700, 1500)
    drawn = [draw(rng, n, range(20)) for n in lengths]
    few = [draw(rng, 90, [3, 7]), draw(rng, 200, [1, 4, 9])]
    return [*real, *drawn, *few, np.full(60, 1, np.uint8)]


def encode(sequence: str) -> np.ndarray:
    """Residue classes of a sequence."""
    text = TextSequence(name="s", sequence=sequence)
    return np.asarray(text.digitize(AMINO).sequence).copy()


def targets(
    rng: np.random.Generator, found: Sequence[np.ndarray]
) -> dict[str, Callable[[], np.ndarray]]:
    """How a target of each kind is drawn."""
    names = ("uniref90", "small_bfd", "mgnify", "uniprot")
    files = [DATABASES / f"{name}.fasta" for name in names]
    real = [encode(s) for path in files for _, s in read_fasta(path)]

    def of_length(low: int, high: int) -> int:
        return int(np.exp(rng.uniform(math.log(low), math.log(high))))

    def mutated() -> np.ndarray:
        query = found[rng.integers(len(found))]
        copies = np.tile(query, rng.integers(1, 4))
        is_other = rng.random(len(copies)) < rng.uniform(0.2, 0.9)
        return np.where(is_other, draw(rng, len(copies), range(20)), copies)

    def rich_in_x() -> np.ndarray:
        sequence = draw(rng, of_length(5, 800), range(20))
        is_odd = rng.random(len(sequence)) < rng.uniform(0.1, 1.0)
        odd = np.where(rng.random(len(sequence)) < 0.7, X, rng.choice(ODD))
        return np.where(is_odd, odd, sequence).astype(np.uint8)

    return {
        "random, 1 to 1,000 residues": lambda: draw(rng, of_length(1, 1000), range(20)),
        "real": lambda: real[rng.integers(len(real))],
        "one to three letters": lambda: draw(
            rng, of_length(5, 500), rng.choice(20, rng.integers(1, 4), replace=False)
        ),
        "rich in X, B, Z, J, O, U and *": rich_in_x,
        "of 1 to 12 residues": lambda: draw(rng, rng.integers(1, 13), range(20)),
        "relatives and repeats of the queries": mutated,
        "10,000 to 40,000 residues": lambda: draw(
            rng, of_length(10_000, 40_000), range(20)
        ),
    }


SHARES = (0.38, 0.2, 0.12, 0.12, 0.1, 0.075, 0.005)
"""Of the pairs, in that order."""


def build(query: np.ndarray) -> OptimizedProfile:
    """The model that HMMER searches with."""
    digital = DigitalSequence(AMINO, name="query", sequence=query)
    _, _, profile = Builder(AMINO).build(digital, Background(AMINO))
    return profile


def digital(packed: PackedSequences) -> list[DigitalSequence]:
    """The sequences as HMMER reads them."""
    return [
        DigitalSequence(AMINO, name="t", sequence=packed.residues[start:stop])
        for start, stop in zip(packed.starts, packed.starts[1:], strict=False)
    ]


def hmmer_scores(
    model: OptimizedProfile, sequences: Sequence[DigitalSequence]
) -> np.ndarray:
    """What HMMER's filter of single segments gives, in our units; not finite where it
    overflows, or leaves it to the filter of several."""
    scores = np.full(len(sequences), np.nan)
    for index, sequence in enumerate(sequences):
        model.L = len(sequence)
        theirs = model.ssv_filter(sequence)
        if theirs is not None:
            total = (theirs + 3.0) * model.scale_b
            scores[index] = total + 2 * model.tjb + model.tbm + model.tec
    return scores


def compare(
    kind: str, models: Sequence[OptimizedProfile], packed: PackedSequences
) -> Agreement:
    """Our scores and decisions against HMMER's own, for every pair."""
    sequences = digital(packed)
    counts = np.zeros(5, np.int64)
    for model in models:
        chosen = make_filter(model, F1)
        ours, theirs = (
            segment_scores(chosen.costs, packed),
            hmmer_scores(model, sequences),
        )
        left_out = np.ones(len(sequences), bool)
        left_out[group_filters([chosen]).select(packed)[0]] = False
        wrongly = [passes(model, sequences[i]) for i in np.flatnonzero(left_out)]
        counts += [
            np.isfinite(theirs).sum(),
            (abs(theirs - ours) < 1e-3).sum(),
            (~np.isfinite(theirs)).sum(),
            left_out.sum(),
            sum(wrongly),
        ]
    return Agreement(kind, len(models) * len(sequences), *counts.tolist())


def passes(model: OptimizedProfile, sequence: DigitalSequence) -> bool:
    """Whether HMMER's whole first filter, J state and all, lets a sequence through."""
    model.L = len(sequence)
    score = model.msv_filter(sequence)
    if not math.isfinite(score):
        return True
    length = len(sequence)
    loop = length / (length + 1)
    null = length * math.log(loop) + math.log1p(-loop)
    location, slope = model.evalue_parameters.as_vector()[:2]
    exponent = -slope * ((score - null) / math.log(2.0) - location)
    p_value = -math.expm1(-math.exp(min(exponent, 700.0)))
    return p_value <= F1


def agreements(num_pairs: int, seed: int) -> Iterator[Agreement]:
    """One row for each kind of target."""
    rng = np.random.default_rng(seed)
    found = queries(rng)
    models = [build(query) for query in found]
    for (kind, make), share in zip(targets(rng, found).items(), SHARES, strict=True):
        count = math.ceil(num_pairs * share / len(models))
        packed = pack_sequences([make() for _ in range(count)])
        yield compare(kind, models, packed)


# --- The kernel of a GPU, without one ------------------------------------------------


SIDE_BY_SIDE = Layout(128, 32)
"""In the interpreter, for which a step costs the same however many queries it serves; a
GPU has 8 or 4. No line of the kernel is another."""
QUERIES_UP_TO, TARGETS_UP_TO = 63, 100
"""Residues; targets of the longest kind are as long as they are."""


def interpret(profiles: Profiles, packed: PackedSequences) -> np.ndarray:
    """Its scores; the process must have been started with TRITON_INTERPRET=1."""
    from kernels.segments_triton import (
        fill_tables,
        kernel_arrays,
        pack_words,
        plan_launch,
    )
    from tests.kernels.interpreter import launch

    words, starts = pack_words(packed)
    best = np.zeros((len(profiles), len(starts) - 1), np.uint8)
    order = np.argsort([-costs.shape[1] for costs in profiles], kind="stable")
    tables = fill_tables(profiles, order.tolist(), SIDE_BY_SIDE)
    planned = plan_launch(SIDE_BY_SIDE, len(tables.groups), best.shape[1])
    launch(
        "kernels.sweep",
        "sweep_segments",
        planned.grid,
        {k: np.asarray(x) for k, x in kernel_arrays(tables, words, starts).items()},
        {"best_ptr": best},
        planned.scalars | planned.constants,
    )
    return best[:, : len(packed.starts) - 1]


def short_queries(rng: np.random.Generator) -> list[np.ndarray]:
    """Those of `queries` that are short, and pieces of real proteins."""
    found = [query for query in queries(rng) if len(query) <= QUERIES_UP_TO]
    path = DATABASES / "small_bfd.fasta"
    real = [encode(s) for _, s in read_fasta(path) if len(s) > QUERIES_UP_TO]
    while len(found) < SIDE_BY_SIDE.queries:
        whole, length = (
            real[rng.integers(len(real))],
            int(rng.integers(1, QUERIES_UP_TO + 1)),
        )
        first = int(rng.integers(len(whole) - length))
        found.append(whole[first : first + length])
    return found[: SIDE_BY_SIDE.queries]


def interpreted(
    num_pairs: int, seed: int, *, with_long: bool = True
) -> Iterator[Interpreted]:
    """One row for each kind of target; one target of the last kind is long."""
    rng = np.random.default_rng(seed)
    found = short_queries(rng)
    models = [build(query) for query in found]
    profiles = [make_filter(model, F1).costs for model in models]
    os.environ["TRITON_INTERPRET"] = "1"
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        for (kind, make), share in zip(
            targets(rng, found).items(), SHARES, strict=True
        ):
            is_long = kind == "10,000 to 40,000 residues"
            if is_long and not with_long:
                continue
            drawn = [make()] if is_long else []
            while not is_long and len(drawn) * len(models) < num_pairs * share:
                target = make()
                drawn += [target] * (len(target) <= TARGETS_UP_TO)
            packed = pack_sequences(drawn)
            computing = pool.submit(interpret, profiles, packed)
            yield score(kind, models, profiles, packed, computing.result())
    del os.environ["TRITON_INTERPRET"]


def score(
    kind: str,
    models: Sequence[OptimizedProfile],
    profiles: Profiles,
    packed: PackedSequences,
    best: np.ndarray,
) -> Interpreted:
    """What the kernel found against everything else."""
    sequences = digital(packed)
    theirs = np.stack([hmmer_scores(model, sequences) for model in models])
    return Interpreted(
        kind,
        best.size,
        defined=sum(
            int((segments_naive.segment_scores(costs, packed) == row).sum())
            for costs, row in zip(profiles, best, strict=True)
        ),
        equal=sum(
            int((segment_scores(costs, packed) == row).sum())
            for costs, row in zip(profiles, best, strict=True)
        ),
        scored=int(np.isfinite(theirs).sum()),
        theirs=int((abs(theirs - best) < 1e-3).sum()),
        saturated=int((best == HIGHEST).sum()),
    )


# --- What a cell costs, and what follows ----------------------------------------------


class Chip(NamedTuple):
    """A card's figures, from its description in benchmarks/cards."""

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    clock: float
    """Hz."""


LANES = 128
"""Threads of a multiprocessor that issue an instruction in one clock."""
LINE = 128
"""Bytes that its first cache gives in one clock, all of one line."""
# Beyond these two nothing is counted: not latencies, nor misses of the first cache.
PROTEINS, COLUMNS, AT_ONCE = 20_000, 400, 1000


def chips() -> list[Chip]:
    """The cards that XLA compiles for here."""
    found = []
    for card in cards().values():
        numbers = dict(re.findall(r"(core_count|clock_rate_ghz): ([\d.]+)", card[1]))
        name = re.findall(r'device_description_str: "(.*)"', card[1])[0]
        clock = 1e9 * float(numbers["clock_rate_ghz"])
        found.append(Chip(name, card.capability, int(numbers["core_count"]), clock))
    return found


def cells_a_second(chip: Chip, instructions: float, layout: Layout) -> float:
    """What the issue of instructions and the first cache's bandwidth allow.

    A step of a warp reads lanes × queries scores, which begin anywhere in a line, and a
    quarter of a word of residues.
    """
    cells = layout.lanes * layout.queries
    lines = 2 * cells / LINE + 1 + 1 / PER_WORD
    per_clock = min(LANES / instructions, cells / lines)
    return chip.multiprocessors * chip.clock * per_clock


def cost_rows() -> Iterator[str]:
    """A Markdown table of every card and layout."""
    from benchmarks.machine_code import compile_segments

    yield "| card | queries side by side | registers | spills | instructions a cell |"
    yield "| --- | --: | --: | --: | --: |"
    for chip in chips():
        for layout in LAYOUTS:
            code = compile_segments(layout, Device("cuda", chip.capability))
            each = 32 * code.num_loop / math.prod(code.tile)
            speed = cells_a_second(chip, each, layout) / 1e12
            yield (
                f"| {chip.name} | {layout.queries} | {code.num_registers} |"
                f" {code.num_spills} | {each:.2f} | {speed:.1f} |"
            )


def planned_cells() -> float:
    """Cells a second of an H100 for queries of `COLUMNS`, padding taken off."""
    from benchmarks.machine_code import compile_segments

    (h100,) = (chip for chip in chips() if chip.capability == (9, 0))
    layout = choose_layout(COLUMNS)
    code = compile_segments(layout, Device("cuda", h100.capability))
    each = 32 * code.num_loop / math.prod(code.tile)
    swept = num_periods(COLUMNS, layout) * layout.lanes / COLUMNS
    return cells_a_second(h100, each, layout) / swept


# --- The page ------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Does what the command says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("agree", "interpret", "page"))
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=23)
    arguments = parser.parse_args(argv)
    kept = RESULTS / "segments.jsonl"
    if arguments.what == "page":
        rows = [json.loads(line) for line in kept.read_text().splitlines()]
        (RESULTS / "segments.md").write_text(page(rows))
        return
    if arguments.what == "agree":
        found: Iterator[Agreement | Interpreted] = agreements(
            arguments.pairs, arguments.seed
        )
    else:
        found = interpreted(
            arguments.pairs, arguments.seed, with_long=not arguments.short
        )
    for row in found:
        print(row, flush=True)
        named = {"what": arguments.what, "seed": arguments.seed, **row._asdict()}
        with kept.open("a") as file:
            file.write(json.dumps(named) + "\n")


def total(rows: Sequence[dict], names: Sequence[str]) -> Iterator[str]:
    """Rows of a table: sums over all seeds for each kind, and over all kinds."""
    kinds = [*dict.fromkeys(row["kind"] for row in rows), "all"]
    for kind in kinds:
        of_kind = [row for row in rows if kind in ("all", row["kind"])]
        sums = [f"{sum(row[name] for row in of_kind):,}" for name in names]
        yield f"| {kind} | {' | '.join(sums)} |"


def page(rows: Sequence[dict]) -> str:
    """All that is known, as Markdown."""
    agree = [row for row in rows if row["what"] == "agree"]
    interpret = [row for row in rows if row["what"] == "interpret"]
    cost = search_cost(
        *(PROTEINS * COLUMNS, PUBLISHED_RESIDUES, PUBLISHED_SEQUENCES),
        PROTEINS / AT_ONCE,
    )
    lines = [
        "# The search's filter without a GPU",
        "",
        "`python -m benchmarks.bench_segments`. Nothing here was timed on a GPU.",
        "",
        "## Equal: the processor's code and HMMER's own filter",
        "",
        "Where HMMER's filter (`p7_SSVFilter`, called through pyhmmer) gives a score,"
        " it is compared to the last bit; where ours leaves a pair out, HMMER's whole"
        " first filter (`p7_MSVFilter`) is asked for its P-value.",
        "",
        "| targets | pairs | scored by HMMER | equal | without a score | left out |"
        " of these HMMER would have let through |",
        "| --- | --: | --: | --: | --: | --: | --: |",
        *total(agree, Agreement._fields[1:]),
        "",
        "## Equal: the GPU's kernel in Triton's interpreter and all the others",
        "",
        f"{SIDE_BY_SIDE.queries} queries of up to {QUERIES_UP_TO} residues side by"
        " side, where a GPU has 8 or 4: the same source, compiled for no card.",
        "",
        f"| targets, of up to {TARGETS_UP_TO} residues but for the last | pairs |"
        " equal to the definition | to the processor's code | scored by HMMER | equal |"
        " at 255 |",
        "| --- | --: | --: | --: | --: | --: | --: |",
        *total(interpret, Interpreted._fields[1:]),
        "",
        "## Read from the disassembly, and computed from it",
        "",
        "Tera-cells a second: the lower of two limits, 128 instructions a clock and"
        " multiprocessor, and one line of 128 bytes of its first cache. Computed.",
        "",
        *(row for row in _with_speed(cost_rows())),
        "",
        f"## {PROTEINS:,} proteins of {COLUMNS} residues,"
        f" {PUBLISHED_RESIDUES:.1e} residues",
        "",
        "`python -m workflow.planning.search_costs`. Computed, from what one core of a"
        f" shared machine did with 16 queries on 200,070 digitised sequences:"
        f" {CORE_CELLS:.1e} cells a second in the filter, which leaves {SURVIVORS:.2%}"
        f" to HMMER; {1e6 * SURVIVOR_SECONDS:.0f} µs for one that HMMER then drops,"
        f" {1e3 * HIT_SECONDS:.0f} ms for a hit, of which"
        f" {HITS * PUBLISHED_SEQUENCES:,.0f} are assumed for a protein. An H100 does"
        f" {planned_cells():.3g} cells a second by the table above, padding of a query"
        f" of {COLUMNS} columns taken off; {CARD_CELLS:.3g} are reckoned with. Card and"
        " cores work at the same time. Databases are read once for"
        f" {AT_ONCE:,} queries, with a card twice, at"
        f" {BYTES_PER_SECOND / 1e9:.0f} GB/s.",
        "",
        *describe_ways(cost, 256, 1, 32),
        "",
    ]
    return "\n".join(lines)


def _with_speed(rows: Iterator[str]) -> Iterator[str]:
    yield f"{next(rows)} tera-cells a second (computed) |"
    yield f"{next(rows)} --: |"
    yield from rows


if __name__ == "__main__":
    main()
