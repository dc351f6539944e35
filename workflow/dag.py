"""What the rules ask: which batches there are, what each needs, how big it is.

Rules name members of `Batches`; those that take wildcards are called by Snakemake.
Nothing here changes a file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from workflow.batches import Plan, load_plan, planned_path
from workflow.campaign import Campaign, split_item
from workflow.planning.memory import holds
from workflow.resources import Limits
from workflow.settings import Settings
from workflow.sources import current_plan, find_damage, uncollected
from workflow.stages import STAGE, STAGES, StageName
from workflow.survey import REPORT, TABLES, Survey, survey

type InputFunction = Callable[[Any], list[str]]
type ResourceFunction = Callable[[Any, int, str], int]
type CardFunction = Callable[[Any, int], str | None]


@dataclass(frozen=True)
class Batches:
    """The plan of a campaign as the rules see it."""

    campaign: Campaign
    plan: Plan
    survey: Survey
    limits: Limits
    planned: str
    """The file that says that this plan is the one on disk."""

    @property
    def outcomes(self) -> list[str]:
        """What became of all batches: all of these are wanted."""
        return [
            str(self.campaign.outcomes(stage.name, name))
            for stage in STAGES
            for name in self.plan.of_kind(stage.kind)
        ]

    @property
    def room(self) -> list[str]:
        """The mark of the rule that makes room, where there is anything to be done."""
        mark = self.survey.digest
        return [str(self.campaign.plan / f"{mark}.room")] if mark else []

    @property
    def room_for_tables(self) -> list[str]:
        """The same for the campaign's tables."""
        return self.room if (TABLES, "") in self.survey.stale else []

    @property
    def room_for_report(self) -> list[str]:
        """The same for the report and the verdict."""
        return self.room if (REPORT, "") in self.survey.stale else []

    def memory(self, stage: StageName) -> ResourceFunction:
        """MB for a batch of a stage, as wanted or as much as there is."""
        found = STAGE[stage]
        batches = self.plan.of_kind(found.kind)

        def mem_mb(wildcards: Any, attempt: int, rulename: str) -> int:
            wanted = found.memory(batches[wildcards.batch], attempt)
            return self.limits.mem_mb(rulename, wanted)

        return mem_mb

    def minutes(self, stage: StageName) -> ResourceFunction:
        """Minutes for a batch of a stage, as wanted or as many as there are."""
        found = STAGE[stage]
        batches = self.plan.of_kind(found.kind)

        def runtime(wildcards: Any, attempt: int, rulename: str) -> int:
            wanted = found.minutes(batches[wildcards.batch], attempt)
            return self.limits.runtime(rulename, wanted)

        return runtime

    def card(self, part: Literal["partition", "gres"]) -> CardFunction:
        """Where a batch of predictions goes, if the profile names kinds of card.

        That is the smallest that holds the batch's padded size, and a larger one with
        every submission after the first.
        """
        cards = self.limits.cards

        def partition_or_gres(wildcards: Any, attempt: int) -> str | None:
            if not cards:
                return None
            bucket = self.plan.jobs[wildcards.batch].bucket
            holding = [c for c in cards if holds(c.memory_gb, bucket)] or [cards[-1]]
            return getattr(holding[min(attempt, len(holding)) - 1], part)

        return partition_or_gres

    def inputs(self, stage: StageName) -> InputFunction:
        """What a batch of a stage waits for: nothing, once what became of it is known.

        Snakemake runs whatever has an input that another job of the run writes, so that
        a finished batch would be passed through again for every new plan.
        """
        found = STAGE[stage]
        batches = self.plan.of_kind(found.kind)

        def files(wildcards: Any) -> list[str]:
            name = wildcards.batch
            is_stale = (stage, name) in self.survey.stale
            if self.campaign.outcomes(stage, name).exists() and not is_stale:
                return []
            outcomes = self.campaign.outcomes
            of_batch = self._same_jobs(name) if found.is_by_job else [name]
            before = [
                outcomes(earlier, batch)
                for earlier in found.after
                for batch in of_batch
                if batch in self.plan.of_kind(STAGE[earlier].kind)
            ]
            searches = () if before else batches[name].needs
            before += [
                outcomes("search" if need in self.plan.search else "templates", need)
                for need in searches
            ]
            # What a job exported before must not be removed when it exports anew.
            is_crowded = stage == "export" and bool(self.survey.orphans)
            room = self.room if is_stale or is_crowded else ()
            return [self.planned, *room, *map(str, before)]

        return files

    def _same_jobs(self, name: str) -> list[str]:
        """The batches that hold seeds of the same jobs as this one."""
        jobs = [split_item(item)[0] for item in self.plan.jobs[name].items]
        return list(
            dict.fromkeys(batch for job in jobs for batch in self._holders[job])
        )

    @cached_property
    def _holders(self) -> dict[str, list[str]]:
        """By job id: the batches that hold its seeds."""
        holders: dict[str, list[str]] = {}
        for name, batch in self.plan.jobs.items():
            for job_id in {split_item(item)[0] for item in batch.items}:
                holders.setdefault(job_id, []).append(name)
        return holders


def attempt_number(wildcards: Any, attempt: int) -> int:
    """Which submission of its batch a job is, from 1."""
    return attempt


@uncollected()
def look(
    campaign: Campaign, settings: Settings, limits: Limits, *, is_main_process: bool
) -> Batches:
    """The plan that this Snakemake process works by, and what is stale of it.

    Only the process a user starts looks at inputs and results. The processes that it
    starts inside cluster jobs take the plan as it was written, so all see the same
    batches.
    """
    if not is_main_process and (written := load_plan(campaign)) is not None:
        planned = str(planned_path(campaign, written.id))
        return Batches(campaign, written, Survey(), limits, planned)
    plan = current_plan(campaign, settings)
    planned = planned_path(campaign, plan.id)
    # A plan that is damaged is written again, so its mark has another name.
    if planned.exists() and (damage := find_damage(campaign)):
        planned = planned_path(campaign, f"{plan.id}.{damage}")
    seen = survey(campaign, plan, settings)
    return Batches(campaign, plan, seen, limits, str(planned))
