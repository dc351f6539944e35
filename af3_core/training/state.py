"""What training carries from step to step, and its file.

The file is a stream of records as a checkpoint is (`af3_core.model.checkpoint`), all
float32, scope PART/PATH, so that a run goes on exactly where it stopped.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int

from af3_core.model.checkpoint import Record, read_records, write_records
from af3_core.training.settings import Optimiser

Tree = dict[str, dict[str, Any]]
_PARTS = ("params", "average", "first_moment", "second_moment")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """Parameters and everything the optimiser remembers of them."""

    step: Int[Array, ""]
    """Steps done, of all stages."""
    updates: Int[Array, ""]
    """Steps done of this stage, which Adam and the learning rate count."""
    params: Tree
    average: Tree
    """Exponential moving average of `params`: what is predicted with."""
    first_moment: Tree
    second_moment: Tree


def start_state(params: Tree) -> State:
    """Before the first step."""
    params = jax.tree.map(jnp.asarray, params)
    zero = jnp.zeros((), jnp.int32)
    return restart_optimiser(
        State(
            step=zero,
            updates=zero,
            params=params,
            average=params,
            first_moment=params,
            second_moment=params,
        )
    )


def restart_optimiser(state: State) -> State:
    """Before the first step of another stage: it starts from the averaged weights."""
    zeros = jax.tree.map(jnp.zeros_like, state.average)
    return replace(
        state,
        updates=jnp.zeros((), jnp.int32),
        params=jax.tree.map(jnp.copy, state.average),
        average=jax.tree.map(jnp.copy, state.average),
        first_moment=zeros,
        second_moment=jax.tree.map(jnp.copy, zeros),
    )


def select(state: State, is_chosen: Callable[[str], bool]) -> State:
    """The state of the parameters whose scopes are chosen."""
    return replace(
        state,
        **{
            part: {p: v for p, v in getattr(state, part).items() if is_chosen(p)}
            for part in _PARTS
        },
    )


def merge(whole: State, part: State) -> State:
    """`whole` with the parameters that `part` has as they are there."""
    return replace(
        part, **{name: getattr(whole, name) | getattr(part, name) for name in _PARTS}
    )


def learning_rate(settings: Optimiser, num_steps: int) -> optax.Schedule:
    """Linear warm-up, then a cosine; see `Optimiser`."""
    peak, end = settings.learning_rate, max(num_steps, 1)
    warmup = min(settings.warmup_steps, end - 1)
    return optax.warmup_cosine_decay_schedule(
        0.0, peak, warmup, end, peak * settings.final_fraction
    )


def update(
    state: State, gradient: Tree, settings: Optimiser, num_steps: int
) -> tuple[State, Array]:
    """One step of Adam on a gradient cut to `max_norm`, and of the average.

    Returns:
        The new state, and the norm of the gradient before it was cut.
    """
    norm = optax.tree.norm(gradient)
    scale = jnp.minimum(1.0, settings.max_norm / jnp.maximum(norm, 1e-12))
    gradient = jax.tree.map(lambda g: scale * g, gradient)
    adam = optax.scale_by_adam(settings.b1, settings.b2, settings.epsilon)
    before = optax.ScaleByAdamState(
        state.updates, state.first_moment, state.second_moment
    )
    # Optax takes powers of floats by integers, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"):
        direction, after = adam.update(gradient, before)
        assert isinstance(after, optax.ScaleByAdamState)
        rate = learning_rate(settings, num_steps)(state.updates)
    params = jax.tree.map(lambda p, d: p - rate * d, state.params, direction)
    # Early on the average would be mostly what the weights were at the start.
    count = state.updates.astype(jnp.float32)
    decay = jnp.minimum(settings.ema_decay, (1.0 + count) / (10.0 + count))
    average = cast(Tree, optax.incremental_update(params, state.average, 1.0 - decay))
    after = State(
        step=state.step + 1,
        updates=state.updates + 1,
        params=params,
        average=average,
        first_moment=cast(Tree, after.mu),
        second_moment=cast(Tree, after.nu),
    )
    return after, norm


def write_state(path: Path, state: State) -> None:
    """Writes a state; atomic."""

    def records() -> Iterator[Record]:
        counts = np.array([state.step, state.updates], "<i4").view(np.uint8)
        yield Record("training", "counts", counts)
        for part in _PARTS:
            for scope, leaves in sorted(getattr(state, part).items()):
                for name, values in sorted(leaves.items()):
                    yield Record(f"{part}/{scope}", name, np.asarray(values))

    path.parent.mkdir(parents=True, exist_ok=True)
    write_records(path, records())


def read_state(path: Path) -> State:
    """Reads what `write_state` wrote.

    Raises:
        InputError: cut short or corrupt.
        ValueError: a checkpoint, but not of a training run.
    """
    counts, parts = None, {part: {} for part in _PARTS}
    for record in read_records([path]):
        part, _, scope = record.scope.partition("/")
        if record.scope == "training":
            counts = record.values.view("<i4")
        elif part in parts:
            leaves = parts[part].setdefault(scope, {})
            leaves[record.name] = jnp.asarray(record.values)
    if counts is None:
        raise ValueError(f"{path} is no state of training; weights cannot be resumed")
    step, updates = (jnp.asarray(c, jnp.int32) for c in counts)
    return State(step, updates, **parts)
