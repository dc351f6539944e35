"""Compares Foldmill with a recorded run of OpenFold3 0.5.0.

    python -m tests.parity_openfold3 CASE.json CASE.npz --checkpoint FILE.pt

prints a line for each compared quantity (name, shape, error, tolerance, verdict) and
exits 0 only if all hold. The checkpoint is imported first, as `foldmill weights import`
does. The network is fed with the features made from the JSON, but for what OpenFold3
draws or does otherwise (docs/weights.md); with --from-batch, with the recorded ones.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp

from af3_core.model.checkpoint import Checkpoint, load_checkpoint
from af3_core.model.config import Runtime
from af3_core.model.conventions import displace_unknown_nucleotides
from af3_core.model.imports import import_openfold3
from tests.parity.comparison import Comparison, report
from tests.parity_openfold3.features import OwnFeatures
from tests.parity_openfold3.network import NetworkComparison
from tests.parity_openfold3.recorded import Case


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.parity_openfold3",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("json", type=Path, help="the job that OpenFold3 was given")
    add("npz", type=Path, help="what it made of it")
    add("--checkpoint", type=Path, required=True, help="weights of the recording")
    add("--from-batch", action="store_true", help="feed the model recorded features")
    add("--attention", default="xla", help="attention backend (default: xla)")
    return parser.parse_args(argv)


def load(path: Path) -> Checkpoint:
    """Loads a checkpoint in our format; imports one in OpenFold3's."""
    if ".bin" in path.suffixes:
        return load_checkpoint(path)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "openfold3.bin"
        import_openfold3(path, target)
        return load_checkpoint(target)


def compare(arguments: argparse.Namespace) -> Iterator[Comparison | str]:
    """All comparisons that were asked for, and notes."""
    case = Case(arguments.json, arguments.npz)
    checkpoint = load(arguments.checkpoint)
    if arguments.from_batch:
        batch = displace_unknown_nucleotides(case.batch, checkpoint.config.conventions)
    else:
        own = OwnFeatures(case, checkpoint.config)
        yield from own.compare()
        batch = own.batch
    runtime = Runtime(
        dtype="float32",
        attention_backend=arguments.attention,
        return_distogram=True,
        return_confidence_logits=True,
    )
    config = replace(checkpoint.config, num_recycles=1)
    batch = jax.tree.map(jnp.asarray, batch)
    comparison = NetworkComparison(case, batch, checkpoint.params, config, runtime)
    yield from comparison.compare()


def main(argv: list[str] | None = None) -> int:
    """Runs the comparisons; returns what `report` does."""
    return report(compare(parse_arguments(argv)))


if __name__ == "__main__":
    raise SystemExit(main())
