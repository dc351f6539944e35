"""The loop: which example when, one compiled step for each shape, progress."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np

from af3_core.training.examples import Example
from af3_core.training.head_start import standardise_heads
from af3_core.training.settings import Confidence, Stage, Structure
from af3_core.training.state import State, merge, restart_optimiser, select, update
from af3_core.training.step import Setup, confidence_loss, structure_loss


@dataclass(frozen=True, eq=False)
class Subject:
    """One structure to be learnt, with a choice of reference conformers."""

    name: str
    variants: tuple[Example, ...]
    """The same job with the conformers of different seeds."""
    learn_structure: bool = True
    """False: seen by the confidence head alone, which so learns to doubt."""
    share: int = 1
    """How often it comes in a round of the stage of structures."""


@dataclass(frozen=True)
class Progress:
    """One step done."""

    step: int
    """1-based, through all stages."""
    stage: str
    subject: str
    losses: dict[str, float]
    """Terms before weights."""
    total: float
    gradient_norm: float


def train(
    state: State, subjects: Sequence[Subject], setup: Setup
) -> Iterator[tuple[State, Progress]]:
    """Trains from where `state` stands to the end of the last stage.

    Which example, conformers and random numbers a step takes follows from the seed and
    the number of the step, so a run that was interrupted goes on as if it had not been.

    Raises:
        ValueError: nothing to learn from, or a loss that is not finite.
    """
    training, end = setup.training, 0
    for stage in training.stages:
        begin, end = end, end + stage.steps
        run, places = compile_step(stage, setup), places_in_round(stage.name, subjects)
        while int(state.step) < end:
            step = int(state.step)
            if not places:
                raise ValueError(f"no example for the stage of {stage.name}")
            if step == begin:
                state = enter(stage, state, subjects, setup)
            subject, example = choose(places, training.seed, step)
            key = jax.random.fold_in(jax.random.PRNGKey(training.seed), step)
            state, total, losses, norm = run(state, example, key)
            values = {name: float(value) for name, value in losses.items()}
            if not np.isfinite(float(total)):
                shown = ", ".join(f"{k} {v}" for k, v in values.items())
                raise ValueError(f"step {step + 1} ({subject}): loss is lost: {shown}")
            amounts = (values, float(total), float(norm))
            yield state, Progress(step + 1, stage.name, subject, *amounts)


def enter(
    stage: Stage, state: State, subjects: Sequence[Subject], setup: Setup
) -> State:
    """The state before the first step of a stage."""
    if isinstance(stage, Confidence):
        examples = [subject.variants[0] for subject in subjects]
        average = standardise_heads(state.average, examples, setup)
        state = replace(state, average=average)
    return restart_optimiser(state)


def places_in_round(stage: str, subjects: Sequence[Subject]) -> list[Subject]:
    """What a round of a stage goes through."""
    learnt = [s for s in subjects if s.learn_structure]
    if stage == "structure":
        return [s for s in learnt for _ in range(s.share)]
    doubted = [s for s in subjects if not s.learn_structure]
    # As many good samples as bad ones: a head that sees few of one kind ignores it.
    return learnt * max(1, round(len(doubted) / max(len(learnt), 1))) + doubted


def choose(subjects: Sequence[Subject], seed: int, step: int) -> tuple[str, Example]:
    """Every place of the list once in each round, in an order of its own."""
    round_index, place = divmod(step, len(subjects))
    random = np.random.default_rng([seed, round_index])
    subject = subjects[random.permutation(len(subjects))[place]]
    random = np.random.default_rng([seed, round_index, place])
    return subject.name, subject.variants[random.integers(len(subject.variants))]


def compile_step(stage: Stage, setup: Setup) -> Callable[..., tuple]:
    """One step as a function of state, example and key; the old state is used up."""

    @functools.partial(jax.jit, donate_argnums=0)
    def run(state: State, example: Example, key: jax.Array) -> tuple:
        # float32 means float32: by default a GPU multiplies as TensorFloat-32.
        with jax.default_matmul_precision("highest"):
            part = select(state, lambda path: learns(path, stage.name))

            def objective(trained: dict) -> tuple:
                params = state.params | trained
                if isinstance(stage, Structure):
                    return structure_loss(params, example, key, setup, stage)
                return confidence_loss(params, example, key, setup, stage)

            (total, losses), gradient = jax.value_and_grad(objective, has_aux=True)(
                part.params
            )
        part, norm = update(part, gradient, stage.optimiser, stage.steps)
        state = merge(state, part)
        return state, total, losses, norm

    return run


def learns(path: str, stage: str) -> bool:
    """Whether the parameters of a scope are trained in a stage."""
    return path.startswith("confidence/") == (stage == "confidence")
