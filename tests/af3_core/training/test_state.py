from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from af3_core.job import InputError
from af3_core.model.checkpoint import load_checkpoint
from af3_core.model.config import config_to_dict
from af3_core.training.checkpoint import start_parameters, write_trained
from af3_core.training.settings import Optimiser, Training
from af3_core.training.state import (
    State,
    learning_rate,
    merge,
    read_state,
    restart_optimiser,
    select,
    start_state,
    update,
    write_state,
)
from af3_core.training.step import Setup
from tests.af3_core.training.known import SMALL, assert_same, small_parameters

SETTINGS = Optimiser(learning_rate=0.1, warmup_steps=3, ema_decay=0.9, max_norm=1.0)


def some_params() -> dict:
    return {
        "trunk": {"weights": jnp.arange(6.0).reshape(2, 3)},
        "confidence/plddt": {"weights": jnp.ones(4), "bias": jnp.zeros(2)},
    }


def some_gradient(seed: int) -> dict:
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: jnp.asarray(random.standard_normal(x.shape, np.float32)),
        some_params(),
    )


def after(steps: int) -> State:
    state = start_state(some_params())
    for step in range(steps):
        state, _ = update(state, some_gradient(step), SETTINGS, 10)
    return state


def test_a_step_is_that_of_adam_as_optax_has_it() -> None:
    chain = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(learning_rate(SETTINGS, 10), b1=0.9, b2=0.95, eps=1e-8),
    )
    params = some_params()
    memory = chain.init(params)
    for step in range(5):
        with jax.numpy_dtype_promotion("standard"):
            direction, memory = chain.update(some_gradient(step), memory, params)
        params = optax.apply_updates(params, direction)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6),
        after(5).params,
        params,
    )


def test_the_learning_rate_warms_up_and_falls() -> None:
    settings = Optimiser(learning_rate=2.0, warmup_steps=4, final_fraction=0.25)
    schedule = learning_rate(settings, 20)

    def rate(step: int) -> float:
        return schedule(jnp.float32(step))

    assert [float(rate(s)) for s in (0, 2, 4)] == [0.0, 1.0, 2.0]
    assert float(rate(12)) == pytest.approx(1.25)
    assert float(rate(20)) == pytest.approx(0.5)


def test_the_average_follows_the_parameters() -> None:
    one, two = after(1), after(2)
    weights = [s.params["trunk"]["weights"] for s in (one, two)]
    expected = 2 / 11 * one.average["trunk"]["weights"] + 9 / 11 * weights[1]
    np.testing.assert_allclose(two.average["trunk"]["weights"], expected, rtol=1e-6)


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = after(3)
    write_state(tmp_path / "state/state.bin.zst", state)
    assert_same(read_state(tmp_path / "state/state.bin.zst"), state)


def test_weights_alone_cannot_be_resumed(tmp_path: Path) -> None:
    state = start_state(small_parameters())
    write_trained(tmp_path / "trained.bin.zst", state, SMALL)
    with pytest.raises(ValueError, match="no state of training"):
        read_state(tmp_path / "trained.bin.zst")


def test_a_state_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "state.bin"
    write_state(file, after(1))
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InputError, match="file ends after"):
        read_state(file)


def test_parameters_outside_the_stage_stay_as_they_are() -> None:
    state = after(2)
    part = select(state, lambda path: path.startswith("confidence/"))
    part, _ = update(part, {k: state.params[k] for k in part.params}, SETTINGS, 10)
    merged = merge(state, part)
    assert_same(merged.params["trunk"], state.params["trunk"])
    assert_same(merged.average["trunk"], state.average["trunk"])
    assert int(merged.step) == 3
    assert (
        merged.params["confidence/plddt"]["weights"]
        != state.params["confidence/plddt"]["weights"]
    ).all()


def test_a_stage_starts_from_the_averaged_weights() -> None:
    state = restart_optimiser(after(4))
    assert_same(state.params, after(4).average)
    assert int(state.updates) == 0
    assert int(state.step) == 4
    assert all(not x.any() for x in jax.tree.leaves(state.first_moment))


def test_trained_weights_are_a_checkpoint_like_any_other(tmp_path: Path) -> None:
    params = small_parameters()
    path = tmp_path / "trained.bin.zst"
    write_trained(path, start_state(params), SMALL)
    checkpoint = load_checkpoint(path)
    assert config_to_dict(checkpoint.config) == config_to_dict(SMALL)
    assert checkpoint.origin == "foldmill"
    again = start_parameters(Setup(SMALL, Training()), path)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1 / 128, atol=1e-6),
        again,
        params,
    )
    assert {x.dtype for x in jax.tree.leaves(again)} == {np.dtype(np.float32)}
