"""The network on a CPU: AlphaFold 3's own, v3.0.4, and Foldmill's, in one run.

    python -m benchmarks.bench_model --alphafold3 FOLDER --checkpoint af3.bin.zst
        [--alphafold3-python PYTHON] [--pairs 3] [--dtypes float32 bfloat16]
        [--tokens 256 ...]
    python -m benchmarks.bench_model --before CLONE
    python -m benchmarks.bench_model --profile --checkpoint af3.bin.zst

FOLDER is a clone of github.com/google-deepmind/alphafold3 at v3.0.4. Its network needs
the packages below, in an environment of its own; nothing of it has to be built, for the
modules that are made when it is installed (C++, sets of components) are imported by the
network and never called, and have stand-ins unless they are there:

    uv venv --python 3.12 af3
    uv pip install --python af3/bin/python jax==0.10.2 dm-haiku==0.0.16 \\
        tokamax==0.0.12 rdkit==2025.9.4 zstandard absl-py tqdm 'etils[epath]'

and then `--alphafold3-python af3/bin/python`. Any weights in the official format do; if
the file is missing, pseudo-random ones of full size are written there (1 GB), which
take the same time as trained ones.

Every process holds one network, compiled, and they take turns, nothing beside them:
keep the machine quiet. Both get the same features and the same seed, and what they
predict is compared. Results go to benchmarks/results/model_cpu.md. With `--before`,
what the demo's predictions take here and by another clone of Foldmill goes to
demo_cpu.md; with `--profile`, where Foldmill's time goes (benchmarks/model_profile.py)
to model_cpu_profile.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import chain, cycle
from pathlib import Path
from statistics import median
from typing import IO, Any, NoReturn

import numpy as np

from af3_core.chemistry.dictionary import Components
from af3_core.features.featurise import featurise, reference_positions
from af3_core.inputs.files import read_jobs
from af3_core.job import Job, Polymer, Template
from af3_core.model.batch import pad
from benchmarks import model_profile
from benchmarks.page import RESULTS, command_line, machine, publish
from tests.parity.adapter import features_from_batch
from tests.parity.recipe import write_reference_checkpoint
from workflow.planning.buckets import bucket_for, candidate_sizes

ROOT = Path(__file__).resolve().parents[1]
DATABASES = ROOT / "config" / "demo" / "databases"
ALPHAFOLD3, FOLDMILL, BEFORE = "AlphaFold 3", "Foldmill", "Foldmill before"
NUM_RECYCLES, NUM_STEPS, NUM_SAMPLES, SEED = 1, 20, 5, 1
MSA_ROWS = 2048
"""More than the 1,024 that the network draws of an alignment."""
TEMPLATE_STARTS = 0, 5, 10, 15
COMPARED_TOKENS, PROFILED_TOKENS = (256,), (128, 256, 512)
DEMO_TOKENS = 80
"""What the demo's plan pads all its jobs to."""
_LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY-"))


@dataclass(frozen=True)
class Run:
    """What one process took, and what it predicted last."""

    load: tuple[float, float]
    """Wall and processor time, s, as those of the calls."""
    compile: tuple[float, float]
    """For all shapes that came."""
    calls: tuple[tuple[float, float], ...]
    """One for each item."""
    peak: int
    """Bytes: VmHWM of the process."""
    jax: str
    positions: np.ndarray
    """Å."""
    pae: np.ndarray
    """Å."""

    @property
    def from_start(self) -> np.ndarray:
        """Wall and processor time of weights, compilation and all items."""
        return np.sum([self.load, self.compile, *self.calls[:-1]], axis=0)

    @property
    def compiled(self) -> np.ndarray:
        """Likewise of all items, had the network been compiled before.

        The last call repeats the first, which makes what is made once.
        """
        return np.sum(self.calls[1:], axis=0)


@dataclass(frozen=True)
class Side:
    """A network, and how a process that computes it is started."""

    name: str
    network: str
    """As `one_network` calls it."""
    python: Path
    source: Path
    """Put first where modules are looked for."""

    @contextmanager
    def start(self, task: Mapping[str, Any]) -> Iterator["Process"]:
        """A process that has loaded the weights."""
        script = Path(__file__).with_name("one_network.py")
        with tempfile.TemporaryDirectory() as temporary:
            task_file, result = Path(temporary, "task.json"), Path(temporary, "r.npz")
            task_file.write_text(json.dumps({**task, "network": self.network}))
            with (
                Path(temporary, "said").open("w+", encoding="utf-8") as said,
                subprocess.Popen(
                    [self.python, "-P", script, task_file, result],
                    env={**os.environ, "PYTHONPATH": str(self.source)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    text=True,
                ) as popen,
            ):
                try:
                    process = Process(self.name, popen, result, said)
                    process.wait()
                    yield process
                finally:
                    popen.kill()


@dataclass(frozen=True)
class Process:
    """One that holds a network."""

    name: str
    popen: "subprocess.Popen[str]"
    result: Path
    said: IO[str]
    """What it wrote to standard error."""

    def wait(self) -> None:
        """Until it has done what it was told.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        if not pipe(self.popen.stdout).readline():
            self._refuse()

    def call(self, features: Path) -> None:
        """Computes one item."""
        print(features, file=pipe(self.popen.stdin), flush=True)
        self.wait()

    def finish(self) -> Run:
        """Ends it, and says what it took."""
        pipe(self.popen.stdin).close()
        if self.popen.wait():
            self._refuse()
        with np.load(self.result) as arrays:
            costs = json.loads(str(arrays["costs"]))
            return Run(
                load=tuple(costs["load"]),
                compile=tuple(costs["compile"]),
                calls=tuple(map(tuple, costs["calls"])),
                peak=costs["peak"],
                jax=costs["jax"],
                positions=arrays["positions"],
                pae=arrays["pae"],
            )

    def _refuse(self) -> NoReturn:
        self.popen.wait()
        self.said.seek(0)
        raise RuntimeError(f"{self.name}:\n{self.said.read()[-4000:]}")


def pipe(stream: IO[str] | None) -> IO[str]:
    """A pipe of a process that was started with one."""
    assert stream is not None
    return stream


def make_job(num_tokens: int) -> Job:
    """Barnase and barstar, as often as they fit; of barnase a part, if it does not.

    Every chain has an alignment of made-up rows and four templates, which are all one
    protein with its residues counted from another place each.
    """
    names = DATABASES.joinpath("queries.fasta").read_text(encoding="utf-8").split()
    known = dict(zip(names[::2], names[1::2], strict=True))
    chains: list[str] = []
    left, rng = num_tokens, np.random.default_rng(0)
    for name in cycle((">barnase", ">barstar")):
        sequence = known[name]
        if len(sequence) > left:
            break
        chains.append(sequence)
        left -= len(sequence)
    chains = chains or [known[">barnase"][:num_tokens]]
    return Job(
        "barnase_barstar",
        (SEED,),
        tuple(
            Polymer(
                *("protein", tuple(ids_of(chains, sequence)), sequence),
                unpaired_msa=make_alignment(sequence, rng),
                paired_msa="",
                templates=tuple(make_templates(len(sequence))),
            )
            for sequence in dict.fromkeys(chains)
        ),
    )


def ids_of(chains: Sequence[str], sequence: str) -> Iterator[str]:
    """The ids of the chains with this sequence."""
    return (chr(ord("A") + i) for i, other in enumerate(chains) if other == sequence)


def make_alignment(sequence: str, rng: np.random.Generator) -> str:
    """A3M: the sequence, and rows in which 20 to 80 % of it is replaced by chance."""
    query = np.array(list(sequence))
    rows = [query]
    for share in rng.uniform(0.2, 0.8, MSA_ROWS - 1):
        other = rng.choice(_LETTERS, len(query))
        rows.append(np.where(rng.random(len(query)) < share, other, query))
    return "".join(f">{i}\n{''.join(row)}\n" for i, row in enumerate(rows))


def make_templates(length: int) -> Iterator[Template]:
    """Ubiquitin, aligned to the query at four places."""
    text = DATABASES.joinpath("pdb_mmcif", "1ubi.cif").read_text(encoding="utf-8")
    for start in TEMPLATE_STARTS:
        residues = range(min(76, length - start))
        yield Template(text, tuple(start + i for i in residues), tuple(residues))


def write_features(job: Job, num_tokens: int, path: Path) -> Path:
    """The features that both networks read, by AlphaFold 3's names, padded."""
    components = Components.load(job.user_ccd)
    features = featurise(job, components)
    positions = reference_positions(features, components, SEED)
    np.savez(path, **features_from_batch(pad(features, positions, num_tokens)))
    return path


def demo_jobs() -> list[Job]:
    """The demo's, without what is searched for: alignments and templates are padded to
    one size whatever is found, so that they take the same time."""
    inputs = sorted((ROOT / "config/demo/inputs").iterdir())
    jobs = [job for path in inputs for job in read_jobs(path)[0]]
    blank = {
        "protein": {"unpaired_msa": "", "paired_msa": "", "templates": ()},
        "rna": {"unpaired_msa": ""},
        "dna": {},
    }
    return [
        replace(
            job,
            entities=tuple(
                replace(e, **blank[e.kind]) if isinstance(e, Polymer) else e
                for e in job.entities
            ),
        )
        for job in jobs
    ]


def take_turns(
    sides: Sequence[Side], task: Mapping[str, Any], items: Sequence[Path], pairs: int
) -> list[dict[str, Run]]:
    """Every side so often, each time all items, and the first again, by a new process.

    Raises:
        RuntimeError: a process failed; with what it said.
    """
    found = []
    for number in range(pairs):
        found.append({})
        for side in sides:
            with side.start(task) as process:
                for item in (*items, items[0]):
                    process.call(item)
                found[-1][side.name] = process.finish()
            print(f"{number + 1} {side.name}", flush=True)
    return found


def call_in_turn(
    sides: Mapping[Side, Path], task: Mapping[str, Any], pairs: int
) -> list[dict[str, Run]]:
    """Every side so often with its features; each keeps its network compiled.

    Raises:
        RuntimeError: a process failed; with what it said.
    """
    with ExitStack() as stack:
        processes = {
            stack.enter_context(side.start(task)): path for side, path in sides.items()
        }
        for number in range(pairs):
            for process, path in processes.items():
                process.call(path)
                print(f"{task['dtype']} {number + 1} {process.name}", flush=True)
        runs = {process.name: process.finish() for process in processes}
    return [
        {name: replace(run, calls=(run.calls[pair],)) for name, run in runs.items()}
        for pair in range(pairs)
    ]


_QUANTITIES: Mapping[str, Callable[[Run], float]] = {
    "a call, s": lambda run: run.calls[0][0],
    "processor, s": lambda run: run.calls[0][1],
    "cores busy": lambda run: run.calls[0][1] / run.calls[0][0],
}
PROCESS_QUANTITIES: Mapping[str, Callable[[Run], float]] = {
    "compilation, s": lambda run: run.compile[0],
    "weights, s": lambda run: run.load[0],
    "peak memory, GB": lambda run: run.peak / 1e9,
}
_DEMO_QUANTITIES: Mapping[str, Callable[[Run], float]] = {
    "with weights and compilation, s": lambda run: run.from_start[0],
    "with weights and compilation, processor, s": lambda run: run.from_start[1],
    "compiled before, s": lambda run: run.compiled[0],
    "compiled before, processor, s": lambda run: run.compiled[1],
    "peak memory, GB": lambda run: run.peak / 1e9,
}


def summary(
    pairs: Sequence[Mapping[str, Run]],
    quantities: Mapping[str, Callable[[Run], float]] = _QUANTITIES,
) -> list[str]:
    """Markdown: medians of all sides, and the medians of ratios to the first's."""
    first, *others = pairs[0]
    named = "".join(f" {name} | ratio |" for name in others)
    lines = [f"| | {first} |{named}", "| --- | --: |" + " --: | --: |" * len(others)]
    for name, measure in quantities.items():
        values = [[measure(run) for run in pair.values()] for pair in pairs]
        theirs, *ours = (median(column) for column in zip(*values, strict=True))
        ratios = [
            median(row[i] / row[0] for row in values) for i in range(1, len(others) + 1)
        ]
        cells = "".join(
            f" {y:.2f} | {r:.2f} |" for y, r in zip(ours, ratios, strict=True)
        )
        lines.append(f"| {name} | {theirs:.2f} |{cells}")
    return lines


def raw_numbers(
    pairs: Sequence[Mapping[str, Run]],
    quantities: Mapping[str, Callable[[Run], float]] = _QUANTITIES,
) -> list[str]:
    """Markdown: every process, in the order in which they ran."""
    lines = [
        f"| pair | network | {' | '.join(quantities)} |",
        "| --: | --- |" + " --: |" * len(quantities),
    ]
    for number, pair in enumerate(pairs, 1):
        for name, run in pair.items():
            values = " | ".join(
                f"{measure(run):.2f}" for measure in quantities.values()
            )
            lines.append(f"| {number} | {name} | {values} |")
    return lines


def agreement(theirs: Run, ours: Run, features: Mapping[str, np.ndarray]) -> str:
    """How far apart two predictions are, as a sentence."""
    # They may be padded differently.
    real = slice(int(features["seq_mask"].sum()))
    atoms = features["pred_dense_atom_mask"][real]
    apart = (theirs.positions[:, real] - ours.positions[:, real])[:, atoms]
    worst = np.sqrt((apart**2).sum(-1).mean(-1)).max()
    spread = theirs.positions[:, real][:, atoms]
    size = np.sqrt(((spread - spread.mean(1, keepdims=True)) ** 2).sum(-1).mean())
    error = np.abs(theirs.pae[:, real, real] - ours.pae[:, real, real]).mean()
    return (
        f"What they predict for the same seed: positions of {atoms.sum():,} atoms"
        f" differ by {worst:.2g} Å RMSD without superposition in the sample that"
        f" differs most (of a radius of gyration of {size:.3g} Å), predicted aligned"
        f" errors by {error:.2g} Å on average."
    )


def compare_networks(
    arguments: argparse.Namespace, temporary: Path, sides: Sequence[Side]
) -> Iterator[str]:
    """Sections of the page, one for each size and type."""
    folder = temporary / "weights"
    folder.mkdir()
    # AlphaFold 3 is told of a folder that holds nothing else.
    checkpoint = folder / arguments.checkpoint.name
    checkpoint.symlink_to(arguments.checkpoint.resolve())
    for num_tokens in arguments.tokens or COMPARED_TOKENS:
        job = make_job(num_tokens)
        path = write_features(job, num_tokens, temporary / f"{num_tokens}.npz")
        with np.load(path) as arrays:
            features = dict(arrays)
        given = dict.fromkeys(sides, path)
        planned = bucket_for(int(features["seq_length"]), candidate_sizes(num_tokens))
        if planned < num_tokens:
            ours = replace(sides[-1], name=f"{FOLDMILL}, {planned} places")
            path = write_features(job, planned, temporary / f"{planned}.npz")
            given[ours] = path
        for dtype in arguments.dtypes:
            task = {
                "checkpoint": str(checkpoint),
                "dtype": dtype,
                "num_recycles": NUM_RECYCLES,
                "num_steps": arguments.steps,
                "num_samples": NUM_SAMPLES,
                "drawn_tokens": num_tokens,
                "few_atoms": True,
                "seed": SEED,
            }
            pairs = call_in_turn(given, task, arguments.pairs)
            last = pairs[-1]
            jax = ", ".join(f"{name}: JAX {run.jax}" for name, run in last.items())
            yield from (
                "",
                f"## {dtype}, {features['seq_length']} tokens padded to {num_tokens}",
                "",
                *summary(pairs),
                "",
                "Of each network's process:",
                "",
                *summary([last], PROCESS_QUANTITIES),
                "",
                agreement(last[ALPHAFOLD3], list(last.values())[-1], features),
                "",
                f"All pairs ({len(pairs)}); {jax}:",
                "",
                *raw_numbers(pairs),
            )


def compare_demos(
    arguments: argparse.Namespace, temporary: Path, sides: Sequence[Side]
) -> Iterator[str]:
    """The page on the demo: all its jobs, in one process of each clone."""
    jobs = demo_jobs()
    items = [
        write_features(job, DEMO_TOKENS, temporary / f"demo{i}.npz")
        for i, job in enumerate(jobs)
    ]
    task = {
        "checkpoint": str(ROOT / "config/demo/model/trained.bin.zst"),
        "dtype": "float32",
        "num_recycles": None,
        "num_steps": None,
        "num_samples": None,
        "drawn_tokens": DEMO_TOKENS,
        # Among them are nucleic acids, and all go through one program.
        "few_atoms": False,
        "seed": SEED,
    }
    pairs = take_turns(sides, task, items, arguments.pairs)
    commits = [
        subprocess.check_output(
            ["git", "describe", "--always", "--dirty"], cwd=side.source, text=True
        ).strip()
        for side in sides
    ]
    yield from (
        f"# The demo's {len(jobs)} predictions on a CPU, {commits[0]} and {commits[1]}",
        "",
        f"`python -m benchmarks.bench_model --before CLONE` on {machine()}. All jobs go"
        f" through one program of {DEMO_TOKENS} tokens, in a process of its own each"
        " time. Times are wall times unless it says processor; medians, and the median"
        " of the pairs' ratios.",
        "",
        *summary(pairs, _DEMO_QUANTITIES),
        "",
        f"All pairs ({len(pairs)}):",
        "",
        *raw_numbers(pairs, _DEMO_QUANTITIES),
    )


def header(arguments: argparse.Namespace) -> list[str]:
    """What was measured, and how."""
    return [
        "# The network on a CPU, beside AlphaFold 3's",
        "",
        f"`python -m benchmarks.bench_model` on {machine()}. AlphaFold 3 v3.0.4 as"
        " published, with the attention that it has for CPUs (`xla`), and Foldmill;"
        f" JAX {version('jax')} here. Weights of full size, pseudo-random or not, from"
        f" a file in the official format. {NUM_RECYCLES} recycle,"
        f" {arguments.steps} steps, {NUM_SAMPLES} samples. Barnase and barstar with"
        f" {MSA_ROWS:,} made-up rows of"
        f" alignment, of which the network draws 1,024, padded to 16,384 by both, and"
        f" {len(TEMPLATE_STARTS)} templates. Each network has a process of its own, on"
        " all cores, which keeps it compiled, and they take turns; a column with a"
        " number of places is the same job and seed as our plan pads it. Times are wall"
        " times unless it says processor. The numbers shown first are medians, and the"
        " median of the pairs' ratios.",
    ]


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = command_line("bench_model", __doc__)
    add = parser.add_argument
    add("--alphafold3", type=Path, help="a clone of AlphaFold 3")
    add("--alphafold3-python", type=Path, default=Path(sys.executable))
    add("--checkpoint", type=Path, help="weights of full size; made if absent")
    add("--before", type=Path, help="another clone of Foldmill, for the demo")
    add("--pairs", type=int, default=3)
    add("--steps", type=int, default=NUM_STEPS)
    add("--tokens", type=int, nargs="+")
    choices = ("float32", "bfloat16")
    add("--dtypes", nargs="+", choices=choices, default=choices)
    add("--profile", action="store_true")
    add("--out", type=Path, default=RESULTS, help="a folder for the pages")
    arguments = parser.parse_args(argv)
    needs_weights = arguments.profile or arguments.alphafold3
    if not needs_weights and not arguments.before:
        parser.error("--alphafold3, --before or --profile is needed")
    if needs_weights and not arguments.checkpoint:
        parser.error("--checkpoint is needed")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and writes the pages that are asked for."""
    arguments = parse_arguments(argv)
    checkpoint: Path | None = arguments.checkpoint
    if checkpoint and not checkpoint.exists():
        print(f"making {checkpoint}", file=sys.stderr)
        write_reference_checkpoint(checkpoint)
    here = Side(FOLDMILL, "foldmill", Path(sys.executable), ROOT)
    with tempfile.TemporaryDirectory() as temporary:
        folder, out = Path(temporary), arguments.out
        if arguments.profile:
            publish(out / "model_cpu_profile.md", profile_here(arguments, folder))
        if arguments.alphafold3:
            # The interpreter of an environment is a link that must not be followed.
            python = arguments.alphafold3_python.absolute()
            source = arguments.alphafold3.resolve() / "src"
            theirs = Side(ALPHAFOLD3, "alphafold3", python, source)
            found = compare_networks(arguments, folder, [theirs, here])
            publish(out / "model_cpu.md", chain(header(arguments), found))
        if arguments.before:
            before = replace(here, name=BEFORE, source=arguments.before.resolve())
            found = compare_demos(arguments, folder, [before, here])
            publish(out / "demo_cpu.md", found)
    return 0


def profile_here(arguments: argparse.Namespace, folder: Path) -> Iterator[str]:
    """The page on where the time goes."""
    features = {
        n: write_features(make_job(n), n, folder / f"{n}.npz")
        for n in arguments.tokens or PROFILED_TOKENS
    }
    yield from model_profile.page(machine())
    yield from model_profile.profiles(arguments.checkpoint, features, arguments.dtypes)


if __name__ == "__main__":
    raise SystemExit(main())
