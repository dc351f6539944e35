"""What the rules ask: which batches there are, what each needs, how big it is.

Rules name members of `Batches`; those that take wildcards are called by Snakemake.
Nothing here changes a file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workflow.batches import Plan, load_plan, planned_path
from workflow.campaign import Campaign, split_item
from workflow.resources import Limits
from workflow.settings import Settings
from workflow.stages import STAGE, STAGES, StageName
from workflow.survey import REPORT, TABLES, Survey, survey

type InputFunction = Callable[[Any], list[str]]
type ResourceFunction = Callable[[Any, int, str], int]


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

    def room_for(self, stage: StageName) -> InputFunction:
        """The same for a batch of a stage that is stale."""

        def mark(wildcards: Any) -> list[str]:
            is_stale = (stage, wildcards.batch) in self.survey.stale
            return self.room if is_stale else []

        return mark

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

    def needs(self, stage: StageName) -> InputFunction:
        """Outcome files of the batches of searches that a batch needs."""
        batches = self.plan.of_kind(STAGE[stage].kind)

        def results(wildcards: Any) -> list[str]:
            return [
                str(
                    self.campaign.outcomes(
                        "search" if name in self.plan.search else "templates", name
                    )
                )
                for name in batches[wildcards.batch].needs
            ]

        return results

    def same_jobs(self, stage: StageName) -> InputFunction:
        """Outcomes of a stage of all batches that hold seeds of the same jobs."""
        holders: dict[str, list[str]] = {}
        for name, batch in self.plan.jobs.items():
            for job_id in {split_item(item)[0] for item in batch.items}:
                holders.setdefault(job_id, []).append(name)

        def results(wildcards: Any) -> list[str]:
            items = self.plan.jobs[wildcards.batch].items
            job_ids = [split_item(item)[0] for item in items]
            names = dict.fromkeys(name for job in job_ids for name in holders[job])
            return [str(self.campaign.outcomes(stage, name)) for name in names]

        return results


def attempt_number(wildcards: Any, attempt: int) -> int:
    """Which submission of its batch a job is, from 1."""
    return attempt


def look(
    campaign: Campaign, settings: Settings, limits: Limits, *, is_main_process: bool
) -> Batches:
    """The plan that this Snakemake process works by, and what is stale of it.

    Only the process a user starts looks at inputs and results. The processes that it
    starts inside cluster jobs take the plan as it was written, so all see the same
    batches.
    """
    written = load_plan(campaign)
    if written is not None and not is_main_process:
        planned = str(planned_path(campaign, written.id))
        return Batches(campaign, written, Survey(), limits, planned)
    # What reads inputs imports much, and most processes need none of it.
    from workflow.plan import current_plan, find_damage

    plan = current_plan(campaign, settings)
    planned = planned_path(campaign, plan.id)
    # A plan that is damaged is written again, so its mark has another name.
    if planned.exists() and (damage := find_damage(campaign)):
        planned = planned_path(campaign, f"{plan.id}.{damage}")
    seen = survey(campaign, plan, settings)
    return Batches(campaign, plan, seen, limits, str(planned))
