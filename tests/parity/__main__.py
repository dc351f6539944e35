"""Compares Foldmill with a recorded run of AlphaFold 3.

    python -m tests.parity CASE.json CASE.npz --checkpoint af3.bin.zst

prints a line for each compared quantity (name, shape, error, tolerance, verdict) and
exits 0 only if all hold. The model is fed with the features made from the JSON, or,
with --from-batch, with the recorded ones. Samples are as many as were recorded; the
diffusion steps cannot be read off a recording and default to the 8 of our cases; the
recycles are found by running passes through the trunk until the recorded embeddings
are met.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from af3_core.model.checkpoint import load_checkpoint
from af3_core.model.config import ModelConfig, Runtime, Sampler
from tests.parity.case import Case, on_device
from tests.parity.comparison import Comparison, report
from tests.parity.features import compare_features, featurise_case
from tests.parity.model import ModelComparison
from tests.parity.recipe import write_reference_checkpoint


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.parity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("json", type=Path, help="the job that AlphaFold 3 was given")
    add("npz", type=Path, help="what it made of it")
    add("--checkpoint", type=Path, help="weights of the recording; made anew if absent")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--features-only", action="store_true", help="skip the model")
    what.add_argument(
        "--from-batch", action="store_true", help="feed the model recorded features"
    )
    add("--dtype", choices=["float32", "bfloat16"], default="float32")
    add("--attention", default="xla", help="attention backend (default: xla)")
    add("--steps", type=int, default=8, help="diffusion steps (default: 8)")
    add("--recycles", type=int, help="recycles (default: found)")
    add("--max-recycles", type=int, default=10, help="where the search for them ends")
    return parser.parse_args(argv)


def compare(arguments: argparse.Namespace) -> Iterator[Comparison]:
    """All comparisons that were asked for."""
    case = Case(arguments.json, arguments.npz)
    batch = case.batch
    if not arguments.from_batch:
        batch = featurise_case(case)
        yield from compare_features(batch, case.batch)
    if arguments.features_only:
        return
    if not arguments.checkpoint.exists():
        print(f"making {arguments.checkpoint}", file=sys.stderr)
        write_reference_checkpoint(arguments.checkpoint)
    checkpoint = load_checkpoint(arguments.checkpoint)
    search = arguments.recycles is None
    config: ModelConfig = replace(
        checkpoint.config,
        num_recycles=0 if search else arguments.recycles,
        sampler=Sampler(num_steps=arguments.steps),
    )
    runtime = Runtime(
        dtype=arguments.dtype,
        attention_backend=arguments.attention,
        return_embeddings=True,
        return_distogram=True,
    )
    comparison = ModelComparison(
        case, on_device(batch), checkpoint.params, config, runtime
    )
    yield from comparison.compare(arguments.max_recycles if search else None)


def main(argv: list[str] | None = None) -> int:
    """Runs the comparisons; returns what `report` does."""
    arguments = parse_arguments(argv)
    if arguments.checkpoint is None and not arguments.features_only:
        print("--checkpoint is needed unless --features-only", file=sys.stderr)
        return 2
    return report(compare(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
