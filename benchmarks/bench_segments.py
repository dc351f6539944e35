"""What is known of the search's filter without a GPU.

    python -m benchmarks.bench_segments [--pairs 1000000] [--interpreted 10000]

compares the processor's code with HMMER's own filter, pair by pair, and what is left
out with HMMER's own P-value; the kernel of a GPU, run by Triton's interpreter, with the
definition and the processor's code; and reads from the disassembly what a cell costs,
with the cells a second and the hours that follow. Markdown goes to
benchmarks/results/segments.md.
"""

import concurrent.futures
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pyhmmer.easel import DigitalSequence, TextSequence
from pyhmmer.plan7 import Background, Builder, OptimizedProfile

from af3_core.search.hmmer import ALPHABETS
from af3_core.search.prefilter import make_filter
from kernels.segments import PackedSequences, Profiles, pack_sequences
from kernels.segments_cpu import segment_scores
from tests.hmmer_programs import read_fasta

RESULTS = Path(__file__).parent / "results"
DATABASES = Path(__file__).parents[1] / "config/demo/databases"
AMINO = ALPHABETS["protein"]
F1 = 5e-4
X = AMINO.symbols.index("X")
ODD = [AMINO.symbols.index(letter) for letter in "BJZOUX*"]
MARGIN = 1.001
"""On P-values, as in the filter."""


class Agreement(NamedTuple):
    """Pairs of one kind, and what was found."""

    kind: str
    pairs: int
    scored: int
    """For which HMMER's first filter gives a score …"""
    equal: int
    """… that is ours."""
    overflows: int
    """That HMMER lets through without one."""
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


def compare(
    kind: str, models: Sequence[OptimizedProfile], packed: PackedSequences
) -> Agreement:
    """Our scores and decisions against HMMER's own, for every pair."""
    digital = [
        DigitalSequence(AMINO, name="t", sequence=packed.residues[start:stop])
        for start, stop in zip(packed.starts, packed.starts[1:], strict=False)
    ]
    counts = np.zeros(5, np.int64)
    for model in models:
        chosen = make_filter(model, F1)
        ours = segment_scores(chosen.costs, packed)
        kept = np.zeros(len(digital), bool)
        kept[chosen.select(packed)] = True
        for score, is_kept, sequence in zip(
            ours.tolist(), kept.tolist(), digital, strict=True
        ):
            model.L = len(sequence)
            theirs = model.ssv_filter(sequence)
            is_scored = theirs is not None and math.isfinite(theirs)
            if is_scored:
                total = (theirs + 3.0) * model.scale_b
                total += 2 * model.tjb + model.tbm + model.tec
                counts[0] += 1
                counts[1] += abs(total - score) < 1e-3
            counts[2] += theirs is not None and not is_scored
            counts[3] += not is_kept
            counts[4] += not is_kept and passes(model, sequence)
    return Agreement(kind, len(models) * len(digital), *counts.tolist())


def passes(model: OptimizedProfile, sequence: DigitalSequence) -> bool:
    """Whether HMMER's whole first filter, J state and all, lets a sequence through."""
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


def agreements(num_pairs: int) -> Iterator[Agreement]:
    """One row for each kind of target."""
    rng = np.random.default_rng(23)
    found = queries(rng)
    models = [build(query) for query in found]
    for (kind, make), share in zip(targets(rng, found).items(), SHARES, strict=True):
        count = math.ceil(num_pairs * share / len(models))
        packed = pack_sequences([make() for _ in range(count)])
        yield compare(kind, models, packed)


# --- The kernel of a GPU, without one ------------------------------------------------


def interpret(profiles: Profiles, packed: PackedSequences) -> np.ndarray:
    """Its scores; the process must have been started with TRITON_INTERPRET=1."""
    from kernels.segments_triton import (
        kernel_arrays,
        make_tables,
        pack_words,
        plan_launch,
    )
    from tests.kernels.interpreter import launch

    words, starts = pack_words(packed)
    shape = len(profiles), len(starts) - 1
    best = np.zeros(shape, np.uint8)
    for tables in make_tables(profiles):
        planned = plan_launch(tables.layout, len(tables.groups), shape[1])
        launch(
            "kernels.sweep",
            "sweep_segments",
            planned.grid,
            {k: np.asarray(x) for k, x in kernel_arrays(tables, words, starts).items()},
            {"best_ptr": best},
            planned.scalars | planned.constants,
        )
    return best[:, : len(packed.starts) - 1]


def interpreted(num_pairs: int) -> Iterator[tuple[str, int, int, int]]:
    """Kind, pairs, those equal to the processor's, and those that saturate."""
    rng = np.random.default_rng(24)
    found = [query for query in queries(rng) if len(query) < 160][:16]
    profiles = [make_filter(build(query), F1).costs for query in found]
    kinds = targets(rng, found)
    kinds.pop("10,000 to 40,000 residues")
    os.environ["TRITON_INTERPRET"] = "1"
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        for kind, make in kinds.items():
            drawn = []
            while len(drawn) * len(profiles) * len(kinds) < num_pairs:
                target = make()
                drawn += [target] * (len(target) <= 150)
            packed = pack_sequences(drawn)
            best = pool.submit(interpret, profiles, packed).result()
            expected = np.stack([segment_scores(costs, packed) for costs in profiles])
            equal = int((best == expected).sum())
            yield kind, best.size, equal, int((best == 255).sum())
    del os.environ["TRITON_INTERPRET"]
