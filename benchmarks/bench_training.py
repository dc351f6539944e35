"""One step of training of a full-size network on a small chain: seconds and memory.

    python -m benchmarks.bench_training [--model config.json] [--tokens 40]

Starts from a pseudo-random checkpoint in the official file format, as fine-tuning would
from the real one. The published network needs 16 GB.
"""

import argparse
import json
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import jax

from af3_core.chemistry.dictionary import Components
from af3_core.features.featurise import featurise, reference_positions
from af3_core.inputs.alphafold3 import read_alphafold3
from af3_core.inputs.entities import Links
from af3_core.inputs.entry import Entry
from af3_core.model.checkpoint import write_random_checkpoint
from af3_core.model.config import config_from_dict
from af3_core.structures.structure_file import parse_structure
from af3_core.training.checkpoint import start_parameters
from af3_core.training.examples import Example, make_example
from af3_core.training.jobs import job_for
from af3_core.training.loop import Subject, train
from af3_core.training.settings import Structure, Training
from af3_core.training.state import start_state
from af3_core.training.step import Setup

STRUCTURE = Path("config/demo/references/villin_headpiece.cif")


def main() -> int:
    """Prints what each part takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a ModelConfig as JSON")
    parser.add_argument("--tokens", type=int, default=40)
    arguments = parser.parse_args()
    given = arguments.model.read_text(encoding="utf-8") if arguments.model else "{}"
    config = config_from_dict(json.loads(given))
    training = Training(structure=(Structure(steps=2, noise_levels=2),))
    # One recycle at most: what is not differentiated costs time, not memory.
    setup = Setup(replace(config, num_recycles=1), training)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "af3.bin.zst"
        write_random_checkpoint(path, config, seed=1)
        begun = time.perf_counter()
        params = start_parameters(setup, path)
    count = sum(x.size for x in jax.tree.leaves(params)) / 1e6
    report(f"{count:.1f} million parameters loaded", begun)
    state = start_state(params)
    del params
    begun = time.perf_counter()
    for _, progress in train(state, [small_subject(arguments.tokens)], setup):
        report(f"step {progress.step}, loss {progress.total:.3f}", begun)
        begun = time.perf_counter()
    return 0


def small_subject(num_tokens: int) -> Subject:
    """The villin headpiece, without alignment."""
    text = STRUCTURE.read_text(encoding="utf-8")
    document = job_for(text, "villin", (1,), search=False)
    job = read_alphafold3(Entry("villin", "", document, "a job"), Links(Path()))
    components = Components.load()
    features = featurise(job, components)
    positions = reference_positions(features, components, seed=1)
    structure = parse_structure(text, "villin")
    example: Example = make_example(
        features, positions, structure, num_tokens, msa_rows=16
    )
    return Subject("villin", (example,))


def report(what: str, begun: float) -> None:
    """One line, with the most memory held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what}: {time.perf_counter() - begun:.1f} s, at most {peak:.1f} GB")


if __name__ == "__main__":
    raise SystemExit(main())
