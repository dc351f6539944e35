"""The stages of a campaign that work through batches, and what is known of each.

Rules, programs, progress, retry, planning and the forecast read this table and no
other.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from af3_core.columns import Contract
from af3_core.contracts import (
    FEATURES,
    INTERFACES,
    MSA_HITS,
    PREDICTIONS,
    RELAXED,
    SAMPLE_SCORES,
    SURVIVORS,
    TEMPLATES,
)
from workflow import resources
from workflow.batches import Batch, Kind
from workflow.campaign import split_item

type StageName = Literal[
    "filter", "search", "templates", "featurise", "predict", "relax", "score", "export"
]
type Amount = Callable[[Batch, int], int]
"""What a batch asks for at its nth submission."""


@dataclass(frozen=True)
class Stage:
    """One stage; its name is also that of its rule, program, logs and outcomes."""

    name: StageName
    label: str
    """What it does, for people who watch."""
    kind: Kind
    """Which batches of the plan it works through."""
    contracts: tuple[Contract[Any], ...]
    """Tables that it makes."""
    memory: Amount
    """Host memory of a batch, MB."""
    minutes: Amount
    """Run time of a batch."""
    after: tuple[StageName, ...] = ()
    """Stages of the same batch whose outcomes it reads, where they have that batch.
    Searches, which have batches of their own, are named by `Batch.needs`."""
    is_by_job: bool = False
    """Whether it reads those of all batches that hold seeds of its jobs."""
    is_of_jobs: bool = False
    """Whether its items are jobs, whatever their seeds."""

    def names(self, batch: Batch) -> list[str]:
        """The items of a batch as the stage counts them."""
        return jobs_of(batch.items) if self.is_of_jobs else list(batch.items)


def jobs_of(items: Iterable[str]) -> list[str]:
    """The jobs of (job, seed) items, sorted."""
    return sorted({split_item(item)[0] for item in items})


STAGES: tuple[Stage, ...] = (
    Stage(
        "filter",
        label="filtering databases",
        kind="filter",
        contracts=(SURVIVORS,),
        memory=resources.filter_mem_mb,
        minutes=resources.search_minutes,
    ),
    Stage(
        "search",
        label="searching sequences",
        kind="search",
        contracts=(MSA_HITS,),
        memory=resources.search_mem_mb,
        minutes=resources.search_minutes,
        after=("filter",),
    ),
    Stage(
        "templates",
        label="finding templates",
        kind="templates",
        contracts=(TEMPLATES,),
        memory=resources.search_mem_mb,
        minutes=resources.search_minutes,
    ),
    Stage(
        "featurise",
        label="making features",
        kind="jobs",
        contracts=(FEATURES,),
        memory=resources.featurise_mem_mb,
        minutes=resources.featurise_minutes,
        is_of_jobs=True,
    ),
    Stage(
        "predict",
        label="predicting structures",
        kind="jobs",
        contracts=(PREDICTIONS,),
        memory=resources.predict_mem_mb,
        minutes=resources.predict_minutes,
        after=("featurise",),
    ),
    Stage(
        "relax",
        label="relaxing",
        kind="jobs",
        contracts=(RELAXED,),
        memory=resources.relax_mem_mb,
        minutes=resources.relax_minutes,
        after=("predict",),
    ),
    Stage(
        "score",
        label="scoring",
        kind="jobs",
        contracts=(SAMPLE_SCORES, INTERFACES),
        memory=resources.featurise_mem_mb,
        minutes=resources.featurise_minutes,
        after=("predict", "relax"),
    ),
    Stage(
        "export",
        label="exporting",
        kind="jobs",
        contracts=(),
        memory=resources.featurise_mem_mb,
        minutes=resources.featurise_minutes,
        after=("score",),
        is_by_job=True,
        is_of_jobs=True,
    ),
)
"""In the order in which a batch goes through them."""
STAGE: dict[str, Stage] = {stage.name: stage for stage in STAGES}
