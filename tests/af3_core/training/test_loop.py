from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from af3_core.training.loop import (
    Progress,
    Subject,
    choose,
    learns,
    places_in_round,
    train,
)
from af3_core.training.settings import Confidence, Optimiser, Structure, Training
from af3_core.training.state import State, read_state, start_state, write_state
from af3_core.training.step import Setup
from tests.af3_core.training.known import (
    SMALL,
    assert_same,
    example_for,
    small_parameters,
)

pytestmark = pytest.mark.long

OPTIMISER = Optimiser(learning_rate=0.003, warmup_steps=1)
STRUCTURE = Structure(steps=2, noise_levels=4, lddt_partners=32, optimiser=OPTIMISER)
TRAINING = Training(
    seed=3,
    structure=(STRUCTURE, STRUCTURE),
    confidence=Confidence(steps=2, rollout_steps=2, optimiser=OPTIMISER),
)
SETUP = Setup(SMALL, TRAINING)


def subjects() -> list[Subject]:
    example = example_for("villin_headpiece", 36)
    return [Subject("known", (example,)), Subject("doubted", (example,), False)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[State], list[Progress]]:
    """A whole run, and the states after its third step and its last."""
    folder: Path = tmp_path_factory.mktemp("run")
    states, steps = [], []
    start = start_state(small_parameters())
    for state, progress in train(start, subjects(), SETUP):
        steps.append(progress)
        write_state(folder / "state.bin.zst", state)
        if progress.step in (3, 4, 6):
            states.append(read_state(folder / "state.bin.zst"))
    return states, steps


def test_structure_comes_before_confidence(run: tuple) -> None:
    assert [p.stage for p in run[1]] == ["structure"] * 4 + ["confidence"] * 2
    assert {p.subject for p in run[1][:4]} == {"known"}
    assert {p.subject for p in run[1][4:]} == {"known", "doubted"}


def test_all_losses_are_finite_and_named(run: tuple) -> None:
    assert set(run[1][0].losses) == {"mse", "bond", "smooth_lddt", "distogram"}
    assert set(run[1][-1].losses) == {"plddt", "pae", "pde", "resolved"}
    assert all(np.isfinite(list(p.losses.values())).all() for p in run[1])


def test_totals_are_weighted_as_in_the_paper(run: tuple) -> None:
    for step in run[1]:
        x = step.losses
        if step.stage == "structure":
            expected = 4.0 * (x["mse"] + x["bond"] + x["smooth_lddt"])
            expected += 0.03 * x["distogram"]
        else:
            expected = x["plddt"] + x["pde"] + x["resolved"] + x["pae"]
        assert step.total == pytest.approx(expected, rel=1e-5)


def test_confidence_leaves_the_rest_of_the_network_alone(run: tuple) -> None:
    (_, before, last), _ = run
    changed = {
        path
        for path, leaves in last.params.items()
        for name, values in leaves.items()
        if not np.array_equal(values, before.average[path][name])
    }
    assert changed
    assert all(learns(path, "confidence") for path in changed)


def test_a_run_goes_on_exactly_where_it_stopped(run: tuple) -> None:
    (third, fourth, _), steps = run
    one_more = replace(TRAINING, confidence=Confidence())
    [(state, progress)] = train(third, subjects(), Setup(SMALL, one_more))
    assert progress == steps[3]
    assert_same(state, fourth)


def test_every_subject_comes_once_in_each_round() -> None:
    example = example_for("villin_headpiece", 36)
    many = [Subject(str(i), (example,)) for i in range(7)]
    order = [choose(many, seed=1, step=step)[0] for step in range(35)]
    assert all(Counter(order[i : i + 7]) == Counter("0123456") for i in range(0, 35, 7))
    assert len({tuple(order[i : i + 7]) for i in range(0, 35, 7)}) > 1
    assert order == [choose(many, seed=1, step=step)[0] for step in range(35)]


def test_a_subject_comes_as_often_as_its_share_says() -> None:
    example = example_for("villin_headpiece", 36)
    three = [
        Subject(name, (example,), share=n)
        for name, n in zip("abc", (1, 2, 3), strict=True)
    ]
    places = places_in_round("structure", three)
    assert Counter(subject.name for subject in places) == Counter("abbccc")


def test_confidence_sees_as_much_to_doubt_as_to_believe() -> None:
    example = example_for("villin_headpiece", 36)
    known = [Subject(name, (example,)) for name in "ab"]
    doubted = [Subject(str(i), (example,), False) for i in range(6)]
    places = places_in_round("confidence", known + doubted)
    assert sum(subject.learn_structure for subject in places) == 6 == len(places) / 2


def test_there_has_to_be_something_to_learn() -> None:
    doubted = [s for s in subjects() if not s.learn_structure]
    state = start_state({"trunk": {"weights": np.zeros(1, np.float32)}})
    with pytest.raises(ValueError, match="no example for the stage of structure"):
        next(train(state, doubted, SETUP))
