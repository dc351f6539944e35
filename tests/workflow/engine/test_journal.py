"""The journal: survives torn lines, and tells a lost job from a stopped one."""

import os
from pathlib import Path

import pytest

from tests.workflow.kill_campaign import count_done
from workflow.engine.failures import failure
from workflow.engine.journal import (
    Follower,
    History,
    Journal,
    Line,
    in_flight,
    key_of,
    name_process,
    read_history,
    read_lines,
)

WHY = failure("unknown", "")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "logs/predict/b0.journal")


def history(journal: Journal) -> History:
    return read_history(read_lines(journal.path))


def open_items(journal: Journal, process: str = name_process(os.getpid())) -> list[str]:
    """What a process, this one by default, has in flight."""
    return [line.item for line in in_flight(read_lines(journal.path), process)]


def again(journal: Journal, attempt: int) -> Journal:
    """The next submission takes up the batch."""
    following = Journal(journal.path, attempt)
    following.write("launched")
    return following


def test_nothing_is_known_of_a_batch_without_a_journal(journal: Journal) -> None:
    assert history(journal) == History()


def test_an_item_that_began_and_did_not_end_is_open(journal: Journal) -> None:
    journal.note("began", "a", "v1", "planned")
    journal.note("began", "b", "v1", "planned")
    journal.note("done", "a", "v1", "planned")
    assert open_items(journal) == ["b"]


def test_each_of_two_processes_answers_for_the_items_that_it_began(
    journal: Journal,
) -> None:
    """A job whose driver was killed runs on beside the one of the next driver."""
    other = name_process(1)
    journal.end("began", Line("began", "a", "v1", process=other), WHY)
    journal.note("began", "a", "v1", "planned")
    journal.note("began", "b", "v1", "planned")
    journal.note("done", "a", "v1", "planned")
    assert open_items(journal) == ["b"] and open_items(journal, other) == ["a"]


def test_a_follower_gives_every_line_once_and_torn_ones_when_they_are_whole(
    journal: Journal,
) -> None:
    journal.note("began", "a", "v1", "planned")
    follower = Follower(journal.path)
    assert follower.new_lines() == []
    journal.note("done", "a", "v1", "planned")
    with journal.path.open("a") as file:
        file.write('\n{"event": "clo')
        file.flush()
        assert [line.event for line in follower.new_lines()] == ["done"]
        file.write('sed"}\n')
    assert [line.event for line in follower.new_lines()] == ["closed"]


def test_a_job_lost_while_the_campaign_lived_is_held_against_its_item(
    journal: Journal,
) -> None:
    again(journal, 1).note("began", "a", "v1", "planned")
    again(journal, 2)
    (trial,) = history(journal).trials[key_of("a", "v1")]
    assert trial.cause == "lost_node" and trial.died


def test_so_is_a_job_that_the_scheduler_put_back_into_its_queue(
    journal: Journal,
) -> None:
    again(journal, 1).note("began", "a", "v1", "planned")
    journal.write("launched", restarts=1)
    (trial,) = history(journal).trials[key_of("a", "v1")]
    assert trial.cause == "lost_node"


def test_a_campaign_that_was_killed_whole_blames_nobody(journal: Journal) -> None:
    for _ in range(5):
        again(journal, 1).note("began", "a", "v1", "planned")
    again(journal, 1)
    assert not history(journal).trials
    assert history(journal).interrupted == {key_of("a", "v1"): 5}


def test_an_item_that_was_told_to_stop_is_not_blamed(journal: Journal) -> None:
    journal.note("began", "a", "v1", "planned")
    journal.note("stopped", "a", "v1", "planned", why=failure("time_limit", ""))
    again(journal, 2)
    assert not history(journal).trials and not open_items(journal)
    assert history(journal).interrupted == {key_of("a", "v1"): 1}


def test_other_inputs_of_an_item_are_another_story(journal: Journal) -> None:
    journal.note("failed", "a", "v1", "planned", why=failure("conformer", ""))
    assert history(journal).trials.keys() == {key_of("a", "v1")}


def test_what_was_given_up_stays_so_until_the_user_wants_another_try(
    journal: Journal,
) -> None:
    journal.note("failed", "a", "v1", "planned", why=failure("host_memory", ""))
    journal.write("postponed")
    journal.write("closed")
    assert history(journal).trials and history(journal).submission == 1
    journal.write("reset")
    assert history(journal) == History()


def test_a_torn_line_takes_no_other_with_it(journal: Journal) -> None:
    journal.note("began", "a", "v1", "planned")
    with journal.path.open("a") as file:
        file.write('\n{"event": "don')
    journal.note("done", "a", "v1", "planned")
    assert count_done(journal.path) == {key_of("a", "v1"): 1}
    assert not open_items(journal)


def test_trials_keep_the_rung_and_company_in_which_they_began(
    journal: Journal,
) -> None:
    journal.note("began", "a", "v1", "one_sample", alone=True)
    journal.note("died", "a", "v1", "planned", why=failure("unknown", "SIGSEGV"))
    (trial,) = history(journal).trials[key_of("a", "v1")]
    assert (trial.rung, trial.alone, trial.died) == ("one_sample", True, True)
