"""Features of one job in a process of its own: of a first seed, and of a further one.

    python -P one_featurisation.py SIDE JOB.json RESULT.npz [--threads N]

is started by benchmarks.bench_start, with the Python and the source of whoever makes
them: `alphafold3` or `foldmill`. Nothing of Foldmill is imported unless it is measured.
"""

import argparse
import dataclasses
import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BUCKET = 256
SEEDS = 1, 2

type Arrays = dict[str, Any]


def alphafold3(job: Path) -> Callable[[int], Arrays]:
    """Makes features as AlphaFold 3's `run_alphafold.py` does, once for every seed."""
    folding_input = importlib.import_module("alphafold3.common.folding_input")
    components = importlib.import_module("alphafold3.constants.chemical_components")
    featurisation = importlib.import_module("alphafold3.data.featurisation")
    read = folding_input.Input.from_json(job.read_text(encoding="utf-8"))
    dictionary = components.Ccd()

    def make(seed: int) -> Arrays:
        one = dataclasses.replace(read, rng_seeds=[seed])
        (batch,) = featurisation.featurise_input(one, dictionary, buckets=[BUCKET])
        return dict(batch)

    return make


def foldmill(job: Path, threads: int) -> Callable[[int], Arrays]:
    """Makes features as the stage does: of a further seed, the conformers alone."""
    from af3_core.features.featurise import featurise, reference_positions
    from af3_core.features.values import Features
    from af3_core.inputs.chemistry import standard_components
    from af3_core.inputs.files import read_jobs
    from af3_core.model.batch import pad
    from tests.parity.adapter import features_from_batch

    (read,), _ = read_jobs(job)
    components = standard_components()
    # Unpacks the dictionary, as AlphaFold 3's is when it has been loaded.
    components["ALA"]
    kept: list[Features] = []

    def make(seed: int) -> Arrays:
        if not kept:
            kept.append(featurise(read, components))
        found = reference_positions(kept[0], components, seed, threads=threads)
        return features_from_batch(pad(kept[0], found, BUCKET))

    return make


def main() -> None:
    """Makes the features and leaves their costs, and the last ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=("alphafold3", "foldmill"))
    parser.add_argument("job", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.side == "alphafold3":
        make = alphafold3(arguments.job)
    else:
        make = foldmill(arguments.job, arguments.threads)
    costs, made = [], {}
    for seed in SEEDS:
        began, used = time.perf_counter(), time.process_time()
        made = make(seed)
        costs.append((time.perf_counter() - began, time.process_time() - used))
    arrays = {name: np.asarray(value) for name, value in made.items()}
    kept = {name: value for name, value in arrays.items() if value.dtype != object}
    np.savez(arguments.result, __costs__=np.str_(json.dumps(costs)), **kept)


if __name__ == "__main__":
    main()
