"""Items that are worked on at once: one at fault is found, and stops no other."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from af3_core.job import InputError
from workflow.campaign import Campaign
from workflow.engine.failures import failure
from workflow.engine.items import Task, Together, work_together
from workflow.engine.journal import Journal, read_lines
from workflow.engine.ladder import RUNGS, GiveUp, Run, Trial, next_action

STAGE, BATCH = "search", "b"
NAMES = [f"item{i}" for i in range(10)]


class Batch:
    """A batch of ten items, of which `work` says what happens to some."""

    def __init__(self, folder: Path) -> None:
        self.campaign = Campaign(folder)
        self.groups: list[list[str]] = []
        self.found: set[str] = set()

    def run(self, work: Callable[[str, Together, Task], None]) -> dict[str, str | None]:
        """Works through the batch; the cause of every item's failure."""

        def work_on(chunk: Sequence[Task], together: Together) -> None:
            self.groups.append([task.name for task in chunk])
            for task in chunk:
                work(task.name, together, task)
            for task in chunk:
                if task.name not in together.failures:
                    self.found.add(task.name)
                    together.done(task)

        rows = work_together(
            self.campaign,
            STAGE,
            BATCH,
            [Task(name, None, "v1") for name in NAMES],
            lambda task: task.name in self.found,
            work_on,
        )
        return {str(row.item): row.cause for row in rows}

    @property
    def journal(self) -> Path:
        return self.campaign.journal(STAGE, BATCH)


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path)


def test_all_items_are_worked_on_at_once(batch: Batch) -> None:
    causes = batch.run(lambda name, together, task: None)
    assert causes == dict.fromkeys(NAMES) and batch.groups == [NAMES]


def test_what_an_item_raises_by_itself_splits_no_group(batch: Batch) -> None:
    def work(name: str, together: Together, task: Task) -> None:
        with together.guard(task):
            if name == "item3":
                raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid")

    causes = batch.run(work)
    assert causes == dict.fromkeys(NAMES) | {"item3": "unknown"}
    assert batch.groups == [NAMES]


def test_a_group_that_fails_is_split_until_the_item_at_fault_is_found(
    batch: Batch,
) -> None:
    def work(name: str, together: Together, task: Task) -> None:
        if name == "item6":
            raise TypeError("a bug that one item brings to light")

    assert batch.run(work) == dict.fromkeys(NAMES) | {"item6": "defect"}
    assert [len(group) for group in batch.groups] == [10, 5, 5, 2, 2, 1, 1, 1]
    assert batch.run(work) == dict.fromkeys(NAMES) | {"item6": "defect"}
    assert len(batch.groups) == 8, "what was given up is not tried again"


def test_a_process_that_died_of_a_group_leaves_it_to_smaller_ones(batch: Batch) -> None:
    journal = Journal(batch.journal)
    for name in NAMES:
        journal.note("began", name, "v1", "planned", together=len(NAMES))
    for line in read_lines(batch.journal):
        journal.end("died", line, failure("host_memory", "SIGKILL"))
    assert batch.run(lambda name, together, task: None) == dict.fromkeys(NAMES)
    assert [len(group) for group in batch.groups] == [5, 5]


def test_a_wrong_database_is_an_error_of_the_step_and_blames_no_item(
    batch: Batch,
) -> None:
    def work(name: str, together: Together, task: Task) -> None:
        raise InputError("databases.tsv", "path", "x.fasta", "a file")

    with pytest.raises(InputError):
        batch.run(work)
    assert not [
        x for x in read_lines(batch.journal) if x.event not in ("began", "put_back")
    ]
    assert batch.run(lambda name, together, task: None) == dict.fromkeys(NAMES)
    assert batch.groups[-1] == NAMES


@pytest.mark.parametrize("cause", ["gpu_memory", "time_limit", "unknown", "defect"])
@pytest.mark.parametrize("size", [2, 3, 16, 200])
def test_every_group_comes_down_to_single_items(cause, size: int) -> None:
    trials: list[Trial] = []
    sizes = []
    while isinstance(action := next_action(trials, rungs=RUNGS[:1]), Run):
        together = (
            size if action.together is None and not trials else action.together or 1
        )
        sizes.append(together)
        died = cause in ("unknown", "time_limit")
        trials.append(Trial("planned", cause, "", action.alone, died, 0, together))
        assert len(sizes) < 20
    assert sizes[0] == size and sizes[-1] == 1
    if cause == "defect":
        assert isinstance(action, GiveUp) and sizes.count(1) == 1


def test_a_lost_node_is_held_against_no_group() -> None:
    lost = Trial("planned", "lost_node", died=True, together=4)
    assert next_action([lost], rungs=RUNGS) == Run("planned")
