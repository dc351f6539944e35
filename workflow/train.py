"""Trains a network on structures that are known, or goes on where it stopped.

    python -m workflow.train --examples config/demo/training.json --out models/training

makes features of the examples as every campaign does, in OUT/campaign; trains; and
writes to OUT the checkpoint, its configuration, the losses and a plot of them. The
same command goes on where an interrupted one ended. See docs/training.md.
"""

import argparse
import csv
import hashlib
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from af3_core.job import InputError
from af3_core.model.config import config_from_dict
from af3_core.training.checkpoint import start_parameters, write_trained
from af3_core.training.loop import Progress, Subject, train
from af3_core.training.plot import draw_losses
from af3_core.training.settings import Training, training_from_dict
from af3_core.training.state import State, read_state, start_state, write_state
from af3_core.training.step import Setup
from workflow.tables import digest_file, replacing
from workflow.train_data import (
    ExampleSet,
    Known,
    make_subjects,
    read_example_set,
    read_structures,
)

RUN, STATE, LOSSES = "run.json", "state/state.bin.zst", "losses.csv"
PLOT, CHECKPOINT = "losses.png", "trained.bin.zst"
_SAVE_EVERY_S, _SHOW_EVERY_S, _SHOWN_STEPS = 300.0, 15.0, 50
_NOT_LOSSES = frozenset({"step", "stage", "subject", "total", "gradient_norm"})

type LossRow = dict[str, str]


def main(argv: list[str] | None = None) -> int:
    """Command line of training."""
    parser = argparse.ArgumentParser(prog="workflow.train", description=__doc__)
    parser.add_argument("--examples", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--minutes", type=float, help="stop after this long; the rest another time"
    )
    arguments = parser.parse_args(argv)
    try:
        train_set(arguments.examples, arguments.out, arguments.minutes)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def train_set(path: Path, out: Path, minutes: float | None = None) -> None:
    """Trains on an example set until its last step, or for so many minutes.

    Raises:
        InputError: the example set cannot be used, or `out` holds another run.
        RuntimeError: the workflow could not make the features.
    """
    examples = read_example_set(path)
    known = read_structures(examples)
    setup = read_setup(examples)
    out.mkdir(parents=True, exist_ok=True)
    claim(out, examples, known)
    subjects = make_subjects(out.resolve() / "campaign", examples, known)
    state = open_state(out, examples, setup)
    finished = fit(out, state, subjects, setup, minutes)
    if finished is None:
        print("stopped; the same command goes on")
        return
    path = out / CHECKPOINT
    write_trained(path, finished, setup.config, examples.start)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, SHA-256 {digest_file(path)}")


def read_setup(examples: ExampleSet) -> Setup:
    """The network and how it is trained.

    Raises:
        InputError: an unknown or unfitting field.
    """
    try:
        text = examples.model.read_text(encoding="utf-8")
        config = config_from_dict(json.loads(text))
        return Setup(config, training_from_dict(examples.training))
    except (OSError, ValueError) as error:
        allowed = "fields of ModelConfig and Training, see docs/training.md"
        raise InputError(str(examples.model), "model", str(error), allowed) from error


def claim(out: Path, examples: ExampleSet, known: Iterable[Known]) -> None:
    """Writes down what the run is of, or checks that it is still of that.

    Raises:
        InputError: the folder holds a run of other examples, model or settings.
    """
    digest = hashlib.sha256(examples.model.read_bytes())
    for one in known:
        digest.update(f"{one.name} {one.learn} {one.text}".encode())
    paths = {"model", "start", "databases", "learn", "doubt"}
    facts = examples.model_dump(mode="json", exclude=paths)
    facts["model_and_structures"] = digest.hexdigest()
    text = json.dumps(facts, indent=2, sort_keys=True) + "\n"
    file = out / RUN
    if not file.exists():
        file.write_text(text, encoding="utf-8")
    elif file.read_text(encoding="utf-8") != text:
        allowed = "a new folder: this one holds a run of other examples or settings"
        raise InputError(str(file), "--out", str(out), allowed)


def open_state(out: Path, examples: ExampleSet, setup: Setup) -> State:
    """Where an earlier run stopped, or a start from random or given weights."""
    if (file := out / STATE).is_file():
        return read_state(file)
    return start_state(start_parameters(setup, examples.start))


def fit(
    out: Path,
    start: State,
    subjects: Sequence[Subject],
    setup: Setup,
    minutes: float | None,
) -> State | None:
    """Trains, saves, shows progress; the state after the last step, if it got there."""
    rows = read_losses(out / LOSSES, int(start.step))
    first, state = len(rows), start
    begun = shown = saved = time.monotonic()
    for state, progress in train(start, subjects, setup):
        rows.append(loss_row(progress))
        now = time.monotonic()
        if now - shown > _SHOW_EVERY_S:
            seconds = (now - begun) / (len(rows) - first)
            print(describe(rows, setup.training, seconds), flush=True)
            shown = now
        is_late = minutes is not None and now - begun > 60 * minutes
        if is_late or now - saved > _SAVE_EVERY_S:
            save(out, state, rows)
            saved = now
        if is_late:
            return None
    save(out, state, rows)
    return state


def save(out: Path, state: State, rows: Sequence[LossRow]) -> None:
    """Writes what a run needs to go on, the table of losses and their plot."""
    write_state(out / STATE, state)
    write_losses(out / LOSSES, rows)
    draw_losses(rows).savefig(out / PLOT, dpi=150)


def loss_row(progress: Progress) -> LossRow:
    """One step as a row of `losses.csv`."""
    return {
        "step": str(progress.step),
        "stage": progress.stage,
        "subject": progress.subject,
        "total": f"{progress.total:.6g}",
        "gradient_norm": f"{progress.gradient_norm:.4g}",
        **{name: f"{value:.6g}" for name, value in progress.losses.items()},
    }


def describe(rows: Sequence[LossRow], training: Training, seconds: float) -> str:
    """One line: how far, the mean of each loss lately, and how long to go.

    `seconds` is what a step takes.
    """
    step, stage = int(rows[-1]["step"]), rows[-1]["stage"]
    end = training.num_steps
    recent = [row for row in rows[-_SHOWN_STEPS:] if row["stage"] == stage]
    terms = [name for name in rows[-1] if name not in _NOT_LOSSES]
    losses = "  ".join(
        f"{name} {np.mean([float(row[name]) for row in recent]):.3f}" for name in terms
    )
    left = (end - step) * seconds / 60
    return f"{stage} {step} of {end}  {losses}  {seconds:.2f} s/step, {left:.0f} min"


def read_losses(path: Path, step: int) -> list[LossRow]:
    """The rows of an earlier run as far as it was saved."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
    return [{k: v for k, v in row.items() if v} for row in rows]


def write_losses(path: Path, rows: Sequence[LossRow]) -> None:
    """Writes all rows; a term that a stage has not is left empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with (
        replacing(path) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    raise SystemExit(main())
